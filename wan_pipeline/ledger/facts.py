"""Facts that a ledger keeps beside its purchases, by name; the newest word counts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.inserts import insert_if_absent

if TYPE_CHECKING:
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["LEDGER_ID", "fact_named", "keep_fact"]

LEDGER_ID = "ledger_id"
"""The fact that tells one ledger from another; a restored copy has the same."""

_INFO = schema.info.c


def keep_fact(tx: Transaction, name: str, value: str) -> None:
    """Write a fact down, over an older one of its name."""
    insert_if_absent(tx.connection, schema.info, key=name, value=value)
    tx.connection.execute(sa.update(schema.info).where(_INFO.key == name).values(value=value))


def fact_named(connection: sa.Connection, name: str) -> str | None:
    """A fact, or None when nobody wrote it down."""
    return connection.execute(sa.select(_INFO.value).where(_INFO.key == name)).scalar()
