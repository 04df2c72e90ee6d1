"""What `wan status` tells: the ledger's states, money and deadlines, per profile and per set."""

from __future__ import annotations

from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.cli.screen import printable
from wan_pipeline.generation.planning import standing_of
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.sets import scan
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.settings import DataLayout, Settings

__all__ = ["damaged_plan", "read_status", "status_tables"]


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
        "spent_usd": Decimal(0),
        "reserved_usd": Decimal(0),
        "oldest_deadline": None,
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
    with settings.open_ledger() as ledger:
        found |= _ledger_facts(ledger)
        for name in wanted:
            requests = layout.tables(name) / REQUESTS_FILE
            try:
                found["sets"][name] = asdict(standing_of(requests, ledger))
            except UnreadablePromptFileError as error:
                found["damaged"].append(damaged_plan(name, requests.parent, error))
    return found


def status_tables(status: dict[str, Any]) -> Sequence[Table]:
    """The same for people."""
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
    money.add_row("oldest deadline", str(status["oldest_deadline"] or "none"))
    sets = Table(title="prompt sets", title_justify="left", header_style="bold")
    columns = ("stored", "in_flight", "to_buy", "failed", "unknown", "lost", "images_stored")
    for heading in ("set", *columns):
        sets.add_column(heading.replace("_", " "), justify="left" if heading == "set" else "right")
    for name, standing in status["sets"].items():
        sets.add_row(printable(name), *(str(standing[column]) for column in columns))
    tables = [money, sets]
    if status["unknown"]:
        unknown = Table(
            title="unknown: look for these in the provider's console",
            title_justify="left",
            header_style="bold",
        )
        for heading in ("request", "set", "reason"):
            unknown.add_column(heading, overflow="fold")
        for each in status["unknown"]:
            told = (each["request_id"][:12], each["set"], each["reason"])
            unknown.add_row(*map(printable, told))
        tables.append(unknown)
    return tables


def _ledger_facts(ledger: Ledger) -> dict[str, Any]:
    unfinished = ledger.unfinished()
    counts = ledger.counts()
    return {
        "purchases": {state.value: counts.get(state, 0) for state in PurchaseState},
        "spent_usd": ledger.spent(),
        "reserved_usd": ledger.reserved(),
        "oldest_deadline": min(
            (each.deadline_at for each in unfinished if each.deadline_at is not None), default=None
        ),
        "unknown": [
            {"request_id": each.request_id, "set": each.bought_by_set, "reason": each.problem}
            for each in ledger.purchases().values()
            if each.state is PurchaseState.UNKNOWN
        ],
    }


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
