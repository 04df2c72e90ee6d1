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

from wan_pipeline.ledger import image_moves, leases, schema, tasks, tickets
from wan_pipeline.ledger.database import open_database
from wan_pipeline.ledger.facts import LEDGER_ID, keep_fact
from wan_pipeline.ledger.inserts import insert_if_absent
from wan_pipeline.ledger.intents import intend
from wan_pipeline.ledger.leases import LEASE
from wan_pipeline.ledger.moves import move
from wan_pipeline.ledger.owner import Owner
from wan_pipeline.ledger.place import Place
from wan_pipeline.ledger.reading import LedgerReader
from wan_pipeline.ledger.recovery import take_over
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.ledger.writer import GroupCommitWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Sequence
    from pathlib import Path

    from wan_pipeline.ledger.folder_memory import FolderMemory
    from wan_pipeline.ledger.records import Intention, Purchase, PurchaseKey
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["Ledger"]

T = TypeVar("T")
ZERO = Decimal(0)


class Ledger(LedgerReader):
    """What was intended, submitted, paid, received and stored under one profile.

    Args:
        where: path of an SQLite file, created when it does not exist; or a PostgreSQL URL.
        profile: whose purchases.
        memory: of the data folder that it is opened for; None where nothing is bought for one.
        now: the wall clock.

    Raises from every method:
        LedgerUnavailableError: the database cannot be read or written.
        ConfigurationError: on opening, it knows less than the folder.
        TransitionError: a row is no longer in the state that the change starts from.
    """

    def __init__(
        self,
        where: Path | str,
        profile: str,
        *,
        memory: FolderMemory | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> None:
        self.now = now or (lambda: datetime.now(UTC))
        check, name = (memory.check, memory.ledger) if memory else (None, None)
        reader, self._engine = open_database(where, check=check, name=name)
        super().__init__(reader, profile)
        self._place = Place(where)
        if memory is not None:
            memory.opened(self.recall(LEDGER_ID))
        self._writer = GroupCommitWriter(self._engine, remember=memory.keep if memory else None)
        self.apply_now(lambda tx: insert_if_absent(tx.connection, schema.accounts, profile=profile))

    def close(self) -> None:
        """Commit what is queued and let go of the database."""
        self._writer.close()
        self._engine_for_reads.dispose()
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def check_place(self) -> None:
        """Raise `LedgerUnavailableError` when the file is gone; writing to it would still work."""
        self._place.check()

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- owners ---

    @contextmanager
    def owner(self, run_id: str) -> Generator[Owner]:
        """An owner for one batch; its rows are free for others as soon as it ends."""
        owner = Owner.of_this_process(run_id)
        self.apply_now(partial(leases.enrol, owner=owner, expires=self.now() + LEASE))
        try:
            yield owner
        finally:
            self.apply_now(partial(_discharge, owner=owner))

    async def renew(self, owner: Owner) -> None:
        """Say that the owner lives; to be called well within a minute."""
        await self.apply(partial(leases.renew_lease, owner=owner, expires=self.now() + LEASE))

    def living_owners(self) -> set[str]:
        """Ids of the owners that still work."""
        with self._read() as connection:
            return leases.living_owners(connection, self.now())

    async def take_over(
        self,
        owner: Owner,
        request_ids: Collection[str] | None = None,
        *,
        series: str | None = None,
    ) -> Sequence[Purchase]:
        """Make unfinished purchases of dead owners this owner's; see `recovery.take_over`."""
        wanted = None if request_ids is None else frozenset(request_ids)
        return await self.apply(
            partial(
                take_over,
                profile=self.profile,
                request_ids=wanted,
                owner=owner,
                now=self.now(),
                series=series,
            )
        )

    # --- the life of a purchase ---

    async def intend(self, intention: Intention, *, owner: Owner) -> Purchase | PurchaseKey:
        """Write the intent; the key of the purchase to be sent, else what already stands.

        Raises:
            BudgetExceededError: its price does not fit under a cap.
        """
        self.check_place()
        return await self.apply(partial(intend, intention=intention, owner=owner, now=self.now()))

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

    async def put_back(self, key: PurchaseKey, owner: Owner, reason: str) -> None:
        """The refusal was no fault of the request's, which is planned again as if never tried."""
        await self._move(
            key,
            PurchaseState.PLANNED,
            owner,
            detail=reason,
            reserved_usd=ZERO,
            error_code=None,
            error_message=None,
            error_kind=None,
        )

    async def unknown(
        self, key: PurchaseKey, owner: Owner, reason: str, *, answer: str = ""
    ) -> None:
        """A task may exist; the price stays reserved. What was answered stays in the history."""
        await self.apply(
            partial(
                tasks.doubt_create,
                key=key,
                owner=owner,
                reason=reason,
                answer=answer,
                now=self.now(),
            )
        )

    async def submitted(
        self, key: PurchaseKey, owner: Owner, *, task_id: str, lifetime_s: float
    ) -> datetime | None:
        """The provider has a task; to be durable before its first poll.

        Returns:
            The task's deadline; None when the task cannot be the purchase's, see
            `tasks.attach_task`.
        """
        now = self.now()
        deadline = now + timedelta(seconds=lifetime_s)
        attached = await self.apply(
            partial(
                tasks.attach_task,
                key=key,
                task_id=task_id,
                owner=owner,
                deadline_at=deadline,
                now=now,
            )
        )
        return deadline if attached else None

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
            completed_at=self.now(),
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
        await self.apply(
            partial(
                tasks.finish_task,
                key=key,
                owner=owner,
                links=links,
                url_expires_at=url_expires_at,
                now=self.now(),
                **values,
            )
        )

    async def image(
        self, key: PurchaseKey, owner: Owner, index: int, state: ImageState, **values: Any
    ) -> bool:
        """Record what became of an image; whether its purchase is finished by it."""
        now = self.now()
        if state is ImageState.STORED:
            values["stored_at"] = now
        return await self.apply(
            partial(
                image_moves.move_image,
                key=key,
                image_index=index,
                to=state,
                owner_id=owner.owner_id,
                now=now,
                **values,
            )
        )

    async def reopen(self, key: PurchaseKey, owner: Owner, index: int, problem: str) -> None:
        """A stored image's file is gone or damaged: it is to be fetched again, by this owner."""
        await self.apply(
            partial(
                image_moves.reopen_image,
                key=key,
                image_index=index,
                owner=owner,
                now=self.now(),
                problem=problem,
            )
        )

    async def restore(self, key: PurchaseKey, owner: Owner, index: int) -> None:
        """A lost image's file is there after all."""
        change = partial(image_moves.restore_image, key=key, image_index=index)
        await self.apply(partial(change, owner=owner, now=self.now()))

    # --- what was learned ---

    async def remember(self, name: str, value: str) -> None:
        """Keep a fact for later runs."""
        await self.apply(partial(keep_fact, name=name, value=value))

    # --- internals ---

    async def _move(self, key: PurchaseKey, to: PurchaseState, owner: Owner, **values: Any) -> None:
        await self.apply(
            partial(move, key=key, to=to, owner_id=owner.owner_id, now=self.now(), **values)
        )

    async def apply(self, change: Callable[[Transaction], T]) -> T:
        """Make a change durable. It happens, whatever becomes of its waiter."""
        return await self._writer.submit_from(asyncio.get_running_loop(), change)

    def apply_now(self, change: Callable[[Transaction], T]) -> T:
        """The same for callers without an event loop."""
        return self._writer.submit(change).result()


def _discharge(tx: Transaction, *, owner: Owner) -> None:
    leases.end_lease(tx, owner=owner)
    tickets.give_back_all(tx, owner.owner_id)
