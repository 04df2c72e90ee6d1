"""Which requests an image, a task or the beginning of an id leads to; for tracing things back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.records import Purchase
from wan_pipeline.ledger.snapshot import snapshot

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wan_pipeline.ledger.reading import LedgerReader

__all__ = [
    "attempts_at",
    "image_ids_beginning",
    "request_ids_beginning",
    "requests_of_image",
    "requests_of_task",
]

_PURCHASES = schema.purchases.c
_IMAGES = schema.images.c
LIMIT = 6  # enough to tell that a beginning is not enough


def image_ids_beginning(reader: LedgerReader, beginning: str) -> list[str]:
    """Ids of images, stored or not any more, that begin so; a few at most."""
    return _distinct(
        reader,
        _IMAGES.image_id,
        _IMAGES.profile == reader.profile,
        _IMAGES.image_id.startswith(beginning, autoescape=True),
    )


def request_ids_beginning(reader: LedgerReader, beginning: str) -> list[str]:
    """Ids of requests that were bought, or were to be, that begin so; a few at most."""
    return _distinct(
        reader,
        _PURCHASES.request_id,
        _PURCHASES.profile == reader.profile,
        _PURCHASES.request_id.startswith(beginning, autoescape=True),
    )


def requests_of_image(reader: LedgerReader, image_id: str) -> list[str]:
    """Requests that brought these bytes, in whichever attempt."""
    return _distinct(
        reader,
        _IMAGES.request_id,
        _IMAGES.profile == reader.profile,
        _IMAGES.image_id == image_id,
        limit=None,
    )


def requests_of_task(reader: LedgerReader, task_id: str) -> list[str]:
    """Requests that a task was made for; one, unless a provider gave one name twice."""
    return _distinct(
        reader,
        _PURCHASES.request_id,
        _PURCHASES.profile == reader.profile,
        _PURCHASES.task_id == task_id,
        limit=None,
    )


def attempts_at(reader: LedgerReader, request_ids: Iterable[str]) -> dict[str, list[Purchase]]:
    """Every purchase of each request, the first attempt first; reproductions after the others."""
    found: dict[str, list[Purchase]] = {}
    with snapshot(reader) as view:
        for request_id in request_ids:
            rows = view.connection.execute(
                sa.select(schema.purchases)
                .where(_PURCHASES.profile == reader.profile, _PURCHASES.request_id == request_id)
                .order_by(_PURCHASES.attempt < 0, sa.func.abs(_PURCHASES.attempt))
            )
            found[request_id] = [Purchase.from_row(row) for row in rows]
    return found


def _distinct(
    reader: LedgerReader,
    column: sa.ColumnElement[str],
    *conditions: sa.ColumnElement[bool],
    limit: int | None = LIMIT,
) -> list[str]:
    query = sa.select(column).where(*conditions).distinct().order_by(column).limit(limit)
    with snapshot(reader) as view:
        return list(view.connection.execute(query).scalars())
