"""When a task runs: the latency law, the running slots and the rate limits.

Pure arithmetic over an injected "now"; nothing here stores or answers anything.
"""

from __future__ import annotations

import hashlib
import heapq
import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wan_pipeline.emulator.contract import TaskContent
    from wan_pipeline.emulator.plan import EmulatorPlan

__all__ = ["Slots", "Span", "TokenBucket", "draw", "durations"]

_NORMAL = NormalDist()


def draw(*parts: object) -> float:
    """A number strictly between 0 and 1, the same for the same parts on any machine."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return (int.from_bytes(digest[:8], "big") + 0.5) / 2**64


def durations(plan: EmulatorPlan, content: TaskContent, occurrence: int) -> tuple[float, float]:
    """Queue and service time of a task in wall-clock seconds, speed-up applied.

    Args:
        plan: law, seed and speed-up.
        content: what the task makes.
        occurrence: how many tasks with the same content came before it.
    """
    if plan.replies.completed_at_once:
        return 0.0, 0.0
    law = plan.latency
    key = (plan.seed, content.digest(), occurrence)
    queue = law.queue_min_s + draw(*key, "queue") * (law.queue_max_s - law.queue_min_s)
    deviation = law.service_sigma * _NORMAL.inv_cdf(draw(*key, "service"))
    service = law.service_median_s * math.exp(deviation)
    service += law.further_image_s * (content.n - 1)
    if content.prompt_extend:
        service += law.prompt_extend_s
    return queue / plan.speed_up, service / plan.speed_up


@dataclass(frozen=True, slots=True)
class Span:
    """When a task starts to run and when it ends, in seconds since the epoch."""

    start_at: float
    end_at: float


class Slots:
    """The running slots of the account: a task waits until one of them is free.

    Only the end of the last task in each slot matters, so the slots of a restarted emulator are
    the latest ends in its book.
    """

    def __init__(self, count: int, ends: Iterable[float] = ()) -> None:
        latest = heapq.nlargest(count, ends)
        self._free_at = latest + [0.0] * (count - len(latest))
        heapq.heapify(self._free_at)

    def take(self, now: float, queue_s: float, service_s: float) -> Span:
        """Give the slot that is free first to a task accepted now."""
        start = max(now + queue_s, self._free_at[0])
        heapq.heapreplace(self._free_at, start + service_s)
        return Span(start, start + service_s)


class TokenBucket:
    """A rate limit with a burst of one second's worth, and of one event at least."""

    def __init__(self, per_second: float) -> None:
        self._rate = per_second
        self._capacity = max(1.0, per_second)
        self._tokens = self._capacity
        self._at = 0.0

    def wait_s(self, now: float) -> float:
        """Take a token and return 0, or take none and return the seconds until there is one."""
        passed = max(0.0, now - self._at)
        self._tokens = min(self._capacity, self._tokens + passed * self._rate)
        self._at = now
        if self._tokens >= 1:
            self._tokens -= 1
            return 0.0
        return (1 - self._tokens) / self._rate
