"""Moments to bars: seconds, hours or weeks, whatever makes a readable number of them, no gaps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    import numpy.typing as npt

__all__ = ["Slots", "slots_of"]

MOST = 48
MINUTE, HOUR, DAY = 60, 3600, 86_400
STEPS_S = (
    *(1, 2, 5, 10, 30),
    *(MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE),
    *(HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR),
    *(DAY, 2 * DAY, 7 * DAY),
)
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slots:
    """All bars of a plot over time.

    Attributes:
        step_s: seconds that one stands for.
        starts: when each begins, UTC, in order; those in which nothing was are there.
        numbers: which one each moment falls into.
    """

    step_s: int
    starts: Sequence[datetime]
    numbers: npt.NDArray[np.int64]

    @property
    def labels(self) -> list[str]:
        """A name for each, as short as it can be told apart."""
        first, last = self.starts[0], self.starts[-1]
        years, days = first.year != last.year, first.date() != last.date()
        return [_label(start, self.step_s, years=years, days=days) for start in self.starts]

    @property
    def unit(self) -> str:
        """What one stands for, in words."""
        for seconds, name in ((7 * DAY, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute")):
            number, rest = divmod(self.step_s, seconds)
            if number and not rest:
                return name if number == 1 else f"{number} {name}s"
        return "second" if self.step_s == 1 else f"{self.step_s} seconds"


def slots_of(moments_us: npt.NDArray[np.int64]) -> Slots:
    """Bars from the first moment to the last.

    Args:
        moments_us: microseconds since 1970, UTC; at least one.
    """
    seconds = moments_us // 1_000_000
    first, last = int(seconds.min()), int(seconds.max())
    step = next((each for each in STEPS_S if last // each - first // each < MOST), 0)
    if not step:  # years of it: as many weeks as are needed
        step = 7 * DAY * -(-(last - first) // (7 * DAY * (MOST - 1)))
    numbers = seconds // step - first // step
    begin = datetime.fromtimestamp(first // step * step, UTC)
    starts = [begin + number * timedelta(seconds=step) for number in range(int(numbers.max()) + 1)]
    return Slots(step_s=step, starts=starts, numbers=numbers)


def _label(start: datetime, step_s: int, *, years: bool, days: bool) -> str:
    day = f"{start.day} {MONTHS[start.month - 1]}" + (f" {start.year}" if years else "")
    if step_s >= DAY:
        return day
    time = f"{start:%H:%M:%S}" if step_s < MINUTE else f"{start:%H:%M}"
    return f"{day} {time}" if days else time
