"""Bringing an older ledger to this version's schema: a numbered list of steps.

Each step says in plain SQL what changed, as it was then: it must not follow later changes of
`schema`. All of them run in one transaction, so that a ledger is never between two versions.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import sqlalchemy as sa

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["migrate"]


def migrate(connection: sa.Connection, *, found: int, wanted: int) -> None:
    """Run the steps from one version to another."""
    for version in range(found, wanted):
        _STEPS[version](connection)


def _add_budget_and_limits(connection: sa.Connection) -> None:
    """1 to 2: caps, shared limits, and who decided what."""
    big_serial = (
        "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT"
        if connection.dialect.name == "sqlite"
        else "BIGSERIAL PRIMARY KEY"
    )
    day = (
        "strftime('%Y-%m-%d', created_at)"
        if connection.dialect.name == "sqlite"
        else "to_char(created_at AT TIME ZONE 'UTC', 'YYYY-MM-DD')"
    )
    for statement in (
        "ALTER TABLE events ADD COLUMN who TEXT",
        "CREATE TABLE accounts (profile TEXT NOT NULL PRIMARY KEY)",
        """
        CREATE TABLE spending (
            profile TEXT NOT NULL, day TEXT NOT NULL, prompt_set TEXT NOT NULL,
            run_id TEXT NOT NULL, committed_usd BIGINT NOT NULL,
            PRIMARY KEY (profile, day, prompt_set, run_id)
        )
        """,
        """
        CREATE TABLE pace (
            name TEXT NOT NULL PRIMARY KEY, next_at_us BIGINT NOT NULL,
            paused_until_us BIGINT NOT NULL, longest_pause_us BIGINT NOT NULL,
            pauses_in_a_row INTEGER NOT NULL
        )
        """,
        f"""
        CREATE TABLE slots (
            ticket {big_serial}, profile TEXT NOT NULL, owner_id TEXT NOT NULL,
            granted BOOLEAN NOT NULL
        )
        """,
        f"""
        INSERT INTO spending (profile, day, prompt_set, run_id, committed_usd)
        SELECT profile, {day}, bought_by_set, run_id,
               SUM(reserved_usd) + SUM(COALESCE(cost_usd, 0))
        FROM purchases GROUP BY profile, {day}, bought_by_set, run_id
        """,  # noqa: S608  both parts are constants
    ):
        connection.execute(sa.text(statement))


def _allow_reproductions(_: sa.Connection) -> None:
    """2 to 3: attempts below 0 are reproductions.

    No table changes. An older version would take such an attempt for a request's own, so it must
    not open the ledger any more.
    """


_STEPS: dict[int, Callable[[sa.Connection], None]] = {
    1: _add_budget_and_limits,
    2: _allow_reproductions,
}
