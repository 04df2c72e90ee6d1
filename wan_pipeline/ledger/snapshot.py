"""Reading the ledger as it was at one moment, however long the reading takes and whoever writes."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema

if TYPE_CHECKING:
    from collections.abc import Generator

    from wan_pipeline.ledger.reading import LedgerReader

__all__ = ["Snapshot", "snapshot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """One profile's ledger at one moment.

    Attributes:
        connection: an open transaction that sees no later change; for reading only.
        profile: whose rows count.
        last_event: `seq` of the newest event, 0 when there is none. Every change appends an event,
            so two snapshots with the same number show the same purchases and images.
    """

    connection: sa.Connection
    profile: str
    last_event: int


@contextmanager
def snapshot(reader: LedgerReader) -> Generator[Snapshot]:
    """Hold the ledger still for everything that is read in the block.

    Raises:
        LedgerUnavailableError: the database cannot be read.
    """
    with reader._read() as connection:  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        if connection.dialect.name == "postgresql":
            # SQLite's read transaction is a snapshot; PostgreSQL has to be asked for one.
            connection = connection.execution_options(isolation_level="REPEATABLE READ")  # noqa: PLW2901
        newest = sa.select(sa.func.max(schema.events.c.seq)).where(
            schema.events.c.profile == reader.profile
        )
        last_event = connection.execute(newest).scalar() or 0  # the moment is now
        yield Snapshot(connection=connection, profile=reader.profile, last_event=last_event)
