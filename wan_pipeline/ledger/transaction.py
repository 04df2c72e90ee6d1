"""One transaction of the writer: a connection, and what is written together at its end.

A group of changes shares one transaction. Their events and their effect on the spending are
gathered and written once per group.
"""

from __future__ import annotations

from collections import defaultdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.budget import add_pending, committed_under
from wan_pipeline.ledger.inserts import dialect_insert

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.budget import Bucket
    from wan_pipeline.ledger.records import PurchaseKey

__all__ = ["Transaction"]

ZERO = Decimal(0)
_INSERT_EVENT = sa.insert(schema.events).returning(schema.events.c.seq)
_HOLD = (
    sa.select(schema.accounts.c.profile)
    .where(schema.accounts.c.profile == sa.bindparam("account"))
    .with_for_update()
)


class Transaction:
    """What a change works on.

    Attributes:
        connection: the open transaction.
        newest_event: number of the last event that it appended; None without one or before its end.
    """

    def __init__(self, connection: sa.Connection) -> None:
        self.connection = connection
        self._spent: defaultdict[Bucket, Decimal] = defaultdict(Decimal)
        self._committed: dict[Bucket, dict[str, Decimal]] = {}
        self._events: list[dict[str, Any]] = []
        self._held: set[str] = set()
        self.newest_event: int | None = None

    def hold_account(self, profile: str) -> None:
        """Let no other process check a cap, take a turn or append an event until this one ends.

        SQLite lets only one write at a time anyway; the row lock is for PostgreSQL.
        """
        if profile not in self._held:
            self.connection.execute(_HOLD, {"account": profile})
            self._held.add(profile)

    def spend(self, bucket: Bucket, change_usd: Decimal) -> None:
        """Count dollars paid or reserved (or, negative, released)."""
        if change_usd:
            self._spent[bucket] += change_usd

    def committed(self, bucket: Bucket) -> dict[str, Decimal]:
        """USD paid or reserved under each kind of cap, this transaction's changes included.

        The account must be held: then one look at the table is good for the whole transaction.
        """
        if bucket not in self._committed:
            self._committed[bucket] = committed_under(self.connection, bucket)
        return add_pending(self._committed[bucket], bucket, self._spent)

    def append_event(
        self,
        key: PurchaseKey,
        *,
        now: datetime,
        from_state: str | None,
        to_state: str,
        owner_id: str | None = None,
        image_index: int | None = None,
        detail: str | None = None,
        who: str | None = None,
    ) -> None:
        """Append one row to the history."""
        self._events.append(
            {
                "at": now,
                "profile": key.profile,
                "request_id": key.request_id,
                "attempt": key.attempt,
                "image_index": image_index,
                "from_state": from_state,
                "to_state": str(to_state),
                "owner_id": owner_id,
                "detail": detail,
                "who": who,
            }
        )

    def finish(self) -> None:
        """Write what was gathered; to be called once, right before the commit."""
        # On PostgreSQL numbers are given out before the commits, and a lower one must not appear
        # after a higher one was seen; see `snapshot`.
        for profile in sorted({event["profile"] for event in self._events}):
            self.hold_account(profile)
        if self._events:
            numbers = self.connection.execute(_INSERT_EVENT, self._events).scalars()
            self.newest_event = max(numbers)
        for bucket in sorted(self._spent):  # one order for everyone: no deadlock
            self._add_to_spending(bucket, self._spent[bucket])

    def _add_to_spending(self, bucket: Bucket, change_usd: Decimal) -> None:
        if not change_usd:
            return
        table = schema.spending
        insert = dialect_insert(self.connection, table).values(
            profile=bucket.profile,
            day=bucket.day,
            prompt_set=bucket.prompt_set,
            run_id=bucket.run_id,
            committed_usd=change_usd,
        )
        self.connection.execute(
            insert.on_conflict_do_update(
                index_elements=list(table.primary_key.columns),
                set_={"committed_usd": table.c.committed_usd + insert.excluded.committed_usd},
            )
        )
