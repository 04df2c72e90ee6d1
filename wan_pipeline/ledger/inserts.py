"""Inserts that a row may be in the way of, in the words of either database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import sqlalchemy as sa

__all__ = ["dialect_insert", "insert_if_absent"]


def insert_if_absent(connection: sa.Connection, table: sa.Table, **values: Any) -> None:
    """Insert a row unless its primary key is taken."""
    insert = dialect_insert(connection, table).values(**values)
    connection.execute(insert.on_conflict_do_nothing())


def dialect_insert(connection: sa.Connection, table: sa.Table) -> Any:
    """An insert that knows ON CONFLICT, which both databases have and SQLAlchemy's own has not."""
    if connection.dialect.name == "sqlite":
        from sqlalchemy.dialects import sqlite  # noqa: PLC0415  only one of the two is needed

        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # noqa: PLC0415

    return postgresql.insert(table)
