"""Whose a purchase is: the dataset's own, or a series of reproductions.

Attempts at a request count up from 1. A reproduction buys a request of a release once more to
compare, never to have: reproductions count down from -1, in the same tables, so that budget, caps,
pace, recovery, decisions and exports see money like any other. What asks which image a request has
(plan, metadata, gallery, retries) sees attempts above 0 only.

A reproduction belongs to a named series, which stands in `bought_by_set`; no prompt set has such a
name. A series buys each request at most once, whatever came of it, so a request and a series, or
a request and None for the dataset's own, name the one purchase that stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wan_pipeline.ledger.records import Purchase

__all__ = ["in_series", "is_reproduction", "standing_among"]

_PURCHASES = schema.purchases.c


def is_reproduction(attempt: int) -> bool:
    """Whether an attempt was made to compare, and is no image of the dataset."""
    return attempt < 0


def in_series(series: str | None) -> sa.ColumnElement[bool]:
    """The condition on `purchases` for a series; for the dataset's own when None."""
    if series is None:
        return _PURCHASES.attempt > 0
    return sa.and_(_PURCHASES.attempt < 0, _PURCHASES.bought_by_set == series)


def standing_among(purchases: Iterable[Purchase]) -> list[Purchase]:
    """Of the dataset's own the newest attempt at each request, and every reproduction."""
    found: dict[tuple[str, int], Purchase] = {}
    for purchase in purchases:
        place = min(purchase.attempt, 0)
        standing = found.get((purchase.request_id, place))
        if standing is None or standing.attempt < purchase.attempt:
            found[purchase.request_id, place] = purchase
    return list(found.values())
