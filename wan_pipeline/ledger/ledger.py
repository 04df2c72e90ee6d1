"""The ledger as the rest of the package sees it: durable changes, on top of the plain reads.

Changes are awaited and are on disk when the await returns.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any, Self, TypeVar

import sqlalchemy as sa

from wan_pipeline.ledger import changes, schema
from wan_pipeline.ledger.database import open_database
from wan_pipeline.ledger.owner import Owner
from wan_pipeline.ledger.reading import LedgerReader
from wan_pipeline.ledger.recovery import take_over
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.ledger.writer import GroupCommitWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence
    from pathlib import Path

    from wan_pipeline.ledger.records import Intention, Purchase, PurchaseKey

__all__ = ["Ledger"]

T = TypeVar("T")
ZERO = Decimal(0)
LEASE = timedelta(seconds=60)


class Ledger(LedgerReader):
    """What was intended, submitted, paid, received and stored under one profile.

    Raises from every method:
        LedgerUnavailableError: the database cannot be read or written.
        TransitionError: a row is no longer in the state that the change starts from.
    """

    def __init__(
        self, path: Path, profile: str, *, now: Callable[[], datetime] | None = None
    ) -> None:
        self._now = now or (lambda: datetime.now(UTC))
        reader, self._engine = open_database(path)
        super().__init__(reader, profile)
        self._writer = GroupCommitWriter(self._engine)

    def close(self) -> None:
        """Commit what is queued and let go of the database."""
        self._writer.close()
        self._engine_for_reads.dispose()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- owners ---

    @contextmanager
    def owner(self, run_id: str) -> Generator[Owner]:
        """An owner for one batch; its rows are free for others as soon as it ends."""
        owner = Owner.of_this_process(run_id)
        self._writer.submit(
            lambda connection: connection.execute(
                sa.insert(schema.owners).values(
                    owner_id=owner.owner_id,
                    run_id=run_id,
                    machine=owner.machine,
                    pid=owner.pid,
                    process_started=owner.process_started,
                    lease_expires_at=self._now() + LEASE,
                )
            )
        ).result()
        try:
            yield owner
        finally:
            self._writer.submit(partial(_set_lease, owner=owner, expires=self._now())).result()

    async def renew(self, owner: Owner) -> None:
        """Say that the owner lives; to be called well within a minute."""
        await self._apply(partial(_set_lease, owner=owner, expires=self._now() + LEASE))

    async def take_over(
        self, owner: Owner, request_ids: Collection[str] | None = None
    ) -> Sequence[Purchase]:
        """Make unfinished purchases of dead owners this owner's; see `recovery.take_over`."""
        wanted = None if request_ids is None else frozenset(request_ids)
        return await self._apply(
            partial(
                take_over,
                profile=self.profile,
                request_ids=wanted,
                owner=owner,
                now=self._now(),
            )
        )

    # --- the life of a purchase ---

    async def intend(
        self, intention: Intention, *, owner: Owner, again_after_refusal: bool = False
    ) -> Purchase | None:
        """Write the intent; None when the create may be sent, else what already stands."""
        return await self._apply(
            partial(
                changes.intend,
                intention=intention,
                owner=owner,
                now=self._now(),
                again_after_refusal=again_after_refusal,
            )
        )

    async def not_sent(self, key: PurchaseKey, owner: Owner, reason: str) -> None:
        """The create certainly made no task and may be sent again."""
        await self._move(key, PurchaseState.PLANNED, owner, detail=reason, reserved_usd=ZERO)

    async def refused(
        self, key: PurchaseKey, owner: Owner, *, code: str, message: str, kind: str
    ) -> None:
        """The provider rejected the create."""
        await self._move(
            key,
            PurchaseState.REFUSED,
            owner,
            detail=f"{code}: {message}",
            reserved_usd=ZERO,
            error_code=code,
            error_message=message,
            error_kind=kind,
        )

    async def unknown(
        self, key: PurchaseKey, owner: Owner, reason: str, *, answer: str = ""
    ) -> None:
        """A task may exist; the price stays reserved. What was answered stays in the history."""
        detail = f"{reason}; answered: {answer}" if answer else reason
        await self._move(key, PurchaseState.UNKNOWN, owner, detail=detail, error_message=reason)

    async def submitted(
        self, key: PurchaseKey, owner: Owner, *, task_id: str, lifetime_s: float
    ) -> datetime | None:
        """The provider has a task; to be durable before its first poll.

        Returns:
            The task's deadline; or None when the task already belongs to another request: then
            this one is `unknown`, since one task cannot be the result of two purchases.
        """
        now = self._now()
        deadline = now + timedelta(seconds=lifetime_s)

        def change(connection: sa.Connection) -> datetime | None:
            holder = changes.holder_of_task(connection, key.profile, task_id)
            move = partial(changes.move, connection, key, owner_id=owner.owner_id, now=now)
            if holder is not None and holder != key:
                reason = f"the provider named task {task_id} of request {holder.request_id}"
                move(PurchaseState.UNKNOWN, detail=reason, error_message=reason)
                return None
            move(
                PurchaseState.SUBMITTED,
                detail=task_id,
                task_id=task_id,
                submitted_at=now,
                deadline_at=deadline,
                error_message=None,
            )
            return deadline

        return await self._apply(change)

    async def failed(
        self,
        key: PurchaseKey,
        owner: Owner,
        *,
        code: str,
        message: str,
        kind: str,
        cost_usd: Decimal | None,
        final_answer: str,
        cost_source: str = "reported",
    ) -> None:
        """The task failed; its price is released unless the provider reports a cost."""
        await self._move(
            key,
            PurchaseState.FAILED,
            owner,
            detail=f"{code}: {message}",
            reserved_usd=ZERO,
            cost_usd=cost_usd or ZERO,
            cost_source=cost_source if cost_usd else None,
            completed_at=self._now(),
            error_code=code,
            error_message=message,
            error_kind=kind,
            final_answer=final_answer,
        )

    async def expired(self, key: PurchaseKey, owner: Owner, reason: str) -> None:
        """Paid as far as we know, and its result is gone; the price stays reserved."""
        await self._move(key, PurchaseState.EXPIRED, owner, detail=reason, error_message=reason)

    async def succeeded(
        self,
        key: PurchaseKey,
        owner: Owner,
        *,
        links: Sequence[tuple[str, str]],
        url_expires_at: datetime,
        **values: Any,
    ) -> None:
        """The task is done: its cost and one expected image per (url, job id) are recorded."""

        def change(connection: sa.Connection) -> None:
            now = self._now()
            changes.move(
                connection,
                key,
                PurchaseState.SUCCEEDED,
                owner_id=owner.owner_id,
                now=now,
                detail=f"{len(links)} images, {values.get('cost_usd')} USD",
                reserved_usd=ZERO,
                **values,
            )
            if links:
                connection.execute(
                    sa.insert(schema.images),
                    [
                        {
                            "profile": key.profile,
                            "request_id": key.request_id,
                            "attempt": key.attempt,
                            "image_index": index,
                            "state": ImageState.EXPECTED.value,
                            "url": url,
                            "job_id": job_id,
                            "url_expires_at": url_expires_at,
                        }
                        for index, (url, job_id) in enumerate(links)
                    ],
                )
            else:
                changes.finish_if_settled(connection, key, owner_id=owner.owner_id, now=now)

        await self._apply(change)

    async def image(
        self, key: PurchaseKey, owner: Owner, index: int, state: ImageState, **values: Any
    ) -> bool:
        """Record what became of an image; whether its purchase is finished by it."""

        def change(connection: sa.Connection) -> bool:
            now = self._now()
            if state is ImageState.STORED:
                values["stored_at"] = now
            changes.move_image(
                connection, key, index, state, owner_id=owner.owner_id, now=now, **values
            )
            return changes.finish_if_settled(connection, key, owner_id=owner.owner_id, now=now)

        return await self._apply(change)

    # --- what was learned ---

    async def remember(self, name: str, value: str) -> None:
        """Keep a fact for later runs."""

        def change(connection: sa.Connection) -> None:
            connection.execute(sa.delete(schema.info).where(schema.info.c.key == name))
            connection.execute(sa.insert(schema.info).values(key=name, value=value))

        await self._apply(change)

    # --- internals ---

    async def _move(self, key: PurchaseKey, to: PurchaseState, owner: Owner, **values: Any) -> None:
        await self._apply(
            partial(
                changes.move, key=key, to=to, owner_id=owner.owner_id, now=self._now(), **values
            )
        )

    async def _apply(self, change: Callable[[sa.Connection], T]) -> T:
        # Shielded: a change that was queued happens, whatever becomes of its waiter.
        return await asyncio.shield(asyncio.wrap_future(self._writer.submit(change)))


def _set_lease(connection: sa.Connection, *, owner: Owner, expires: datetime) -> None:
    connection.execute(
        sa.update(schema.owners)
        .where(schema.owners.c.owner_id == owner.owner_id)
        .values(lease_expires_at=expires)
    )
