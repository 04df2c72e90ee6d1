"""Dagster's SQLite storages with one SQLAlchemy engine per file, instead of one per statement.

A build writes its events in some 500 connections, and Dagster makes an engine for each: a new
dialect, and every statement compiled anew, a seventh of the processor time of a run. The storages,
their files and their connections (`NullPool`: none is kept) stay as they are. This holds in the
processes of the tests; commands that the tests start run Dagster as it comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster._core.storage.event_log.sqlite import sqlite_event_log
from dagster._core.storage.runs.sqlite import sqlite_run_storage
from dagster._core.storage.schedules.sqlite import sqlite_schedule_storage

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Engine

__all__ = ["keep_engines"]

KEPT = 32  # per storage: more files than one test has, and no memory of all that were


def keep_engines() -> None:
    """Let Dagster's storages in this process find the engine that they made before."""
    for storage in (sqlite_event_log, sqlite_run_storage, sqlite_schedule_storage):
        names = vars(storage)
        names["create_engine"] = _kept(names["create_engine"])


def _kept(create: Callable[..., Engine]) -> Callable[..., Engine]:
    """`create`, asked once per file; a storage asks with the same options each time."""
    engines: dict[str, Engine] = {}

    def create_engine(url: str, **options: object) -> Engine:
        engine = engines.pop(url, None) or create(url, **options)
        engines[url] = engine
        if len(engines) > KEPT:
            del engines[next(iter(engines))]
        return engine

    return create_engine
