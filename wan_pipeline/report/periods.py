"""Days to bars: as many days, weeks or months as a plot has room for, without gaps."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import date

    from wan_pipeline.report.spending import DaySpending

__all__ = ["Period", "Timeline", "Unit", "timeline"]

ZERO = Decimal(0)
MOST_DAYS, MOST_WEEKS = 92, 104
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class Unit(StrEnum):
    """What one bar stands for."""

    DAY = "day"
    WEEK = "week"
    MONTH = "month"


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One bar.

    Attributes:
        label: its name.
        spent_usd: paid, by set; sets that share a colour are together under an empty name.
        reserved_usd: set aside by all sets.
    """

    label: str
    spent_usd: dict[str, Decimal]
    reserved_usd: Decimal

    @property
    def total_spent_usd(self) -> Decimal:
        """Paid by all sets."""
        return sum(self.spent_usd.values(), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """All bars.

    Attributes:
        unit: what each stands for.
        periods: in order; those in which nothing was bought are there.
    """

    unit: Unit
    periods: Sequence[Period]


def timeline(days: Sequence[DaySpending], *, named: Collection[str]) -> Timeline:
    """Gather days into bars, by the UTC day of the intent.

    Args:
        days: in order; at least one.
        named: sets that are told apart.
    """
    first, last = days[0].day, days[-1].day
    span = (last - first).days + 1
    unit = Unit.DAY if span <= MOST_DAYS else Unit.WEEK if span <= MOST_WEEKS * 7 else Unit.MONTH
    starts = _starts(first, last, unit)
    spent: dict[date, defaultdict[str, Decimal]] = {each: defaultdict(Decimal) for each in starts}
    reserved = dict.fromkeys(starts, ZERO)
    for each in days:
        start = _start(each.day, unit)
        name = each.prompt_set if each.prompt_set in named else ""
        spent[start][name] += each.spent_usd
        reserved[start] += each.reserved_usd
    years = first.year != last.year
    return Timeline(
        unit=unit,
        periods=[
            Period(
                label=_label(start, unit, with_year=years),
                spent_usd=dict(spent[start]),
                reserved_usd=reserved[start],
            )
            for start in starts
        ],
    )


def _start(day: date, unit: Unit) -> date:
    match unit:
        case Unit.DAY:
            return day
        case Unit.WEEK:
            return day - timedelta(days=day.weekday())
        case Unit.MONTH:
            return day.replace(day=1)


def _starts(first: date, last: date, unit: Unit) -> list[date]:
    step = {Unit.DAY: 1, Unit.WEEK: 7, Unit.MONTH: 31}[unit]  # 31 days on is always a next month
    found = [_start(first, unit)]
    while found[-1] < _start(last, unit):
        found.append(_start(found[-1] + timedelta(days=step), unit))
    return found


def _label(start: date, unit: Unit, *, with_year: bool) -> str:
    month = MONTHS[start.month - 1]
    if unit is Unit.MONTH:
        return f"{month} {start.year}"
    return f"{start.day} {month} {start.year}" if with_year else f"{start.day} {month}"
