"""Dagster's SQLite storages without their costs that no test is about.

A build writes its events in some 500 connections. Dagster makes an engine for each (a new dialect,
and every statement compiled anew), waits for the disk at every commit, and reads its sixty
migrations anew for each of the databases of an instance: together a third of the time of a run.
Here each file has one engine, its commits are not flushed, and the migrations are read once. The
storages, their files and their connections (`NullPool`: none is kept) stay as they are, and what a
killed process has committed is there: only a power loss would take it. This holds in the processes
of the tests. Commands that the tests start run Dagster as it comes, and the ledger is not touched.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from alembic.script import ScriptDirectory
from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage
from dagster._core.storage.sql import ALEMBIC_SCRIPTS_LOCATION, get_alembic_config
from sqlalchemy import event

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.config import Config
    from sqlalchemy import Engine

__all__ = ["keep_engines"]

KEPT = 32  # per storage: more files than one test has, and no memory of all that were


def keep_engines() -> None:
    """Let Dagster's storages in this process find what they made before."""
    for storage in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        names = vars(storage)
        names["create_engine"] = _kept(names["create_engine"])
    _read_migrations_once()


def _kept(create: Callable[..., Engine]) -> Callable[..., Engine]:
    """`create`, asked once per file; a storage asks with the same options each time."""
    engines: dict[str, Engine] = {}

    def create_engine(url: str, **options: object) -> Engine:
        engine = engines.pop(url, None)
        if engine is None:
            engine = create(url, **options)
            event.listen(engine, "connect", _do_not_flush)
        engines[url] = engine
        if len(engines) > KEPT:
            del engines[next(iter(engines))]
        return engine

    return create_engine


def _do_not_flush(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA synchronous = OFF").close()


def _read_migrations_once() -> None:
    """Every storage's migrations lie in one folder, and nothing changes them."""
    read = ScriptDirectory.from_config
    dagsters = cache(lambda: read(get_alembic_config(sqlite_run_storage.__file__)))

    def from_config(config: Config) -> ScriptDirectory:
        is_dagsters = config.get_main_option("script_location") == ALEMBIC_SCRIPTS_LOCATION
        return dagsters() if is_dagsters else read(config)

    ScriptDirectory.from_config = from_config
