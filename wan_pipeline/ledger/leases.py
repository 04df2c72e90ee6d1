"""Leases: how an owner says that it lives, and who counts as dead."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.owner import Owner

if TYPE_CHECKING:
    from wan_pipeline.ledger.transaction import Transaction

__all__ = [
    "LEASE",
    "OWNER_COLUMNS",
    "end_lease",
    "enrol",
    "living_owners",
    "owner_alive",
    "owner_works",
    "renew_lease",
    "stopped_process",
]

LEASE = timedelta(seconds=60)
"""How long an owner is believed without a sign of life."""

ENDED = datetime(1970, 1, 1, tzinfo=UTC)  # before now on every clock, even one that was set back
_OWNERS = schema.owners.c

OWNER_COLUMNS = (
    _OWNERS.machine,
    _OWNERS.pid,
    _OWNERS.process_started,
    _OWNERS.lease_expires_at,
)
"""What `owner_alive` reads, beside `owner_id` and `run_id`, which the other tables have too."""

_SELECT = sa.select(_OWNERS.owner_id, _OWNERS.run_id, *OWNER_COLUMNS)


def enrol(tx: Transaction, *, owner: Owner, expires: datetime) -> None:
    """A new owner, who is believed until `expires`."""
    tx.connection.execute(
        sa.insert(schema.owners).values(
            owner_id=owner.owner_id,
            run_id=owner.run_id,
            machine=owner.machine,
            pid=owner.pid,
            process_started=owner.process_started,
            lease_expires_at=expires,
        )
    )


def renew_lease(tx: Transaction, *, owner: Owner, expires: datetime) -> None:
    """The owner is believed until `expires`."""
    tx.connection.execute(
        sa.update(schema.owners)
        .where(_OWNERS.owner_id == owner.owner_id)
        .values(lease_expires_at=expires)
    )


def end_lease(tx: Transaction, *, owner: Owner) -> None:
    """The owner's rows are free for others at once."""
    renew_lease(tx, owner=owner, expires=ENDED)


def living_owners(connection: sa.Connection, now: datetime) -> set[str]:
    """Ids of all owners that still work."""
    query = _SELECT.where(_OWNERS.lease_expires_at > now)
    return {row.owner_id for row in connection.execute(query) if owner_alive(row, now)}


def owner_works(connection: sa.Connection, owner_id: str | None, now: datetime) -> bool:
    """Whether an owner, who may be none, still works."""
    row = _row_of(connection, owner_id)
    return row is not None and owner_alive(row, now)


def stopped_process(connection: sa.Connection, owner_id: str | None) -> int | None:
    """The pid of an owner who did not end and stands still on this machine; None for others."""
    row = _row_of(connection, owner_id)
    if row is None or row.lease_expires_at <= ENDED:
        return None
    return row.pid if _owner(row).stopped else None


def owner_alive(row: Any, now: datetime) -> bool:
    """Whether the owner in the row, which may be none, still works."""
    if row.machine is None:
        return False
    return _owner(row).alive(lease_expires_at=row.lease_expires_at, now=now)


def _row_of(connection: sa.Connection, owner_id: str | None) -> Any:
    return connection.execute(_SELECT.where(_OWNERS.owner_id == owner_id)).one_or_none()


def _owner(row: Any) -> Owner:
    return Owner(
        owner_id=row.owner_id,
        run_id=row.run_id,
        machine=row.machine,
        pid=row.pid,
        process_started=row.process_started,
    )
