"""The figures of the spend page: exact sums, and bars that leave nothing out."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.report.periods import MOST_DAYS, Unit, timeline
from wan_pipeline.report.spending import DaySpending, read_spending
from wan_pipeline_tests.ledger.entries import MORNING, image_row, purchase_row
from wan_pipeline_tests.report.spend_fixture import exported

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)
CENT = Decimal("0.01")


def test_sums_are_exact_and_grouped_by_utc_day_and_set(tmp_path: Path) -> None:
    """No float comes near them: a million times a nano-dollar is a milli-dollar."""
    nano = Decimal("0.000000001")
    last_second = MORNING.replace(hour=23, minute=59, second=59, microsecond=999999)
    rows = [
        purchase_row("1", cost_usd=nano, created_at=last_second),
        purchase_row("2", cost_usd=Decimal("999999.999999998"), created_at=last_second),
        purchase_row("3", cost_usd=nano, created_at=last_second + timedelta(microseconds=1)),
        purchase_row("4", state="unknown", bought_by_set="tea", created_at=MORNING),
        purchase_row("5", state="refused", cost_usd=None, bought_by_set="tea", created_at=MORNING),
    ]
    images = [image_row("1"), image_row("2", state="lost"), image_row("3", 1, state="damaged")]
    found = read_spending(exported(tmp_path, rows, images))
    assert found.spent_usd == Decimal("1000000.000000000")
    assert found.reserved_usd == 3 * CENT
    today = MORNING.date()
    assert [(day.day, day.prompt_set, day.spent_usd) for day in found.days] == [
        (today, "kites", Decimal("999999.999999999")),
        (today, "tea", 0),
        (today + DAY, "kites", nano),
    ]
    assert [each.prompt_set for each in found.sets] == ["kites", "tea"]
    assert (found.sets[1].purchases, found.sets[1].failed) == (2, 1)
    assert set(found.states) == set(PurchaseState)
    assert found.purchases == 5
    assert found.images == {
        ImageState.EXPECTED: 0,
        ImageState.STORED: 1,
        ImageState.DAMAGED: 1,
        ImageState.LOST: 1,
    }


def test_latency_is_of_tasks_that_succeeded(tmp_path: Path) -> None:
    """A provider's clock that runs behind ours makes no time run backwards."""
    sent = MORNING
    rows = [
        purchase_row("1", submitted_at=sent, completed_at=sent + timedelta(seconds=2.5)),
        purchase_row("2", submitted_at=sent, completed_at=sent - timedelta(seconds=1)),
        purchase_row("3", submitted_at=None),
        purchase_row("4", state="failed"),
        purchase_row("5", state="submitted"),
    ]
    found = read_spending(exported(tmp_path, rows))
    assert sorted(found.latencies_s.tolist()) == [0.0, 2.5]


def test_errors_are_counted_the_most_frequent_first(tmp_path: Path) -> None:
    """By what became of the purchase, its kind and the provider's code."""
    rows = [
        purchase_row("1", state="failed", error_kind="moderation", error_code="Inspection"),
        purchase_row("2", state="refused", error_kind="invalid", error_code="InvalidParameter"),
        purchase_row("3", state="refused", error_kind="invalid", error_code="InvalidParameter"),
        purchase_row("4", state="expired"),
        purchase_row("5", state="unknown", error_code="InternalError"),
    ]
    found = read_spending(exported(tmp_path, rows))
    assert [(each.state, each.kind, each.code, each.purchases) for each in found.errors] == [
        ("refused", "invalid", "InvalidParameter", 2),
        ("expired", "", "", 1),
        ("failed", "moderation", "Inspection", 1),
    ]


# --- bars over time ---

DAYS = st.lists(
    st.builds(
        DaySpending,
        day=st.dates(date(2024, 1, 1), date(2027, 12, 31)),
        prompt_set=st.sampled_from(["kites", "tea", "rare"]),
        spent_usd=st.decimals(0, 100, places=9),
        reserved_usd=st.decimals(0, 100, places=9),
    ),
    min_size=1,
    max_size=30,
).map(lambda days: sorted(days, key=lambda each: each.day))


@given(DAYS)
def test_bars_together_are_what_was_spent(days: list[DaySpending]) -> None:
    """Whatever the span: few enough bars to see, no gap, no day lost, no day counted twice."""
    line = timeline(days, named=["kites", "tea"])
    assert len(line.periods) <= MOST_DAYS + 15
    names = [period.label for period in line.periods]
    assert len(set(names)) == len(names)
    assert {name for period in line.periods for name in period.spent_usd} <= {"kites", "tea", ""}
    for name in ("kites", "tea", ""):
        told = sum(period.spent_usd.get(name, Decimal(0)) for period in line.periods)
        meant = sum(
            each.spent_usd for each in days if (each.prompt_set == name) or _shared(each, name)
        )
        assert told == meant
    assert sum(each.reserved_usd for each in days) == sum(
        period.reserved_usd for period in line.periods
    )


def _shared(day: DaySpending, name: str) -> bool:
    return name == "" and day.prompt_set not in ("kites", "tea")


@pytest.mark.parametrize(
    ("span", "unit", "bars", "first", "last"),
    [
        (1, Unit.DAY, 1, "22 Nov", "22 Nov"),
        (92, Unit.DAY, 92, "22 Nov 2026", "21 Feb 2027"),
        (93, Unit.WEEK, 15, "16 Nov 2026", "22 Feb 2027"),
        (400, Unit.WEEK, 58, "16 Nov 2026", "20 Dec 2027"),
        (1500, Unit.MONTH, 50, "Nov 2026", "Dec 2030"),
    ],
)
def test_long_spans_are_gathered(span: int, unit: Unit, bars: int, first: str, last: str) -> None:
    """Days while there is room for them, then weeks, then months."""
    ends = (MORNING.date(), MORNING.date() + (span - 1) * DAY)
    days = [
        DaySpending(day=day, prompt_set="kites", spent_usd=CENT, reserved_usd=CENT) for day in ends
    ]
    line = timeline(days, named=["kites"])
    assert (line.unit, len(line.periods)) == (unit, bars)
    assert (line.periods[0].label, line.periods[-1].label) == (first, last)
