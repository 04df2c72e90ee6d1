"""Looking things up in the ledger the way a person asks: by the beginning of an id, by filters."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.errors import UnclearRequestError
from wan_pipeline.ledger.origins import request_ids_beginning
from wan_pipeline.ledger.records import Purchase
from wan_pipeline.ledger.snapshot import snapshot

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.filters import RowFilter
    from wan_pipeline.ledger.reading import LedgerReader

__all__ = [
    "Event",
    "find_purchases",
    "find_request",
    "history_of",
    "sets_that_bought",
]

BEGINNING = re.compile("[0-9a-f]{6,64}")
NAMED = 5  # candidates told when a beginning is not enough
_PURCHASES = schema.purchases.c
_EVENTS = schema.events.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One change of a purchase or an image; columns are described in `schema.events`."""

    seq: int
    at: datetime
    attempt: int
    image_index: int | None
    from_state: str | None
    to_state: str
    owner_id: str | None
    detail: str | None
    who: str | None


def find_request(reader: LedgerReader, beginning: str) -> str:
    """The one request whose id begins so.

    Raises:
        UnclearRequestError: it names none or several, or is too short to tell.
    """
    beginning = beginning.strip().lower()
    if not BEGINNING.fullmatch(beginning):
        raise UnclearRequestError(
            f"{beginning!r} is no request id: give at least the first 6 of its 64 hexadecimal"
            " digits, as `wan ledger show` prints them. Nothing was changed"
        )
    found = request_ids_beginning(reader, beginning)
    if not found:
        raise UnclearRequestError(
            f"the ledger of profile {reader.profile} has no request that begins with {beginning};"
            " `wan ledger show` lists them. Nothing was changed"
        )
    if len(found) > 1:
        told = ", ".join(each[:20] for each in found[:NAMED])
        raise UnclearRequestError(
            f"{beginning} begins more than one request id: {told}. Give more digits; nothing was"
            " changed"
        )
    return found[0]


def find_purchases(
    reader: LedgerReader, only: RowFilter, *, limit: int | None = None
) -> tuple[list[Purchase], int]:
    """Purchases that pass a filter, the newest intent first, and how many there are in all."""
    conditions = [_PURCHASES.profile == reader.profile, *only.conditions()]
    query = (
        sa.select(schema.purchases)
        .where(*conditions)
        .order_by(_PURCHASES.created_at.desc(), _PURCHASES.request_id, _PURCHASES.attempt.desc())
        .limit(limit)
    )
    count = sa.select(sa.func.count()).select_from(schema.purchases).where(*conditions)
    with snapshot(reader) as view:
        found = [Purchase.from_row(row) for row in view.connection.execute(query)]
        return found, view.connection.execute(count).scalar_one()


def sets_that_bought(reader: LedgerReader) -> set[str]:
    """Names of prompt sets, and of series of reproductions, that have purchases."""
    query = sa.select(_PURCHASES.bought_by_set).where(_PURCHASES.profile == reader.profile)
    with snapshot(reader) as view:
        return set(view.connection.execute(query.distinct()).scalars())


def history_of(reader: LedgerReader, request_id: str) -> list[Event]:
    """Everything that ever happened to a request, in its order."""
    query = (
        sa.select(*(_EVENTS[name] for name in Event.__slots__))
        .where(_EVENTS.profile == reader.profile, _EVENTS.request_id == request_id)
        .order_by(_EVENTS.seq)
    )
    with snapshot(reader) as view:
        rows: Any = view.connection.execute(query).mappings()
        return [Event(**row) for row in rows]
