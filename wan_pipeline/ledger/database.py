"""Opening the ledger's database: durability settings, schema, version.

SQLite by default: one file, one machine. PostgreSQL by URL, for several machines that share an
account. The same tables and the same changes on both.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.errors import LedgerUnavailableError, LedgerVersionError
from wan_pipeline.ledger.facts import LEDGER_ID
from wan_pipeline.ledger.inserts import insert_if_absent
from wan_pipeline.ledger.migrations import migrate
from wan_pipeline.ledger.remedies import held_by_another
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["open_database", "public_name"]

BUSY_TIMEOUT_MS = 30_000  # for a lock that another process has
# A writer that stands still so long in a transaction was stopped, or its machine is gone. Shorter
# than the patience of those who wait for its locks.
SUSPENDED_AFTER_MS = 20_000
# A server that vanishes without a word is given up after a minute, not after the system's two
# hours.
VANISHED = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 15,  # seconds
    "keepalives_interval": 15,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds
}
DRIVER = "postgresql+psycopg"
OPENING_LOCK = 0x77616E  # an arbitrary number that stands for "schema of a wan_pipeline ledger"


def open_database(
    where: Path | str,
    *,
    check: Callable[[sa.Connection], None] | None = None,
    name: str | None = None,
) -> tuple[sa.Engine, sa.Engine]:
    """A reading and a writing engine, on a schema that this version knows.

    Args:
        where: path of an SQLite file, created when it does not exist; or a PostgreSQL URL.
        check: called before anything is committed; what it raises leaves the database as it was.
        name: for messages; by what it is opened when not given.

    Raises:
        ConfigurationError: the URL is none of PostgreSQL.
        LedgerUnavailableError: it cannot be created or reached, is damaged, or is no ledger.
        LedgerVersionError: a newer version of this package wrote it.
    """
    name = name or public_name(where)
    engines: tuple[sa.Engine, ...] = ()
    try:
        if isinstance(where, Path):
            where.parent.mkdir(parents=True, exist_ok=True)
            engines = (_sqlite(where, begin="BEGIN"), _sqlite(where, begin="BEGIN IMMEDIATE"))
        else:
            engines = (_postgres(where, writes=False), _postgres(where, writes=True))
        with engines[-1].begin() as connection:
            _ensure_schema(connection, name)
            if check is not None:
                check(connection)
            # No change of the schema: older versions need not know it, and leave it as it is.
            insert_if_absent(connection, schema.info, key=LEDGER_ID, value=uuid.uuid4().hex)
    except BaseException as error:
        for engine in engines:
            engine.dispose()
        if not isinstance(error, DBAPIError | OSError):
            raise
        reason = error.orig if isinstance(error, DBAPIError) else error
        held = held_by_another(error, engines[-1]) if engines else None
        raise LedgerUnavailableError(
            f"the ledger {name} cannot be opened: {reason}. Nothing is bought without it."
            f" {held or _remedy(where)}"
        ) from error
    return engines[0], engines[-1]


def public_name(where: Path | str) -> str:
    """The database by a name without any secret: a query may hold passwords too."""
    if isinstance(where, Path):
        return str(where)
    try:
        return sa.make_url(where).set(query={}).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        return "of WAN_LEDGER_URL"


def _remedy(where: Path | str) -> str:
    if isinstance(where, Path):
        return (
            "Check that the folder is writable and the disk healthy and not full, or restore the"
            " file from a backup, then run again"
        )
    return "Check that the server runs and that WAN_LEDGER_URL names it, then run again"


def _sqlite(path: Path, *, begin: str) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
        connection.isolation_level = None  # transactions are begun below, and nowhere else
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
        cursor.execute("PRAGMA journal_mode = WAL")
        cursor.execute("PRAGMA synchronous = FULL")
        cursor.close()

    def do_begin(dbapi_connection: Any) -> None:
        dbapi_connection.execute(begin)

    # Not by an event "begin": an engine with events pays for them at every statement.
    engine.dialect.do_begin = do_begin
    return engine


def _postgres(url: str, *, writes: bool) -> sa.Engine:
    """An engine that finds out by itself that the server was restarted.

    For writing, no wait for a lock and no transaction is endless; for reading, a snapshot may be
    held while its rows are worked on.
    """
    try:
        parsed = sa.make_url(url)
    except (ArgumentError, ValueError):  # the latter for a port that is no number
        parsed = None
    known = parsed is not None and parsed.drivername in ("postgresql", "postgres", DRIVER)
    # An @ in the host is one of the password, whose end would be looked up and shown as a host.
    if parsed is None or not known or "@" in (parsed.host or ""):
        raise ConfigurationError(
            "WAN_LEDGER_URL is no PostgreSQL URL. Set it to"
            " postgresql://USER:PASSWORD@HOST:PORT/DATABASE (in the password write @ as %40, / as"
            " %2F, : as %3A), or unset it for a SQLite file in the data folder. Nothing was bought"
        )
    try:
        engine = sa.create_engine(
            parsed.set(drivername=DRIVER),
            pool_pre_ping=True,
            hide_parameters=True,  # an error's text must not repeat what prompts or answers say
            connect_args={**VANISHED, "application_name": "wan_pipeline"},
        )
    except ModuleNotFoundError as error:
        raise LedgerUnavailableError(
            "WAN_LEDGER_URL needs the PostgreSQL driver: pip install 'wan-pipeline[postgres]', then"
            " run again. Nothing was bought"
        ) from error

    if writes:

        @event.listens_for(engine, "connect")
        def _configure(connection: Any, _record: object) -> None:  # pyright: ignore[reportUnusedFunction]
            with connection.cursor() as cursor:
                cursor.execute(f"SET lock_timeout = {BUSY_TIMEOUT_MS}")
                cursor.execute(f"SET idle_in_transaction_session_timeout = {SUSPENDED_AFTER_MS}")
            connection.commit()

    return engine


def _ensure_schema(connection: sa.Connection, name: str) -> None:
    if connection.dialect.name == "postgresql":  # SQLite's BEGIN IMMEDIATE lets one in already
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(OPENING_LOCK)))
    tables = sa.inspect(connection).get_table_names()
    if tables and schema.info.name not in tables:
        raise LedgerUnavailableError(
            f"{name} is the database of something else (it has the table {tables[0]!r}). Choose"
            " another data folder with WAN_DATA_DIR, or another database with WAN_LEDGER_URL"
        )
    if not tables:
        schema.metadata.create_all(connection)
        connection.execute(
            sa.insert(schema.info).values(key="schema_version", value=str(schema.SCHEMA_VERSION))
        )
        return
    is_version = schema.info.c.key == "schema_version"
    version = connection.execute(sa.select(schema.info.c.value).where(is_version)).scalar()
    if version is None or not version.isdecimal() or int(version) > schema.SCHEMA_VERSION:
        raise LedgerVersionError(
            f"the ledger {name} has schema version {version}, this package knows up to"
            f" {schema.SCHEMA_VERSION}. Install the newer wan_pipeline that wrote it, then run"
            " again; nothing was changed"
        )
    if int(version) < schema.SCHEMA_VERSION:
        migrate(connection, found=int(version), wanted=schema.SCHEMA_VERSION)
        connection.execute(
            sa.update(schema.info).where(is_version).values(value=str(schema.SCHEMA_VERSION))
        )
