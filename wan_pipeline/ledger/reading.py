"""What the ledger answers. Reads are synchronous and cheap, and see every acknowledged change."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from wan_pipeline.ledger import pace, schema
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.ledger.facts import fact_named
from wan_pipeline.ledger.records import ImageRecord, Purchase
from wan_pipeline.ledger.remedies import held_by_another
from wan_pipeline.ledger.series import in_series
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator
    from datetime import datetime

    from wan_pipeline.ledger.records import PurchaseKey

__all__ = ["LedgerReader"]

ZERO = Decimal(0)
CHUNK = 500  # ids per query, well under any database's limit of bound values


class LedgerReader:
    """Reads under one profile.

    Raises from every method:
        LedgerUnavailableError: the database cannot be read.
    """

    def __init__(self, engine: sa.Engine, profile: str) -> None:
        self.profile = profile
        self._engine_for_reads = engine

    def purchases(
        self, request_ids: Iterable[str] | None = None, *, series: str | None = None
    ) -> dict[str, Purchase]:
        """The newest attempt per request id; requests never intended are absent.

        Of the dataset's own attempts, or of one series of reproductions; likewise below.
        """
        found: dict[str, Purchase] = {}
        for row in self._select(schema.purchases, request_ids, series):
            purchase = Purchase.from_row(row)
            standing = found.get(purchase.request_id)
            if standing is None or standing.attempt < purchase.attempt:
                found[purchase.request_id] = purchase
        return found

    def released_attempts(self, request_ids: Iterable[str]) -> Counter[str]:
        """How many of the dataset's own attempts at each request a person released."""
        rows = self._select(schema.purchases, request_ids, None)
        return Counter(row.request_id for row in rows if row.state == PurchaseState.RELEASED.value)

    def images(
        self, request_ids: Iterable[str] | None = None, *, series: str | None = None
    ) -> dict[str, list[ImageRecord]]:
        """All image rows per request id, by attempt and index."""
        found: dict[str, list[ImageRecord]] = {}
        for row in self._select(schema.images, request_ids, series):
            found.setdefault(row.request_id, []).append(ImageRecord.from_row(row))
        for records in found.values():
            records.sort(key=lambda record: (record.attempt, record.image_index))
        return found

    def images_of(self, key: PurchaseKey) -> list[ImageRecord]:
        """The image rows of one attempt, by index."""
        table = schema.images
        query = (
            sa.select(table)
            .where(
                table.c.profile == key.profile,
                table.c.request_id == key.request_id,
                table.c.attempt == key.attempt,
            )
            .order_by(table.c.image_index)
        )
        with self._read() as connection:
            return [ImageRecord.from_row(row) for row in connection.execute(query)]

    def stored_images_alive(self, now: datetime) -> dict[str, list[ImageRecord]]:
        """Stored images per request id that could still be fetched again from their URLs.

        Of every attempt, reproductions too: all of them are paid for.
        """
        table = schema.images
        query = sa.select(table).where(
            table.c.profile == self.profile,
            table.c.state == ImageState.STORED.value,
            table.c.url_expires_at > now,
        )
        found: dict[str, list[ImageRecord]] = {}
        with self._read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.request_id, []).append(ImageRecord.from_row(row))
        return found

    def lost_images(self) -> dict[str, list[ImageRecord]]:
        """Lost images per request id."""
        table = schema.images
        query = sa.select(table).where(
            table.c.profile == self.profile, table.c.state == ImageState.LOST.value
        )
        found: dict[str, list[ImageRecord]] = {}
        with self._read() as connection:
            for row in connection.execute(query):
                found.setdefault(row.request_id, []).append(ImageRecord.from_row(row))
        return found

    def unfinished(self) -> list[Purchase]:
        """Purchases that somebody must still poll, fetch or find out about, reproductions too."""
        table = schema.purchases
        states = [state.value for state in PurchaseState if state.unfinished]
        with self._read() as connection:
            rows = connection.execute(
                sa.select(table).where(table.c.profile == self.profile, table.c.state.in_(states))
            )
            return [Purchase.from_row(row) for row in rows]

    def requests_with_lost_images(
        self, request_ids: Iterable[str] | None = None, *, series: str | None = None
    ) -> set[str]:
        """Ids of requests that have a paid image which can no longer arrive.

        Of the newest attempt only: a request that was bought again has other images by now.
        """
        lost = {
            (request_id, record.attempt)
            for request_id, records in self.images(request_ids, series=series).items()
            for record in records
            if record.state is ImageState.LOST
        }
        newest = self.purchases((request_id for request_id, _ in lost), series=series)
        return {request_id for request_id, attempt in lost if newest[request_id].attempt == attempt}

    def counts(self) -> dict[PurchaseState, int]:
        """How many purchases stand in each state."""
        table = schema.purchases
        with self._read() as connection:
            rows = connection.execute(
                sa.select(table.c.state, sa.func.count())
                .where(table.c.profile == self.profile)
                .group_by(table.c.state)
            )
            return {PurchaseState(state): count for state, count in rows}

    def spent(self, *, run_id: str | None = None) -> Decimal:
        """USD paid, by everything or by the purchases of one run."""
        return self._total(schema.purchases.c.cost_usd, run_id)

    def reserved(self, *, run_id: str | None = None) -> Decimal:
        """USD set aside for purchases in flight and for unknown ones."""
        return self._total(schema.purchases.c.reserved_usd, run_id)

    def committed(
        self, *, day: str | None = None, prompt_set: str | None = None, run_id: str | None = None
    ) -> Decimal:
        """USD paid or reserved, by everything or by what a day, a set or a run intended."""
        table = schema.spending
        query = sa.select(sa.func.sum(table.c.committed_usd)).where(table.c.profile == self.profile)
        for column, wanted in (
            (table.c.day, day),
            (table.c.prompt_set, prompt_set),
            (table.c.run_id, run_id),
        ):
            if wanted is not None:
                query = query.where(column == wanted)
        with self._read() as connection:
            return connection.execute(query).scalar() or ZERO

    def paused_until_us(self, limit: str) -> int:
        """When the newest pause under a limit ends, on the database server's clock; 0 for never."""
        with self._read() as connection:
            return pace.paused_until_us(connection, self.profile, limit)

    def purchase(self, key: PurchaseKey) -> Purchase | None:
        """One attempt at a request."""
        table = schema.purchases
        query = sa.select(table).where(
            table.c.profile == key.profile,
            table.c.request_id == key.request_id,
            table.c.attempt == key.attempt,
        )
        with self._read() as connection:
            row = connection.execute(query).one_or_none()
        return Purchase.from_row(row) if row else None

    def recall(self, name: str) -> str | None:
        """A fact kept by an earlier run, or None."""
        with self._read() as connection:
            return fact_named(connection, name)

    @contextmanager
    def _read(self) -> Generator[sa.Connection]:
        try:
            with self._engine_for_reads.connect() as connection:
                yield connection
        except DBAPIError as error:
            remedy = (
                "Check the data folder's disk, or restore the file from a backup, then run again"
            )
            if held := held_by_another(error, self._engine_for_reads):
                remedy = held
            elif self._engine_for_reads.dialect.name == "postgresql":
                remedy = "Check that its server runs, then run again"
            raise LedgerUnavailableError(
                f"the ledger could not be read: {error.orig}. Nothing is bought without it."
                f" {remedy}"
            ) from error

    def _total(self, column: sa.Column[Decimal], run_id: str | None) -> Decimal:
        table = schema.purchases
        query = sa.select(sa.func.sum(column)).where(table.c.profile == self.profile)
        if run_id is not None:
            query = query.where(table.c.run_id == run_id)
        with self._read() as connection:
            return connection.execute(query).scalar() or ZERO

    def _select(
        self, table: sa.Table, request_ids: Iterable[str] | None, series: str | None
    ) -> Iterator[sa.Row[Any]]:
        """Rows of purchases or images of the dataset's own attempts, or of a series."""
        query = sa.select(table).where(table.c.profile == self.profile)
        if series is None:
            query = query.where(table.c.attempt > 0)
        else:
            query = query.where(in_series(series))
            if table is not schema.purchases:
                bought = schema.purchases.c
                key = (
                    table.c[name] == bought[name] for name in ("profile", "request_id", "attempt")
                )
                query = query.join_from(table, schema.purchases, sa.and_(*key))
        with self._read() as connection:
            if request_ids is None:
                yield from connection.execute(query)
                return
            wanted = list(dict.fromkeys(request_ids))
            for start in range(0, len(wanted), CHUNK):
                part = wanted[start : start + CHUNK]
                yield from connection.execute(query.where(table.c.request_id.in_(part)))
