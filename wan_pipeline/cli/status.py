"""What `wan status` tells: the ledger's states, money and deadlines, per profile and per set."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.generation.planning import standing_of
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.plan_table import REQUESTS_FILE

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from wan_pipeline.settings import Settings

__all__ = ["read_status", "status_tables"]


def read_status(settings: Settings, sets: Collection[str] | None) -> dict[str, Any]:
    """Everything the command shows, as plain values."""
    layout = settings.layout
    folder = layout.root / "sets"
    planned = sorted(path.parent.name for path in folder.glob(f"*/{REQUESTS_FILE}"))
    with Ledger(layout.ledger, settings.profile.value) as ledger:
        unfinished = ledger.unfinished()
        deadlines = [each.deadline_at for each in unfinished if each.deadline_at is not None]
        counts = ledger.counts()
        unknown = [
            {"request_id": each.request_id, "set": each.bought_by_set, "reason": each.problem}
            for each in ledger.purchases().values()
            if each.state is PurchaseState.UNKNOWN
        ]
        return {
            "profile": settings.profile.value,
            "ledger": str(layout.ledger),
            "purchases": {state.value: counts.get(state, 0) for state in PurchaseState},
            "spent_usd": ledger.spent(),
            "reserved_usd": ledger.reserved(),
            "oldest_deadline": min(deadlines, default=None),
            "unknown": unknown,
            "sets": {
                name: asdict(standing_of(layout.tables(name) / REQUESTS_FILE, ledger))
                for name in planned
                if sets is None or name in sets
            },
        }


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
        sets.add_row(name, *(str(standing[column]) for column in columns))
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
            unknown.add_row(each["request_id"][:12], each["set"], each["reason"])
        tables.append(unknown)
    return tables
