"""The report about runs: exact per run, over any stretch of time, nothing executed, bounded."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.report.run_history import read_history
from wan_pipeline.report.run_report import MAX_ROWS, write_run_report
from wan_pipeline.report.slots import MOST, slots_of
from wan_pipeline_tests.ledger.entries import MORNING
from wan_pipeline_tests.report.history_fixture import bought, bought_row, three_runs
from wan_pipeline_tests.report.spend_fixture import HOSTILE, NOON, Page

if TYPE_CHECKING:
    from pathlib import Path

CENT = Decimal("0.01")


def page_of(table: Any, folder: Path, prompt_set: str = "kites") -> Page:
    """The page, as a browser's parser finds it."""
    report = write_run_report(
        read_history(table),
        prompt_set=prompt_set,
        profile="a-profile",
        created=NOON,
        out_dir=folder,
    )
    assert report.path.stat().st_size == report.bytes
    return Page(report.path.read_text("utf-8"))


def text_of(page: Page) -> str:
    """Its words."""
    return " ".join(page.text.split())


def test_a_set_that_bought_nothing_has_a_report(tmp_path: Path) -> None:
    """It says so, and draws nothing."""
    page = page_of(bought([]), tmp_path)
    assert "No run of this set has bought anything" in page.text
    assert Counter(tag for tag, _ in page.elements)["svg"] == 0


@pytest.mark.parametrize("state", PurchaseState)
def test_a_single_purchase_of_any_state_has_a_report(tmp_path: Path, state: PurchaseState) -> None:
    """One moment, and perhaps no cost and no latency at all."""
    page = page_of(bought([bought_row(state=state.value) | {"submitted_at": None}]), tmp_path)
    assert "No task has succeeded yet" in page.text
    assert "run-1" in page.text


def test_every_run_has_its_row(tmp_path: Path) -> None:
    """What it bought, what became of it, what it cost, how long it took; the newest first."""
    page = page_of(three_runs(), tmp_path)
    text = text_of(page)
    assert "3 runs that bought" in text or "runs that bought 3" in text
    for row in (
        "run-2 2026-11-22 08:08:00 2026-11-22 08:28:11 100 71 17 6 6 $2.64 $0.36 39 s 54 s test",
        "run-0 2026-11-22 07:28:00 2026-11-22 07:48:20 100 72 17 6 5 $2.67 $0.33 35.5 s",
    ):
        assert row in text, row
    assert text.index("run-2 2026") < text.index("run-0 2026")
    for words in ("Cost per 2 minutes", "stored 215", "unknown 17", "failed 51", "in flight 17"):
        assert words in text, words
    assert Counter(tag for tag, _ in page.elements)["svg"] == 4
    assert Counter(page.ids()).most_common(1)[0][1] == 1


def test_no_purchase_and_no_cent_is_counted_twice() -> None:
    """Runs and stretches of time sum up to the same."""
    history = read_history(three_runs())
    assert history.states.total() == 300
    for part in (history.runs, history.over_time):
        assert sum(each.purchases for each in part) == 300
        assert sum(each.images for each in part) == history.images == 215
        assert sum((each.spent_usd for each in part), Decimal(0)) == history.spent_usd
        assert sum((each.reserved_usd for each in part), Decimal(0)) == history.reserved_usd
    assert history.spent_usd + history.reserved_usd == 300 * 3 * CENT


def test_a_report_is_safe_whatever_users_and_providers_wrote(tmp_path: Path) -> None:
    """No script, nothing from elsewhere, every word as text."""
    names = [name.replace("\ud800", "?") for name in HOSTILE]
    rows = [
        bought_row(name, state="failed", run_id=name, code_version=name, error_code=name)
        for name in names
    ]
    page = page_of(bought(rows), tmp_path, prompt_set=HOSTILE[0])
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img", "iframe", "b"})
    assert not [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    links = [v for _, a in page.elements for k, v in a.items() if k in ("href", "src")]
    assert [link for link in links if not re.fullmatch(r"data:,|#\w+|index\.html", link)] == []
    assert "default-src 'none'" in (tmp_path / "report.html").read_text("utf-8")
    for name in names:
        assert name in page.text


def test_many_runs_over_years_are_a_bounded_page(tmp_path: Path) -> None:
    """With every purchase in its plots, and a line about the runs that are left out."""
    rows = [
        bought_row(str(number), run_id=f"run {number}", created_at=MORNING + number * timedelta(2))
        for number in range(MAX_ROWS + 300)
    ]
    page = page_of(bought(rows), tmp_path)
    assert "And 300 more" in page.text
    assert (tmp_path / "report.html").stat().st_size < 300_000
    assert Counter(tag for tag, _ in page.elements)["path"] < 40


@given(st.lists(st.integers(0, 10**10), min_size=1, max_size=50))
def test_any_moments_make_a_readable_number_of_slots(seconds: list[int]) -> None:
    """Each moment lies in its slot, slots follow each other without gaps, labels differ."""
    slots = slots_of(np.array([each * 1_000_000 for each in seconds]))
    assert len(slots.starts) <= MOST
    assert len(set(slots.labels)) == len(slots.starts)
    step = timedelta(seconds=slots.step_s)
    assert all(later - earlier == step for earlier, later in pairwise(slots.starts))
    for moment, number in zip(seconds, slots.numbers, strict=True):
        start = slots.starts[int(number)]
        assert start <= datetime.fromtimestamp(moment, UTC) < start + step


@pytest.mark.parametrize(
    ("span", "unit"),
    [
        (0, "second"),
        (400, "10 seconds"),
        (3 * 3600, "5 minutes"),
        (86_400, "hour"),
        (30 * 86_400, "day"),
        (300 * 86_400, "week"),
        (20 * 365 * 86_400, "23 weeks"),
    ],
)
def test_slots_are_named_after_what_they_stand_for(span: int, unit: str) -> None:
    """From a second to many weeks."""
    assert slots_of(np.array([0, span * 1_000_000])).unit == unit
