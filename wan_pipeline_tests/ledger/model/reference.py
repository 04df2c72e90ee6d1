"""The reference: what a ledger must know after a history, in as few words as possible."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

from wan_pipeline.ledger.leases import LEASE
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from wan_pipeline_tests.ledger.conftest import FakeTime

S, IMAGE = PurchaseState, ImageState
ZERO = Decimal(0)
RUNS = ("one", "two", "one")  # two owners of one run: its second try
ARRIVING = (IMAGE.EXPECTED, IMAGE.DAMAGED)
MAY_HOLD_MONEY_BACK = (S.INTENT, S.SUBMITTED, S.UNKNOWN, S.EXPIRED)


@dataclass
class Row:
    """What the model knows of one attempt."""

    state: PurchaseState
    owner: int | None
    counts_for: tuple[str, str, str]  # day, set, run
    price: Decimal
    reserved: Decimal = ZERO
    paid: Decimal = ZERO
    kind: str = ""
    task: str | None = None
    adopted: bool = False  # a person named the task
    images: dict[int, ImageState] = field(default_factory=dict)


class Reference:
    """The attempts at each request, and the leases of their owners."""

    def __init__(self, time: FakeTime) -> None:
        self.time = time
        self.leases = [time.now + LEASE] * len(RUNS)
        self.rows: dict[tuple[int, int], Row] = {}

    def latest(self, request: int) -> tuple[int, Row | None]:
        """The newest attempt at a request, and its number."""
        attempts = [attempt for each, attempt in self.rows if each == request]
        return (max(attempts), self.rows[request, max(attempts)]) if attempts else (0, None)

    def next_attempt(self, request: int, retry: RetryRule) -> int | None:
        """The attempt that may be made; None when what stands forbids one."""
        attempt, row = self.latest(request)
        if row is None or row.state is S.PLANNED:
            return max(attempt, 1)
        gone = row.state in (S.EXPIRED, S.WRITTEN_OFF) or IMAGE.LOST in row.images.values()
        passing = row.kind == "other" and row.state in (S.FAILED, S.REFUSED)
        wanted = (Retry.FAILED in retry.what and passing) or (
            Retry.LOST in retry.what and gone and not row.state.unfinished
        )
        released = sum(
            each == request and row.state is S.RELEASED for (each, _), row in self.rows.items()
        )
        return attempt + 1 if wanted and attempt - released < retry.max_attempts else None

    def committed(self, **wanted: str) -> Decimal:
        """Paid plus reserved, by what is wanted."""
        names = ("day", "prompt_set", "run_id")
        return sum(
            (
                row.reserved + row.paid
                for row in self.rows.values()
                if wanted.items() <= dict(zip(names, row.counts_for, strict=True)).items()
            ),
            ZERO,
        )

    def alive(self, owner: int | None) -> bool:
        """Whether an owner's rows must be left alone."""
        return owner is not None and self.leases[owner] > self.time.now
