"""What to do about a database that is in the way: told by every part that meets it."""

from __future__ import annotations

import shlex
import sqlite3
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["held_by_another"]


def held_by_another(error: BaseException, engine: sa.Engine) -> str | None:
    """The remedy when another process does not let go of a SQLite file; None for other errors."""
    cause = error.orig if isinstance(error, DBAPIError) else None
    code = getattr(cause, "sqlite_errorcode", 0)
    # Extended codes have the primary one in their lowest byte.
    if code & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return None
    file = shlex.quote(str(engine.url.database))
    return (
        "Another process holds it, at work or stopped; the file is not damaged. `fuser"
        f" {file}` or `lsof {file}` tells which. Let it end, end it, or continue it if it is"
        " stopped (kill -CONT PID), then run again"
    )
