"""`wan ledger adopt`, `release` and `write-off`: what a person decides about a doubtful purchase.

Each says first what will happen, in words and money, and asks; who and why stay in the history.
"""

from __future__ import annotations

import getpass
import sys
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.explained import explained
from wan_pipeline.cli.opened import opened_ledger
from wan_pipeline.cli.screen import open_console, printable, warn
from wan_pipeline.ledger import decisions
from wan_pipeline.ledger.decisions import Decision
from wan_pipeline.ledger.errors import DecisionError
from wan_pipeline.ledger.lookup import find_request
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.settings import Settings
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.records import Purchase

__all__ = ["adopt", "release", "write_off"]

NOBODY = "unknown"
ZERO = Decimal(0)
UNKNOWN = (PurchaseState.UNKNOWN,)
ADOPTABLE = (PurchaseState.UNKNOWN, PurchaseState.WRITTEN_OFF)

Request = Annotated[
    str, typer.Argument(metavar="REQUEST", help="The beginning of its id, at least 6 digits.")
]
Requests = Annotated[
    list[str],
    typer.Argument(metavar="REQUEST...", help="Beginnings of their ids, at least 6 digits each."),
]
Why = Annotated[str, typer.Option(help="Why you decide so; kept in the history for ever.")]
Who = Annotated[
    str | None,
    typer.Option(help="Who decides; your login name when not given.", show_default=False),
]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask, for scripts.")]


def adopt(
    request: Request,
    task_id: Annotated[
        str, typer.Argument(metavar="TASK_ID", help="The task's id in the provider's console.")
    ],
    *,
    why: Why,
    who: Who = None,
    yes: Yes = False,
) -> None:
    """You found the task of an unknown request: its images are fetched by the next run.

    Make sure that it is this request's task: its images go into the dataset under this prompt.
    Works for requests that were written off, too.
    """
    console, settings = open_console(), Settings()
    with explained(console), opened_ledger(settings) as ledger:
        who, why, task_id = _who(who), _given("--why", why), _given("TASK_ID", task_id)
        (purchase,) = _decidable(ledger, [request], ADOPTABLE)
        price = purchase.price_usd * purchase.n
        _tell(console, [purchase])
        console.print(
            f"Task {printable(task_id)} becomes its task. ${price:f} stay set aside until the"
            " provider tells the cost; nothing is bought.",
            soft_wrap=True,
        )
        _ask(console, "Adopt it?", yes=yes)
        with ledger.owner("wan ledger adopt") as owner:
            ledger.apply_now(
                partial(
                    decisions.adopt,
                    profile=ledger.profile,
                    decision=Decision(request_id=purchase.request_id, who=who, why=why),
                    task_id=task_id,
                    lifetime_s=settings.account().result_lifetime_s,
                    owner=owner,
                    now=ledger.now(),
                )
            )
        console.print("Adopted. `wan reconcile` or the next `wan run` fetches its images.")


def release(requests: Requests, *, why: Why, who: Who = None, yes: Yes = False) -> None:
    """You made sure that unknown requests have no task: the next run buys them anew.

    If a task exists after all, it is paid, and the next run pays again.
    """
    console, settings = open_console(), Settings()
    with explained(console), opened_ledger(settings) as ledger:
        who, why = _who(who), _given("--why", why)
        purchases = _decidable(ledger, requests, UNKNOWN)
        _refuse_known_tasks(settings, purchases)
        _tell(console, purchases)
        console.print(
            f"${_reserved(purchases):f} set aside are free again, and the next `wan run` of a set"
            f" that asks for {_these(purchases)} pays as much to buy {_these(purchases)} anew. If"
            " the provider made a task after all, that is paid twice.",
            soft_wrap=True,
        )
        _ask(console, f"Release {_these(purchases)}?", yes=yes)
        for each in purchases:
            decision = Decision(request_id=each.request_id, who=who, why=why)
            change = partial(decisions.release, decision=decision, now=ledger.now())
            ledger.apply_now(partial(change, profile=ledger.profile))
            console.print(f"Released {each.request_id[:12]}.")
        console.print("`wan run` buys what it still needs.")


def write_off(requests: Requests, *, why: Why, who: Who = None, yes: Yes = False) -> None:
    """Nobody can find out what became of unknown requests: their price counts as spent.

    They are not bought again by themselves; `wan run --retry lost` does that. Should the task turn
    up later, adopt it.
    """
    console, settings = open_console(), Settings()
    with explained(console), opened_ledger(settings) as ledger:
        who, why = _who(who), _given("--why", why)
        purchases = _decidable(ledger, requests, UNKNOWN)
        _refuse_known_tasks(settings, purchases)
        _tell(console, purchases)
        console.print(
            f"${_reserved(purchases):f} set aside count as spent from now on, and"
            f" {_these(purchases)} will not be bought again unless you say `--retry lost`.",
            soft_wrap=True,
        )
        _ask(console, f"Write {_these(purchases)} off?", yes=yes)
        for each in purchases:
            decision = Decision(request_id=each.request_id, who=who, why=why)
            change = partial(decisions.write_off, decision=decision, now=ledger.now())
            ledger.apply_now(partial(change, profile=ledger.profile))
            console.print(f"Written off: {each.request_id[:12]}.")


def _decidable(
    ledger: Ledger, beginnings: Sequence[str], allowed: Sequence[PurchaseState]
) -> list[Purchase]:
    """The newest attempts at the named requests, every one of which can be decided.

    Raises:
        UnclearRequestError: a beginning names none or several.
        DecisionError: one of them is in another state.
    """
    named = list(dict.fromkeys(find_request(ledger, each) for each in beginnings))
    standing = ledger.purchases(named)
    purchases = [standing[request_id] for request_id in named]
    if other := [each for each in purchases if each.state not in allowed]:
        told = ", ".join(f"{each.request_id[:12]} is {each.state.value}" for each in other)
        raise DecisionError(
            f"{told}: only a request that is {' or '.join(each.value for each in allowed)} can be"
            " decided this way. Nothing was changed; `wan ledger show --state unknown` lists what"
            " needs a decision"
        )
    return purchases


def _refuse_known_tasks(settings: Settings, purchases: Sequence[Purchase]) -> None:
    """A run that could not write the ledger kept the ids of its tasks in a file beside it.

    Raises:
        DecisionError: one of them is the task of a purchase that is to be given up.
    """
    from wan_pipeline.generation.rescue import RescueFile  # noqa: PLC0415  keeps --help fast

    tasks = RescueFile(settings.layout.rescue, NOBODY).tasks()
    known = {task.request_id: task.task_id for task in tasks}
    if found := [each.request_id for each in purchases if each.request_id in known]:
        told = ", ".join(f"{request_id[:12]} is task {known[request_id]}" for request_id in found)
        raise DecisionError(
            f"{told}, by the rescue file of a run that could not write the ledger: it is paid, and"
            " `wan reconcile` adopts and fetches it. Nothing was changed"
        )


def _tell(console: Console, purchases: Sequence[Purchase]) -> None:
    from wan_pipeline.cli.purchases import purchases_table  # noqa: PLC0415  keeps --help fast

    console.print(purchases_table(purchases, profile=purchases[0].profile))


def _ask(console: Console, question: str, *, yes: bool) -> None:
    """Go on only with the person's consent; without it the command ends here.

    Raises:
        ConfigurationError: there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "there is no terminal to ask on: pass --yes if this is what you want. Nothing was"
            " changed"
        )
    if not typer.confirm(question):
        warn(console, "Nothing was changed.")
        raise typer.Exit(ExitCode.ERROR)  # so that no script goes on as if it had been


def _who(given: str | None) -> str:
    if given is not None:
        return _given("--who", given)
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return NOBODY


def _given(name: str, text: str) -> str:
    if not text.strip():
        raise ConfigurationError(f"{name} is empty. Nothing was changed")
    return text.strip()


def _reserved(purchases: Sequence[Purchase]) -> Decimal:
    return sum((each.reserved_usd for each in purchases), ZERO)


def _these(purchases: Sequence[Purchase]) -> str:
    return "it" if len(purchases) == 1 else f"these {len(purchases)}"
