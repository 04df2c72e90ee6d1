"""What a batch tells while it works and when it is done."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from wan_pipeline.wan.errors import StopReason

__all__ = ["BatchReport", "Progress", "SilentProgress", "Tally", "ended_badly"]

ZERO = Decimal(0)


@dataclass(slots=True)
class Tally:
    """Running counts of a batch.

    Attributes:
        requests: distinct requests of the plan.
        already_stored: of those, complete before this batch.
        created: creates sent, whatever came of them.
        taken_up: unfinished purchases of earlier runs that this batch went on with.
        in_flight: tasks at the provider now.
        done: requests completed by this batch.
        failed: requests that will not be completed by this batch.
        left: those among the failed that a stop kept from being bought; nothing is wrong with them.
        images: images stored by this batch.
        cost_usd: reported cost of what this batch bought.
        throttled: creates that were refused for their rate (429).
        pauses: a sentence for each time that the breaker held creates back, or that the rate limit
            did for more than some seconds.
        repairs: a sentence for each damaged file of the store that was replaced by the bytes that
            its name stands for, since they came again.
        problems: what happened to requests and images, and how often.
        latencies_s: of this batch's tasks, create to their end.
        tell: shows the counts at once; for what begins while nothing else may change for minutes.
    """

    requests: int = 0
    already_stored: int = 0
    created: int = 0
    taken_up: int = 0
    in_flight: int = 0
    done: int = 0
    failed: int = 0
    left: int = 0
    images: int = 0
    cost_usd: Decimal = ZERO
    throttled: int = 0
    pauses: list[str] = field(default_factory=list)
    repairs: list[str] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    latencies_s: list[float] = field(default_factory=list)
    tell: Callable[[], None] | None = field(default=None, repr=False, compare=False)

    def paused(self, sentence: str) -> None:
        """Note that creates are held back, and tell it."""
        self.pauses.append(sentence)
        if self.tell is not None:
            self.tell()


def ended_badly(tally: Tally) -> str:
    """`3 failed`, and how many were left by a stop, where some were."""
    told = f"{tally.failed - tally.left} failed"
    return f"{told}, {tally.left} left" if tally.left else told


class Progress(Protocol):
    """Somewhere to show a batch's progress; called often, so it must be cheap."""

    def update(self, tally: Tally) -> None:
        """The counts changed."""
        ...


class SilentProgress:
    """Shows nothing."""

    def update(self, tally: Tally) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchReport:
    """What came of a batch.

    Attributes:
        tally: its counts.
        stop: why submitting stopped early, if it did.
        stop_detail: what happened then, in the provider's words where it spoke.
        left: requests that were not bought because of the stop.
        left_cost_usd: what they would cost.
    """

    tally: Tally
    stop: StopReason | None = None
    stop_detail: str = ""
    left: int = 0
    left_cost_usd: Decimal = ZERO
