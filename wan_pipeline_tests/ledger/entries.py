"""Rows of a ledger made up for tests of what only reads it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from hashlib import sha256
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.database import open_database
from wan_pipeline.ledger.reading import LedgerReader

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["MORNING", "PROFILE", "Book", "event_row", "image_row", "purchase_row"]

PROFILE = "emulator"
MORNING = datetime(2026, 11, 22, 7, 28, tzinfo=UTC)
PRICE = Decimal("0.03")


def purchase_row(request_id: str = "r1", **values: Any) -> dict[str, Any]:
    """A purchase of one image, stored and paid unless told otherwise."""
    at = values.get("created_at", MORNING)
    row = {
        "profile": PROFILE,
        "request_id": request_id,
        "attempt": 1,
        "state": "stored",
        "owner_id": "owner",
        "request": '{"prompt":"a red kite"}',
        "n": 1,
        "bought_by_set": "kites",
        "run_id": "run-1",
        "code_version": "test",
        "dialect": "gateway",
        "form": "flat",
        "price_usd": PRICE,
        "reserved_usd": Decimal(0),
        "cost_usd": PRICE,
        "cost_source": "reported",
        "discount": None,
        "task_id": f"task-of-{request_id}",
        "created_at": at,
        "submitted_at": at + timedelta(seconds=1),
        "completed_at": at + timedelta(seconds=31),
        "deadline_at": at + timedelta(days=1),
        "error_code": None,
        "error_message": None,
        "error_kind": None,
        "actual_prompt": None,
        "provider_metadata": None,
        "final_answer": "{}",
    }
    open_states = {"intent", "submitted", "unknown"}
    if values.get("state") in open_states:
        row |= {"reserved_usd": PRICE, "cost_usd": None, "cost_source": None, "completed_at": None}
    if values.get("state") in {"intent", "unknown"}:
        row |= {"task_id": None, "submitted_at": None, "deadline_at": None}
    return row | values


def image_row(request_id: str = "r1", image_index: int = 0, **values: Any) -> dict[str, Any]:
    """A stored image."""
    digest = sha256(f"{request_id} {image_index}".encode()).hexdigest()
    row = {
        "profile": PROFILE,
        "request_id": request_id,
        "attempt": 1,
        "image_index": image_index,
        "state": "stored",
        "url": "https://host/image",
        "url_expires_at": MORNING + timedelta(days=1),
        "job_id": "job",
        "image_id": digest,
        "path": f"images/{digest[:2]}/{digest}.png",
        "format": "png",
        "bytes": 1000,
        "width": 1280,
        "height": 1280,
        "problem": None,
        "stored_at": MORNING + timedelta(seconds=40),
    }
    return row | values


def event_row(request_id: str = "r1", **values: Any) -> dict[str, Any]:
    """A change of a purchase."""
    row = {
        "at": MORNING,
        "profile": PROFILE,
        "request_id": request_id,
        "attempt": 1,
        "image_index": None,
        "from_state": None,
        "to_state": "intent",
        "owner_id": "owner",
        "detail": None,
        "who": None,
    }
    return row | values


class Book:
    """A ledger that is written to directly, and a reader of it.

    Args:
        where: of the database, as `open_database` takes it.
    """

    def __init__(self, where: Path | str) -> None:
        self._readers, self.engine = open_database(where)
        self.reader = LedgerReader(self._readers, PROFILE)

    def add(
        self,
        purchases: Iterable[dict[str, Any]] = (),
        images: Iterable[dict[str, Any]] = (),
        events: Iterable[dict[str, Any]] = (),
    ) -> None:
        """Insert rows as they are."""
        tables = (schema.purchases, schema.images, schema.events)
        with self.engine.begin() as connection:
            for table, rows in zip(tables, (purchases, images, events), strict=True):
                if listed := list(rows):
                    connection.execute(sa.insert(table), listed)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the database."""
        self._readers.dispose()
        self.engine.dispose()
