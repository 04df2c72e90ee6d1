"""When to ask for a task: learned from the tasks that finished in this run."""

from __future__ import annotations

import statistics
from collections import deque

__all__ = ["PollSchedule"]

REMEMBERED = 50
FIRST_SHARE = 0.6  # of the median latency: few tasks are done before
STEP_SHARE = 0.12  # of the median latency, between polls of one task


class PollSchedule:
    """Seconds until the next poll of a task.

    Until something is learned, polls start after `unknown_first_s` and stretch out by half each
    time; a first task that finishes fast therefore teaches fast.

    Args:
        unknown_first_s: first wait while no latency is known.
        shortest_s: no two polls of a task are closer.
        longest_s: no two polls of a task are further apart.
    """

    def __init__(
        self, *, unknown_first_s: float = 1.0, shortest_s: float = 0.02, longest_s: float = 10.0
    ) -> None:
        self._latencies: deque[float] = deque(maxlen=REMEMBERED)
        self._unknown_first_s = unknown_first_s
        self._shortest_s = shortest_s
        self._longest_s = longest_s

    def learn(self, latency_s: float) -> None:
        """A task finished that long after its create."""
        self._latencies.append(latency_s)

    def wait_s(self, *, age_s: float, polls: int) -> float:
        """Seconds to wait before asking again for a task of that age, polled so many times."""
        if not self._latencies:
            wait = self._unknown_first_s * 1.5 ** min(polls, 20)
        else:
            median = statistics.median(self._latencies)
            wait = max(FIRST_SHARE * median - age_s, STEP_SHARE * median)
        return min(max(wait, self._shortest_s), self._longest_s)
