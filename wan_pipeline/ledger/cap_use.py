"""How much of the budget is used, cap by cap, of one snapshot."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.budget import Caps
    from wan_pipeline.ledger.snapshot import Snapshot

__all__ = ["CapUse", "cap_uses"]

ZERO = Decimal(0)
WIDEST_FIRST = ("total", "day", "run", "prompt_set")
_PURCHASES = schema.purchases.c


@dataclass(frozen=True, slots=True, kw_only=True)
class CapUse:
    """How much of one cap is used.

    Attributes:
        cap: `total`, `day`, `prompt_set` or `run`.
        of: which day, set or run; empty for the total.
        limit_usd: the cap.
        spent_usd: paid under it.
        reserved_usd: set aside under it.
    """

    cap: str
    of: str
    limit_usd: Decimal
    spent_usd: Decimal
    reserved_usd: Decimal

    @property
    def left_usd(self) -> Decimal:
        """What may still be bought; negative when the cap was passed."""
        return self.limit_usd - self.spent_usd - self.reserved_usd


def cap_uses(view: Snapshot, caps: Caps, *, now: datetime) -> list[CapUse]:
    """How much of every cap is used, the widest cap first, and of each the one with least left.

    Day and run are those of today: a cap that is lowered says nothing about the past. Sums are
    taken over the purchases themselves, whatever else keeps count of them.
    """
    today = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    of_today = _PURCHASES.created_at >= today
    found: list[CapUse] = []
    for cap, limit in caps.named().items():
        match cap:
            case "prompt_set":
                sums = _sums(view, by=_PURCHASES.bought_by_set)
            case "run":
                sums = _sums(view, of_today, by=_PURCHASES.run_id)
            case "day":
                sums = {today.date().isoformat(): _sums(view, of_today).get("", (ZERO, ZERO))}
            case _:
                sums = {"": _sums(view).get("", (ZERO, ZERO))}
        found += [
            CapUse(cap=cap, of=of, limit_usd=limit, spent_usd=spent, reserved_usd=reserved)
            for of, (spent, reserved) in sums.items()
        ]
    return sorted(found, key=lambda use: (WIDEST_FIRST.index(use.cap), use.left_usd, use.of))


def _sums(
    view: Snapshot,
    *conditions: sa.ColumnElement[bool],
    by: sa.ColumnElement[str] | None = None,
) -> dict[str, tuple[Decimal, Decimal]]:
    """USD paid and reserved, by a column's value; under an empty name without a column."""
    name = sa.literal("") if by is None else by
    query = sa.select(
        name.label("name"),
        sa.func.sum(_PURCHASES.cost_usd).label("spent"),
        sa.func.sum(_PURCHASES.reserved_usd).label("reserved"),
    ).where(_PURCHASES.profile == view.profile, *conditions)
    if by is not None:
        query = query.group_by(by)
    return {
        row.name: (row.spent or ZERO, row.reserved or ZERO)
        for row in view.connection.execute(query)
    }
