"""Room at the provider, shared by every run, process and machine of one ledger.

It is a queue of tickets, in the order of asking; tickets of dead owners are void.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.leases import OWNER_COLUMNS, owner_alive

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["Ticket", "add_ticket", "give_back", "give_back_all", "take_ticket"]

_SLOTS = schema.slots.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticket:
    """A place in the queue for room at the provider."""

    number: int
    granted: bool


def take_ticket(
    tx: Transaction,
    profile: str,
    number: int | None,
    *,
    owner: Owner,
    size: int,
    now: datetime,
) -> Ticket:
    """Ask for room, or ask again with the number got before.

    Granted when fewer than `size` tickets are granted and nobody who asked earlier still waits.
    """
    tx.hold_account(profile)
    rows = _living_tickets(tx, profile, owner=owner, now=now)
    if number not in rows:  # asked for the first time; or a suspended process's, void meanwhile
        number = _new_ticket(tx, profile, owner=owner, granted=False)
        rows[number] = False
    first_waiting = min(each for each, granted in rows.items() if not granted)
    granted = number == first_waiting and sum(rows.values()) < size
    if granted:
        tx.connection.execute(
            sa.update(schema.slots).where(_SLOTS.ticket == number).values(granted=True)
        )
    return Ticket(number=number, granted=granted)


def add_ticket(tx: Transaction, profile: str, *, owner: Owner) -> Ticket:
    """Count a task that is at the provider already, whatever room there is."""
    return Ticket(number=_new_ticket(tx, profile, owner=owner, granted=True), granted=True)


def give_back(tx: Transaction, number: int) -> None:
    """A task is no longer at the provider, or nobody waits any more."""
    tx.connection.execute(sa.delete(schema.slots).where(_SLOTS.ticket == number))


def give_back_all(tx: Transaction, owner_id: str) -> None:
    """The owner ends."""
    tx.connection.execute(sa.delete(schema.slots).where(_SLOTS.owner_id == owner_id))


def _living_tickets(
    tx: Transaction, profile: str, *, owner: Owner, now: datetime
) -> dict[int, bool]:
    """Whether each ticket is granted; those of dead owners are removed."""
    rows = tx.connection.execute(
        sa.select(
            _SLOTS.ticket,
            _SLOTS.granted,
            _SLOTS.owner_id,
            schema.owners.c.run_id,
            *OWNER_COLUMNS,
        )
        .join(schema.owners, schema.owners.c.owner_id == _SLOTS.owner_id, isouter=True)
        .where(_SLOTS.profile == profile)
    ).all()
    alive = {owner.owner_id: True}
    for row in rows:
        if row.owner_id not in alive:
            alive[row.owner_id] = owner_alive(row, now)
    for owner_id in (owner_id for owner_id, lives in alive.items() if not lives):
        give_back_all(tx, owner_id)
    return {row.ticket: row.granted for row in rows if alive[row.owner_id]}


def _new_ticket(tx: Transaction, profile: str, *, owner: Owner, granted: bool) -> int:
    result = tx.connection.execute(
        sa.insert(schema.slots).values(profile=profile, owner_id=owner.owner_id, granted=granted)
    )
    number: int = result.inserted_primary_key[0]  # pyright: ignore[reportOptionalSubscript]
    return number
