"""The pace of one account, shared by every run, process and machine of one ledger.

It is one row per limit: whoever wants to ask takes the next free moment and moves it on, in one
statement. Moments are microseconds on the database server's clock.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.inserts import insert_if_absent

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["US", "Pause", "Reservation", "pause", "paused_until_us", "reserve", "went_well"]

US = 1_000_000
"""Microseconds in a second."""

FARTHEST_US = 60 * US  # nobody waits longer for a mere turn
_PACE = schema.pace.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """Moments at which its holder may ask.

    Attributes:
        first_us: the first one, on the server's clock.
        step_us: from one to the next.
        count: how many.
        wait_s: seconds until the first one, when the server's clock was read.
        pauses_in_a_row: refusals since the last success, whoever met them.
    """

    first_us: int
    step_us: int
    count: int
    wait_s: float
    pauses_in_a_row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pause:
    """How long to wait after a refusal: Retry-After, else doubling from first to longest."""

    retry_after_s: float | None
    first_s: float
    longest_s: float


def reserve(
    tx: Transaction, profile: str, limit: str, *, step_us: int, count: int, now: datetime
) -> Reservation:
    """Take the next free moments.

    A next moment further ahead than any pause and any queue can have put it is a clock that was
    set back; it starts anew from now.
    """
    tx.hold_account(profile)
    clock = _server_us(tx.connection, now)
    farthest = clock + _PACE.longest_pause_us + max(FARTHEST_US, 100 * step_us)
    is_jump = _PACE.next_at_us > farthest
    first = sa.case((is_jump | (_PACE.next_at_us < clock), clock), else_=_PACE.next_at_us)
    name = _name(profile, limit)
    _ensure_pace(tx, name)
    row = tx.connection.execute(
        sa.update(schema.pace)
        .where(_PACE.name == name)
        .values(
            next_at_us=first + step_us * count,
            paused_until_us=sa.case((is_jump, 0), else_=_PACE.paused_until_us),
        )
        .returning(_PACE.next_at_us, clock.label("clock_us"), _PACE.pauses_in_a_row)
    ).one()
    first_us = row.next_at_us - step_us * count
    return Reservation(
        first_us=first_us,
        step_us=step_us,
        count=count,
        wait_s=(first_us - row.clock_us) / US,
        pauses_in_a_row=row.pauses_in_a_row,
    )


def pause(tx: Transaction, profile: str, limit: str, asked: Pause, *, now: datetime) -> float:
    """Hold everyone back; the seconds until the pause ends.

    Refusals that come back while a pause holds belong to it and double nothing.
    """
    tx.hold_account(profile)
    name = _name(profile, limit)
    _ensure_pace(tx, name)
    row = tx.connection.execute(
        sa.select(schema.pace, _server_us(tx.connection, now).label("clock_us")).where(
            _PACE.name == name
        )
    ).one()
    if row.paused_until_us > row.clock_us and asked.retry_after_s is None:
        return (row.paused_until_us - row.clock_us) / US
    doubled = min(asked.first_s * 2 ** min(row.pauses_in_a_row, 32), asked.longest_s)
    pause_s = doubled if asked.retry_after_s is None else asked.retry_after_s
    until = max(row.paused_until_us, row.clock_us + round(pause_s * US))
    tx.connection.execute(
        sa.update(schema.pace)
        .where(_PACE.name == name)
        .values(
            next_at_us=max(row.next_at_us, until),
            paused_until_us=until,
            longest_pause_us=max(row.longest_pause_us, round(pause_s * US)),
            pauses_in_a_row=row.pauses_in_a_row + 1,
        )
    )
    return pause_s


def went_well(tx: Transaction, profile: str, limit: str) -> None:
    """An answer that was no refusal ends the streak of doubling pauses."""
    tx.hold_account(profile)
    tx.connection.execute(
        sa.update(schema.pace).where(_PACE.name == _name(profile, limit)).values(pauses_in_a_row=0)
    )


def paused_until_us(connection: sa.Connection, profile: str, limit: str) -> int:
    """Moments before this one are void."""
    query = sa.select(_PACE.paused_until_us).where(_PACE.name == _name(profile, limit))
    return connection.execute(query).scalar() or 0


def _name(profile: str, limit: str) -> str:
    return f"{profile}/{limit}"


def _ensure_pace(tx: Transaction, name: str) -> None:
    insert_if_absent(
        tx.connection,
        schema.pace,
        name=name,
        next_at_us=0,
        paused_until_us=0,
        longest_pause_us=0,
        pauses_in_a_row=0,
    )


def _server_us(connection: sa.Connection, now: datetime) -> sa.ColumnElement[int]:
    """The database server's clock: this machine's for a file, read at the last moment elsewhere."""
    if connection.dialect.name == "postgresql":
        seconds = sa.extract("epoch", sa.func.clock_timestamp())
        return sa.cast(seconds * US, sa.BigInteger)
    return sa.literal(round(now.timestamp() * US), sa.BigInteger)
