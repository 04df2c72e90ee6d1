"""What the ledger claims as a whole, for who compares it with the provider and the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.records import ImageRecord
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.ledger.states import ImageState

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wan_pipeline.ledger.reading import LedgerReader

__all__ = ["changed_requests", "known_task_ids", "newest_event", "stored_images"]

CHUNK = 10_000  # rows held in memory
_PURCHASES = schema.purchases.c
_EVENTS = schema.events.c
_IMAGES = schema.images.c


def known_task_ids(reader: LedgerReader) -> Collection[str]:
    """Every task that any purchase has."""
    query = sa.select(_PURCHASES.task_id).where(
        _PURCHASES.profile == reader.profile, _PURCHASES.task_id.is_not(None)
    )
    with snapshot(reader) as view:
        return {str(task_id) for task_id in view.connection.execute(query).scalars()}


def newest_event(reader: LedgerReader) -> int:
    """Number of the last change."""
    with snapshot(reader) as view:
        return view.last_event


def changed_requests(reader: LedgerReader, after: int) -> set[str]:
    """Requests to which something happened after an event; reproductions show in no set."""
    query = (
        sa.select(_EVENTS.request_id)
        .where(_EVENTS.profile == reader.profile, _EVENTS.seq > after, _EVENTS.attempt > 0)
        .distinct()
    )
    with snapshot(reader) as view:
        return set(view.connection.execute(query).scalars())


def stored_images(reader: LedgerReader) -> Iterator[ImageRecord]:
    """Every image that the ledger calls stored, streamed."""
    query = sa.select(schema.images).where(
        _IMAGES.profile == reader.profile, _IMAGES.state == ImageState.STORED.value
    )
    with snapshot(reader) as view:
        for row in view.connection.execute(query.execution_options(yield_per=CHUNK)):
            yield ImageRecord.from_row(row)
