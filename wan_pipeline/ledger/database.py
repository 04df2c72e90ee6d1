"""Opening the ledger's database: durability settings, schema, version."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.errors import LedgerUnavailableError, LedgerVersionError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["open_database"]

BUSY_TIMEOUT_MS = 30_000


def open_database(path: Path) -> tuple[sa.Engine, sa.Engine]:
    """A reading and a writing engine on the SQLite file, created when it does not exist.

    Raises:
        LedgerUnavailableError: the file cannot be created, is damaged, or is no ledger.
        LedgerVersionError: a newer version of this package wrote it.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        reader, writer = _engine(path, begin="BEGIN"), _engine(path, begin="BEGIN IMMEDIATE")
        with writer.begin() as connection:
            _ensure_schema(connection, path)
    except (DBAPIError, OSError) as error:
        reason = error.orig if isinstance(error, DBAPIError) else error
        raise LedgerUnavailableError(
            f"the ledger {path} cannot be opened: {reason}. Nothing is bought without it: check"
            " that the folder is writable and the disk healthy, or restore the file from a backup"
        ) from error
    return reader, writer


def _engine(path: Path, *, begin: str) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # transactions are begun below, and nowhere else
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.exec_driver_sql(begin)

    return engine


def _ensure_schema(connection: sa.Connection, path: Path) -> None:
    tables = sa.inspect(connection).get_table_names()
    if tables and schema.info.name not in tables:
        raise LedgerUnavailableError(
            f"{path} is the database of something else (it has the table {tables[0]!r}). Move it"
            " away, or choose another data folder with WAN_DATA_DIR"
        )
    if not tables:
        schema.metadata.create_all(connection)
        connection.execute(
            sa.insert(schema.info).values(key="schema_version", value=str(schema.SCHEMA_VERSION))
        )
        return
    version = connection.execute(
        sa.select(schema.info.c.value).where(schema.info.c.key == "schema_version")
    ).scalar()
    if version is None or int(version) > schema.SCHEMA_VERSION:
        raise LedgerVersionError(
            f"the ledger {path} has schema version {version}, this package knows up to"
            f" {schema.SCHEMA_VERSION}. Install the newer wan_pipeline that wrote it"
        )
