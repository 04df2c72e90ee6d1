"""`wan ledger adopt`, `release` and `write-off`: what a person decides about a doubtful purchase.

Each says first what will happen, in words and money, and asks; who and why stay in the history.
"""

from __future__ import annotations

import getpass
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Annotated, Protocol

import typer

from wan_pipeline.cli.consent import ask
from wan_pipeline.cli.explained import explained
from wan_pipeline.cli.opened import opened_ledger
from wan_pipeline.cli.screen import open_console, printable
from wan_pipeline.ledger import decisions
from wan_pipeline.ledger.decisions import Decision
from wan_pipeline.ledger.errors import DecisionError
from wan_pipeline.ledger.undecided import ADOPTABLE, DOUBTFUL, find_decidable
from wan_pipeline.settings import Settings
from wan_pipeline.wan.dialects import DIALECTS
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from rich.console import Console

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.records import Purchase
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["adopt", "release", "write_off"]

NOBODY = "unknown"
ZERO = Decimal(0)

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
BoughtBy = Annotated[
    str | None,
    typer.Option(
        "--set",
        help="Which purchase is meant, by what bought it, where a reproduction of the same request"
        " needs a decision too.",
        show_default=False,
    ),
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
    prompt_set: BoughtBy = None,
    yes: Yes = False,
) -> None:
    """You found the task of an unknown request: its images are fetched by the next run.

    Make sure that it is this request's task: its images go into the dataset under this prompt, or
    are compared with those when it was reproduced. Works for requests that were written off or have
    expired, too, and puts another task in the place of one that was adopted by mistake: what that
    one brought stays on disk, and in releases that have it, and leaves the dataset.
    """
    console, settings = open_console(), Settings()
    with explained(console), opened_ledger(settings) as ledger:
        who, why, task_id = _who(who), _given("--why", why), _task_id(settings, task_id)
        (purchase,) = find_decidable(
            ledger, [request], ADOPTABLE, bought_by=prompt_set, or_adopted=True
        )
        price = purchase.price_usd * purchase.n
        _tell(console, [purchase])
        console.print(
            f"Task {printable(task_id)} becomes its task. ${price:f} stay set aside until the"
            " provider tells the cost; nothing is bought.",
            soft_wrap=True,
        )
        if purchase.task_id is not None:
            console.print(
                f"What task {printable(purchase.task_id)} brought is no longer this request's.",
                soft_wrap=True,
            )
        ask(console, "Adopt it?", yes=yes)
        with ledger.owner("wan ledger adopt") as owner:
            ledger.apply_now(
                partial(
                    decisions.adopt,
                    profile=ledger.profile,
                    decision=_decision(purchase, who=who, why=why),
                    task_id=task_id,
                    lifetime_s=settings.account().result_lifetime_s,
                    owner=owner,
                    now=ledger.now(),
                )
            )
        again = "`wan run`" if purchase.series is None else "`wan reproduce` with its label"
        console.print(f"Adopted. `wan reconcile` or the next {again} fetches its images.")


def release(
    requests: Requests,
    *,
    why: Why,
    who: Who = None,
    prompt_set: BoughtBy = None,
    yes: Yes = False,
) -> None:
    """You made sure that unknown requests have no task: the next run buys them anew.

    If a task exists after all, it is paid, and the next run pays again. A released reproduction is
    not bought again under its label.
    """
    console, settings = open_console(), Settings()
    with explained(console), opened_ledger(settings) as ledger:
        who, why = _who(who), _given("--why", why)
        purchases = find_decidable(ledger, requests, DOUBTFUL, bought_by=prompt_set)
        _refuse_known_tasks(settings, purchases)
        own = [each for each in purchases if each.series is None]
        _tell(console, purchases)
        told = f"${_reserved(purchases):f} set aside are free again."
        if own:
            told += (
                f" The next `wan run` of a set that asks for {_these(own)} pays"
                f" ${_reserved(own):f} to buy {_these(own)} anew. If the provider made a task after"
                " all, that is paid twice."
            )
        console.print(told, soft_wrap=True)
        ask(console, f"Release {_these(purchases)}?", yes=yes)
        _decide_all(ledger, decisions.release, [_decision(p, who=who, why=why) for p in purchases])
        for each in purchases:
            console.print(f"Released {each.request_id[:12]}.")
        if own:
            console.print("`wan run` buys what it still needs.")


def write_off(
    requests: Requests,
    *,
    why: Why,
    who: Who = None,
    prompt_set: BoughtBy = None,
    yes: Yes = False,
) -> None:
    """Nobody can find out what became of unknown requests: their price counts as spent.

    They are not bought again by themselves; `wan run --retry lost` does that. Should the task turn
    up later, adopt it.
    """
    console, settings = open_console(), Settings()
    with explained(console), opened_ledger(settings) as ledger:
        who, why = _who(who), _given("--why", why)
        purchases = find_decidable(ledger, requests, DOUBTFUL, bought_by=prompt_set)
        _refuse_known_tasks(settings, purchases)
        _tell(console, purchases)
        console.print(
            f"${_reserved(purchases):f} set aside count as spent from now on, and"
            f" {_these(purchases)} will not be bought again unless you say `--retry lost`; a"
            " reproduction never is under its label.",
            soft_wrap=True,
        )
        ask(console, f"Write {_these(purchases)} off?", yes=yes)
        _decide_all(
            ledger, decisions.write_off, [_decision(p, who=who, why=why) for p in purchases]
        )
        for each in purchases:
            console.print(f"Written off: {each.request_id[:12]}.")


class _Decide(Protocol):
    def __call__(
        self, tx: Transaction, profile: str, decision: Decision, *, now: datetime
    ) -> object: ...


def _decide_all(ledger: Ledger, decide: _Decide, given: Sequence[Decision]) -> None:
    """All in one transaction: one that cannot be decided changes nothing of the others."""
    now = ledger.now()

    def change(tx: Transaction) -> None:
        for decision in given:
            decisions.look_up_doubtful(tx, ledger.profile, decision, now=now)
        for decision in given:
            decide(tx, ledger.profile, decision, now=now)

    ledger.apply_now(change)


def _decision(purchase: Purchase, *, who: str, why: str) -> Decision:
    return Decision(request_id=purchase.request_id, series=purchase.series, who=who, why=why)


def _refuse_known_tasks(settings: Settings, purchases: Sequence[Purchase]) -> None:
    """A run that could not write the ledger kept the ids of its tasks in a file beside it.

    Raises:
        DecisionError: one of them is the task of a purchase that is to be given up.
    """
    from wan_pipeline.generation.rescue import RescueFile  # noqa: PLC0415  keeps --help fast

    tasks = RescueFile(settings.layout.rescue, NOBODY).tasks()
    known = {(task.request_id, task.series): task.task_id for task in tasks}
    if found := [
        (each.request_id, known[each.request_id, each.series])
        for each in purchases
        if (each.request_id, each.series) in known
    ]:
        told = ", ".join(f"{request_id[:12]} is task {task_id}" for request_id, task_id in found)
        raise DecisionError(
            f"{told}, by the rescue file of a run that could not write the ledger: it is paid, and"
            " `wan reconcile` adopts and fetches it. Nothing was changed"
        )


def _tell(console: Console, purchases: Sequence[Purchase]) -> None:
    from wan_pipeline.cli.purchases import purchases_table  # noqa: PLC0415  keeps --help fast

    console.print(purchases_table(purchases, profile=purchases[0].profile))


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


def _task_id(settings: Settings, text: str) -> str:
    """An id that a task can have; whether there is such a task, only the provider knows."""
    task_id = _given("TASK_ID", text)
    if not DIALECTS[settings.account().dialect].is_task_id(task_id):
        raise ConfigurationError(
            f"TASK_ID: {printable(task_id[:80])!r} is no task id: those have up to 200 letters,"
            " digits and . _ : + = ~ -, and begin with a letter or digit. Copy it from the"
            " provider's console. Nothing was changed"
        )
    return task_id


def _reserved(purchases: Sequence[Purchase]) -> Decimal:
    return sum((each.reserved_usd for each in purchases), ZERO)


def _these(purchases: Sequence[Purchase]) -> str:
    return "it" if len(purchases) == 1 else f"these {len(purchases)}"
