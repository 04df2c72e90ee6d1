"""The account behind the endpoints: accepts creates, knows every task, owes the bill.

HTTP stays outside: this module takes a :class:`TaskContent` and gives a :class:`Task`.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from typing import TYPE_CHECKING

from wan_pipeline.emulator.book import Book, Task
from wan_pipeline.emulator.contract import Refusal
from wan_pipeline.emulator.faults import OUTCOMES, FaultDesk, FaultKind
from wan_pipeline.emulator.timeline import Slots, TokenBucket, durations

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline.emulator.contract import TaskContent
    from wan_pipeline.emulator.faults import Fault
    from wan_pipeline.emulator.plan import EmulatorPlan

__all__ = ["Account"]

_ID_ALPHABET = "0123456789abcdefghijklmnopqrstuv"
_ID_LENGTH = 20


class Account:
    """One account of the emulated provider, with its plan and its book."""

    def __init__(
        self, path: Path, plan: EmulatorPlan, *, clock: Callable[[], float] = time.time
    ) -> None:
        self.book = Book(path)
        self.clock = clock
        self.use(plan)

    def use(self, plan: EmulatorPlan) -> None:
        """Live by another plan from now on; accepted tasks keep the future they were given."""
        self.plan = plan
        self.desk = FaultDesk(plan.faults, seed=plan.seed)
        self.submissions = TokenBucket(plan.submissions_per_second * plan.speed_up)
        self.queries = TokenBucket(plan.queries_per_second * plan.speed_up)
        ends = self.book.latest_ends(plan.running_at_once)
        self._slots = Slots(plan.running_at_once, ends)

    def check_credit(self, content: TaskContent) -> None:
        """Refuse a create that the remaining credit does not cover.

        Raises:
            Refusal: with status 402.
        """
        credit = self.plan.credit_usd
        if credit is None:
            return
        if self.book.committed_usd + self.plan.price_usd * content.n > credit:
            raise no_credit()

    def accept(self, content: TaskContent) -> Task:
        """Make a task of a create call; it is in the book when this returns."""
        digest = content.digest()
        occurrence = self.book.occurrences(digest)
        fault = self.desk.strike(
            "create", OUTCOMES, key=f"{digest}/{occurrence}", prompt=content.prompt
        )
        task = self._future(content, digest, occurrence, fault=fault)
        self.book.add(task)
        return task

    def _future(
        self, content: TaskContent, digest: str, occurrence: int, *, fault: Fault | None
    ) -> Task:
        kind = None if fault is None else fault.kind
        amount = 0 if fault is None else fault.amount
        images, billed = _yield(content.n, kind, amount)
        now = self.clock()
        queue_s, service_s = durations(self.plan, content, occurrence)
        if kind is FaultKind.STUCK_TASK:
            # A stuck task has lost its worker: it never ends, and holds no running slot.
            start_at, end_at, expires_at = now + queue_s, None, None
        else:
            span = self._slots.take(now, queue_s, service_s)
            start_at, end_at = span.start_at, span.end_at
            expires_at = end_at + self.plan.url_lifetime_s / self.plan.speed_up
        return Task(
            task_id=self._task_id(digest, occurrence),
            content=content,
            digest=digest,
            occurrence=occurrence,
            accepted_at=now,
            start_at=start_at,
            end_at=end_at,
            expires_at=expires_at,
            outcome=kind,
            amount=amount,
            images=images,
            billed=billed,
            price_usd=self.plan.price_usd,
            image_format=self.plan.replies.image_format,
            model_revision=self.plan.model_revision,
        )

    def _task_id(self, digest: str, occurrence: int) -> str:
        name = f"{digest}/{occurrence}".encode()
        mac = hmac.new(self.book.secret, name, hashlib.sha256).digest()
        return "".join(_ID_ALPHABET[byte % 32] for byte in mac[:_ID_LENGTH])


def no_credit() -> Refusal:
    """The refusal of an account that has used up its credit."""
    return Refusal(402, "InsufficientCredits", "Insufficient credits", number=40201)


def _yield(n: int, kind: FaultKind | None, amount: int) -> tuple[int, int]:
    """Images made and images billed by a task that was asked for n."""
    match kind:
        case FaultKind.TASK_FAILED | FaultKind.MODERATION_FAILED | FaultKind.STUCK_TASK:
            return 0, 0
        case FaultKind.TASK_FAILED_BILLED:
            return 0, n
        case FaultKind.TOO_MANY_IMAGES:
            return n + amount, n + amount
        case FaultKind.DUPLICATE_URL:
            made = max(1, n - amount)
            return made, made
        case (
            FaultKind.MISSING_IMAGES
            | FaultKind.ENTRY_WITHOUT_URL
            | FaultKind.ENTRY_WITH_EMPTY_URL
            | FaultKind.VIDEO_ENTRY
        ):
            made = max(0, n - amount)
            return made, made
        case _:
            return n, n
