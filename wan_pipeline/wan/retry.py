"""Retry rules for polls and downloads. A create is never retried here, or anywhere on doubt.

Attempts and total time are always bounded; waits are jittered; Retry-After is honoured.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, TypeVar

import tenacity

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

__all__ = ["DamagedBodyError", "RetryPolicy", "TransientError", "read_retry_after"]

T = TypeVar("T")
LONGEST_RETRY_AFTER_S = 600.0  # a longer wish is capped: the total bound decides anyway


class TransientError(Exception):
    """An exchange that may go better the next time."""

    def __init__(self, reason: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(reason)
        self.retry_after_s = retry_after_s


class DamagedBodyError(TransientError):
    """The bytes arrived, but they are not what was promised; another attempt may bring it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """Bounds of one exchange.

    Attributes:
        attempts: how often it is tried at most.
        total_s: seconds after which no further attempt starts.
        first_wait_s: middle of the first wait; doubled each time, with jitter of +-50 %.
        longest_wait_s: cap of one wait.
    """

    attempts: int = 6
    total_s: float = 120.0
    first_wait_s: float = 0.5
    longest_wait_s: float = 15.0

    async def run(
        self,
        exchange: Callable[[], Awaitable[T]],
        *,
        sleep: Callable[[float], Awaitable[None]],
    ) -> T:
        """Run `exchange` until it does not raise `TransientError`.

        Raises:
            TransientError: the last one, when attempts or time are used up.
        """

        async def attempt() -> T:
            return await exchange()

        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception_type(TransientError),
            stop=tenacity.stop_after_attempt(self.attempts)
            | tenacity.stop_before_delay(self.total_s),
            wait=self._wait,
            sleep=sleep,
            reraise=True,
        )
        return await retrying(attempt)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        backoff = min(self.first_wait_s * 2 ** (state.attempt_number - 1), self.longest_wait_s)
        jittered = backoff * random.uniform(0.5, 1.5)  # noqa: S311  spreads load, hides nothing
        if isinstance(error, TransientError) and error.retry_after_s is not None:
            return error.retry_after_s + jittered * 0.1
        return jittered


def read_retry_after(value: str | None, *, now: datetime | None = None) -> float | None:
    """Seconds from a Retry-After header: a number or an HTTP date; None when unreadable."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            at = parsedate_to_datetime(value)
        except (ValueError, OverflowError):
            return None
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        seconds = (at - (now or datetime.now(UTC))).total_seconds()
    if math.isnan(seconds):
        return None
    return min(max(seconds, 0.0), LONGEST_RETRY_AFTER_S)
