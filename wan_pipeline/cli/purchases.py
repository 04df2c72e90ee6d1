"""Purchases and their history as tables."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from rich.table import Table

from wan_pipeline.cli.console import usd
from wan_pipeline.cli.screen import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from wan_pipeline.ledger.lookup import Event
    from wan_pipeline.ledger.records import Purchase

__all__ = ["history_table", "moment", "money_of", "purchases_table", "short_ids"]

ID_DIGITS = 12
ZERO = Decimal(0)


def purchases_table(purchases: Sequence[Purchase], *, profile: str) -> Table:
    """One row per purchase."""
    table = Table(
        title=f"purchases of profile {profile}", title_justify="left", header_style="bold"
    )
    table.add_column("request", no_wrap=True)
    for heading in ("attempt", "state", "set", "since", "price or cost", "task", "reason"):
        table.add_column(heading, overflow="fold")
    ids = short_ids(each.request_id for each in purchases)
    for each in purchases:
        told = (
            ids[each.request_id],
            str(each.attempt),
            each.state.value,
            each.bought_by_set,
            moment(each.created_at),
            money_of(each),
            each.task_id or "",
            each.problem,
        )
        table.add_row(*map(printable, told))
    return table


def history_table(events: Sequence[Event]) -> Table:
    """One row per change of a request, the oldest first."""
    table = Table(title="history", title_justify="left", header_style="bold")
    for heading in ("when", "attempt", "image", "from", "to", "why", "who"):
        table.add_column(heading, overflow="fold")
    for each in events:
        told = (
            moment(each.at),
            str(each.attempt),
            "" if each.image_index is None else str(each.image_index),
            each.from_state or "",
            each.to_state,
            each.detail or "",
            each.who or "",
        )
        table.add_row(*map(printable, told))
    return table


def short_ids(request_ids: Iterable[str]) -> dict[str, str]:
    """Beginnings of ids, 12 digits or as many as tell them apart."""
    wanted: list[str] = list(dict.fromkeys(request_ids))
    digits = ID_DIGITS
    while len({each[:digits] for each in wanted}) < len(wanted):
        digits += 1
    return {each: each[:digits] for each in wanted}


def money_of(purchase: Purchase) -> str:
    """What it cost, else what is set aside for it, with a question mark."""
    if purchase.reserved_usd:
        return f"{usd(purchase.reserved_usd)}?"
    return usd(purchase.cost_usd or ZERO)


def moment(when: datetime) -> str:
    """A time to the second, in UTC."""
    return f"{when:%Y-%m-%d %H:%M:%S}Z"
