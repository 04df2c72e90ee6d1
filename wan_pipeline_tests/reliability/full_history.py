"""A Dagster instance whose databases are full: SQLite itself says so, as on a full disk."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import event
from sqlalchemy.engine import Engine

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["FullHistory", "full_history"]

FOLDER = "/dagster/"


class FullHistory:
    """Keeps the instance's databases from growing, from now on, as long as it is told to.

    Attributes:
        left: connections that are limited from now on; None for all.
    """

    def __init__(self, left: int | None) -> None:
        self.left = left
        self.limited = 0

    def limit(self, connection: Any, _record: object) -> None:
        """Called with every connection of SQLAlchemy's."""
        path = connection.execute("PRAGMA database_list").fetchone()[2]
        if FOLDER not in path or self.left == 0:
            return
        connection.execute("PRAGMA max_page_count = 1")  # that is: no more than it has by now
        self.limited += 1
        if self.left is not None:
            self.left -= 1


@contextmanager
def full_history(left: int | None = None) -> Generator[FullHistory]:
    """In the block, the next `left` connections to the instance's databases find them full."""
    full = FullHistory(left)
    event.listen(Engine, "connect", full.limit)
    try:
        yield full
    finally:
        event.remove(Engine, "connect", full.limit)
