"""What `wan status` tells: the ledger's states, money and deadlines, per profile and per set."""

from __future__ import annotations

import textwrap
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.cli.purchases import moment, short_ids
from wan_pipeline.cli.screen import printable
from wan_pipeline.generation.planning import standing_of
from wan_pipeline.ledger.pace import US
from wan_pipeline.ledger.review import unknowns
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.sets import scan
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from wan_pipeline.ledger.budget import Caps
    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.settings import DataLayout, Settings

__all__ = ["damaged_plan", "read_status", "status_tables"]

CREATES = "creates"  # the limit's name in the ledger
SOON = timedelta(hours=2)  # a deadline nearer than this is shown in colour
ZERO = Decimal(0)
SHOWN_PROMPT = 60
DECISIONS = """What to do about unknown requests, after a look into the provider's console:
  wan reconcile                             asks the provider, where it can be asked
  wan ledger adopt REQUEST TASK --why ...   the task is there: fetch its images
  wan ledger release REQUEST --why ...      there is certainly no task: buy it again
  wan ledger write-off REQUEST --why ...    nobody can tell: count its price as spent"""


def damaged_plan(prompt_set: str, folder: Path, error: Exception) -> str:
    """What to do about a plan or a request table that cannot be read."""
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    return (
        f"{prompt_set}: the stored plan in {folder} cannot be read ({reason}). Plan it again:"
        f" `wan plan {prompt_set}`; it is free, and what was bought stays bought"
    )


def read_status(settings: Settings, sets: Collection[str] | None) -> dict[str, Any]:
    """Everything the command shows, as plain values. Writes nothing.

    Raises:
        ConfigurationError: a named set is neither planned nor in the folder of prompt sets.
    """
    layout = settings.layout
    planned = sorted(path.parent.name for path in (layout.root / "sets").glob(f"*/{REQUESTS_FILE}"))
    notes = _unplanned(layout, planned, sets or ())
    found: dict[str, Any] = {
        "profile": settings.profile.value,
        "ledger": str(layout.ledger),
        "purchases": dict.fromkeys((state.value for state in PurchaseState), 0),
        "spent_usd": ZERO,
        "reserved_usd": ZERO,
        "caps": [],
        "oldest_deadline": None,
        "creates_paused_until": None,
        "unknown": [],
        "sets": {},
        "damaged": [],
        "notes": notes,
    }
    if not settings.has_ledger:
        notes.append(
            f"there is nothing yet: no ledger {layout.ledger}. `wan plan` tells what a build would"
            " cost, `wan run` builds"
        )
        return found
    wanted = [name for name in planned if sets is None or name in sets]
    with settings.ledger_to_look_at() as ledger:
        found |= _ledger_facts(ledger)
        found["caps"] = _caps(ledger, settings.caps, wanted)
        for name in wanted:
            requests = layout.tables(name) / REQUESTS_FILE
            try:
                found["sets"][name] = asdict(standing_of(requests, ledger))
            except UnreadablePromptFileError as error:
                found["damaged"].append(damaged_plan(name, requests.parent, error))
    return found


def status_tables(status: dict[str, Any]) -> Sequence[Table | str]:
    """The same for people."""
    shown: list[Table | str] = [_money_table(status)]
    if status["caps"]:
        shown.append(_caps_table(status["caps"]))
    sets = Table(title="prompt sets", title_justify="left", header_style="bold")
    columns = ("stored", "in_flight", "to_buy", "failed", "unknown", "lost", "images_stored")
    for heading in ("set", *columns):
        sets.add_column(heading.replace("_", " "), justify="left" if heading == "set" else "right")
    for name, standing in status["sets"].items():
        sets.add_row(printable(name), *(str(standing[column]) for column in columns))
    shown.append(sets)
    if status["unknown"]:
        shown += [_unknown_table(status["unknown"]), DECISIONS]
    return shown


def _money_table(status: dict[str, Any]) -> Table:
    money = Table(
        title=f"ledger of profile {status['profile']}", title_justify="left", show_header=False
    )
    money.add_column(style="bold")
    money.add_column()
    for state, count in status["purchases"].items():
        if count:
            money.add_row(state, str(count))
    money.add_row("spent", usd(status["spent_usd"]))
    money.add_row("reserved", usd(status["reserved_usd"]))
    if status["creates_paused_until"] is not None:
        until = f"{status['creates_paused_until']:%H:%M:%S} UTC, for every run of the account"
        money.add_row("creates paused until", until, style="yellow")
    deadline: datetime | None = status["oldest_deadline"]
    if deadline is None:
        money.add_row("oldest deadline", "none")
        return money
    left = deadline - datetime.now(UTC)
    soon, past = left < SOON, left < timedelta()
    when = "past" if past else f"in {str(left).partition('.')[0]}"
    money.add_row(
        "oldest deadline",
        f"{moment(deadline)}, {when}{': run `wan reconcile` now' if soon else ''}",
        style="yellow" if soon else None,
    )
    return money


def _caps_table(caps: Sequence[dict[str, Any]]) -> Table:
    table = Table(title="budget", title_justify="left", header_style="bold")
    for heading in ("cap", "of", "USD", "paid or reserved", "left", "setting"):
        table.add_column(heading, overflow="fold")
    for each in caps:
        table.add_row(
            each["cap"].replace("_", " "),
            printable(each["of"]),
            usd(each["cap_usd"]),
            usd(each["committed_usd"]),
            usd(each["left_usd"]),
            each["setting"],
            style="yellow" if each["left_usd"] <= 0 else None,
        )
    return table


def _unknown_table(unknown: Sequence[dict[str, Any]]) -> Table:
    table = Table(
        title="unknown: look for these in the provider's console",
        title_justify="left",
        header_style="bold",
    )
    table.add_column("request", no_wrap=True)
    for heading in ("set", "since", "set aside", "prompt", "reason"):
        table.add_column(heading, overflow="fold")
    ids = short_ids(each["request_id"] for each in unknown)
    for each in unknown:
        told = (
            ids[each["request_id"]],
            each["set"],
            moment(each["since"]),
            usd(each["reserved_usd"]),
            textwrap.shorten(each["prompt"], SHOWN_PROMPT, placeholder=" ..."),
            each["reason"],
        )
        table.add_row(*map(printable, told))
    return table


def _ledger_facts(ledger: Ledger) -> dict[str, Any]:
    unfinished = ledger.unfinished()
    counts = ledger.counts()
    with snapshot(ledger) as view:
        doubtful = unknowns(view)
    return {
        "purchases": {state.value: counts.get(state, 0) for state in PurchaseState},
        "spent_usd": ledger.spent(),
        "reserved_usd": ledger.reserved(),
        "oldest_deadline": min(
            (each.deadline_at for each in unfinished if each.deadline_at is not None), default=None
        ),
        "creates_paused_until": _paused_until(ledger),
        "unknown": [
            {
                "request_id": each.request_id,
                "attempt": each.attempt,
                "set": each.prompt_set,
                "prompt": each.prompt,
                "since": each.since,
                "reserved_usd": each.reserved_usd,
                "reason": each.reason,
            }
            for each in doubtful
        ],
    }


def _paused_until(ledger: Ledger) -> datetime | None:
    """When creates of the account may go again, by the database's clock; None when they may now."""
    until = datetime.fromtimestamp(ledger.paused_until_us(CREATES) / US, UTC)
    return until if until > datetime.now(UTC) else None


def _caps(ledger: Ledger, caps: Caps, sets: Collection[str]) -> list[dict[str, Any]]:
    """Every cap that is set: how much of it is paid or reserved, and what is left."""
    today = datetime.now(UTC).date().isoformat()
    uses: list[tuple[str, str, Decimal | None, Decimal]] = [
        ("total", "for ever", caps.total, ledger.committed()),
        ("day", today, caps.day, ledger.committed(day=today)),
        *(("set", name, caps.prompt_set, ledger.committed(prompt_set=name)) for name in sets),
        ("run", "each run anew", caps.run, ZERO),
    ]
    return [
        {
            "cap": name,
            "of": of,
            "cap_usd": cap,
            "committed_usd": committed,
            "left_usd": cap - committed,
            "setting": f"WAN_BUDGET_{name.upper()}_USD",
        }
        for name, of, cap, committed in uses
        if cap is not None
    ]


def _unplanned(layout: DataLayout, planned: Collection[str], sets: Collection[str]) -> list[str]:
    """A note for each named set that is known and has no plan; an unknown one is refused."""
    files = scan(layout.prompts_dir).sets
    without = [name for name in dict.fromkeys(sets) if name not in planned]
    if unknown := [name for name in without if name not in files]:
        known = ", ".join(sorted({*files, *planned})) or "none"
        raise ConfigurationError(
            f"no prompt set {', '.join(unknown)} in {layout.prompts_dir}, and none of that name is"
            f" planned (found: {known}). Name one of those, or none for all"
        )
    return [
        f"{name}: it has no plan yet; `wan plan {name}` makes one, for free" for name in without
    ]
