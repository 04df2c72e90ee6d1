"""What a comparison comes to, and what the page and the report say of it."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.dataset.reproduction.compare import DRIFTED, DriftRow, DriftRule, Outcome
from wan_pipeline.dataset.reproduction.errors import ReproductionUsageError
from wan_pipeline.dataset.reproduction.naming import Series, checked_label
from wan_pipeline.dataset.reproduction.sample import Sample, read_size
from wan_pipeline.dataset.reproduction.verdict import (
    DriftReport,
    Verdict,
    judge,
    read_report,
    worst_first,
    write_report,
)
from wan_pipeline.layout import DataLayout
from wan_pipeline.report.drift import write_drift_page

if TYPE_CHECKING:
    from pathlib import Path

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
RULE = DriftRule(distance=6, share=0.0)
SERIES = Series(release="kites", version=1, label="may")


def row(outcome: Outcome = Outcome.IDENTICAL, **values: Any) -> DriftRow:
    """One image; it counts unless its prompt is rewritten or nothing came."""
    given: dict[str, Any] = dict.fromkeys(field.name for field in dataclasses.fields(DriftRow))
    counted = not values.get("rewritten") and outcome in (
        *DRIFTED,
        Outcome.IDENTICAL,
        Outcome.ALIKE,
    )
    given |= {
        "request_id": "r" * 64,
        "image_index": 0,
        "prompt_id": "kite",
        "prompt": "a red kite",
        "seed": 7,
        "size": "1280*1280",
        "outcome": outcome,
        "rewritten": False,
        "counted": counted,
        "drifted": counted and outcome in DRIFTED,
        "distance": 0 if outcome is Outcome.IDENTICAL else None,
        "state": "stored",
    }
    return DriftRow(**{**given, **values})


def judged(*rows: DriftRow, rule: DriftRule = RULE) -> DriftReport:
    """The verdict of some rows."""
    return judge(
        rows,
        sample=Sample(requests=(), of=9),
        series=SERIES,
        rule=rule,
        profile="emulator",
        run_id="run",
        new_cost_usd=Decimal("0.03"),
        now=NOW,
    )


CHANGED = row(Outcome.CHANGED, distance=20)
NOT_BROUGHT = row(Outcome.NOT_BROUGHT, state="unknown")
REWRITTEN = row(Outcome.CHANGED, rewritten=True, distance=30)


@pytest.mark.parametrize(
    ("rows", "verdict"),
    [
        ([row(), row(Outcome.ALIKE, distance=6), row(Outcome.EXTRA)], Verdict.NO_DRIFT),
        ([row(), CHANGED], Verdict.DRIFT),
        ([row(), row(Outcome.RESIZED)], Verdict.DRIFT),
        ([row(), row(Outcome.MISSING)], Verdict.DRIFT),
        ([CHANGED, NOT_BROUGHT], Verdict.DRIFT),
        ([row(), NOT_BROUGHT], Verdict.INCOMPLETE),
        ([row(), row(Outcome.UNDECODABLE)], Verdict.INCOMPLETE),
        ([row(), REWRITTEN], Verdict.NO_DRIFT),
        ([REWRITTEN], Verdict.NOTHING_COMPARED),
        ([], Verdict.NOTHING_COMPARED),
    ],
)
def test_verdict(rows: list[DriftRow], verdict: Verdict) -> None:
    """The first that fits: a change is told even where something is missing."""
    report = judged(*rows)
    assert report.verdict is verdict
    assert report.sentence


@pytest.mark.parametrize(
    ("states", "says"),
    [
        (["unknown"], "--sample 0 --label may` goes on, and what is unknown needs a person"),
        (["not_bought", "failed"], "--sample 0 --label may` goes on"),
        (["released", "written_off"], "at their end; another --label buys the sample anew"),
    ],
)
def test_what_goes_on_is_the_same_sample_and_only_what_can(states: list[str], says: str) -> None:
    """The advice can be followed, and is not to be followed for ever."""
    missing = [
        row(Outcome.NOT_BROUGHT, state=state, request_id=f"{number}")
        for number, state in enumerate(states)
    ]
    sentence = judged(row(), *missing).sentence
    assert says in sentence
    assert ("unknown needs" in sentence) is ("unknown" in states)


def test_share_allowed_is_not_passed_by_rounding() -> None:
    """29 of 100 are not more than 0.29 of them."""
    rows = [CHANGED] * 29 + [row()] * 71
    assert judged(*rows, rule=DriftRule(distance=6, share=0.29)).verdict is Verdict.NO_DRIFT
    assert judged(*rows, rule=DriftRule(distance=6, share=0.28)).verdict is Verdict.DRIFT


def test_costs_that_differ_are_told_and_do_not_count() -> None:
    """By request, over its images, and only where all of them came."""
    both = {"old_cost_usd": Decimal("0.03"), "new_cost_usd": Decimal("0.04")}
    rows = [
        row(**both),
        row(image_index=1, **{**both, "new_cost_usd": Decimal("0.03")}),
        row(Outcome.MISSING, request_id="s" * 64, old_cost_usd=Decimal("0.03")),
    ]
    (difference,) = judged(*rows).cost_differences
    assert (difference.old_usd, difference.new_usd) == (Decimal("0.06"), Decimal("0.07"))
    assert judged(*rows[:2]).verdict is Verdict.NO_DRIFT


def test_report_speaks_for_its_run_only(tmp_path: Path) -> None:
    """A stopped run must not be told by what an earlier one found."""
    path = tmp_path / "report.json"
    assert read_report(path, run_id="run") is None
    write_report(judged(CHANGED), path)
    found = read_report(path, run_id="run")
    assert found is not None
    assert (found["verdict"], found["outcomes"]["changed"]) == ("drift", 1)
    assert read_report(path, run_id="another") is None


def test_page_escapes_and_shows_the_worst_first(tmp_path: Path) -> None:
    """What users and providers wrote stays text; images that are not there are named so."""
    evil = '<script>alert("x")</script>\ud800'
    rows = [
        row(prompt_id="calm"),
        row(Outcome.CHANGED, distance=9, prompt_id="near"),
        row(Outcome.CHANGED, distance=31, prompt_id="far", prompt=evil),
        row(Outcome.NOT_BROUGHT, state="failed", problem=f"moderation: {evil}", prompt_id="gone"),
        dataclasses.replace(REWRITTEN, prompt_id="other"),
    ]
    assert [each.prompt_id for each in worst_first(rows)] == [
        *("far", "near", "gone", "calm", "other")
    ]
    layout = DataLayout(tmp_path, "emulator")
    out = SERIES.folder(layout.reproductions)
    page = write_drift_page(judged(*rows), rows, layout=layout, out_dir=out).read_text("utf-8")
    assert "<script" not in page
    assert (
        page.index("31 of 64 bits") < page.index("9 of 64 bits") < page.index("failed: moderation")
    )
    assert json.dumps(judged(*rows).as_json())


@pytest.mark.parametrize("text", ["0", "-1", "", "1.5", "ALL", "٣", "1" * 40, "1e3"])
def test_sizes_of_a_sample(text: str) -> None:
    """A number above 0, or all."""
    assert (read_size("all"), read_size("20")) == (None, 20)
    with pytest.raises(ReproductionUsageError, match="no size of a sample"):
        read_size(text)


@pytest.mark.parametrize("label", ["", ".", "../x", "A", "a/b", "a" * 65, "a\n"])
def test_labels_name_folders(label: str) -> None:
    """And nothing outside of their own."""
    assert checked_label("2026-11-24") == "2026-11-24"
    with pytest.raises(ReproductionUsageError, match="cannot label"):
        checked_label(label)
