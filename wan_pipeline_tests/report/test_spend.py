"""The page about money: exact figures, everything told, nothing executed, of bounded size."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from markdown_it import MarkdownIt

from wan_pipeline.ledger.cap_use import CapUse
from wan_pipeline.ledger.review import OpenPurchase, PriceDifference
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.report.pages import usd
from wan_pipeline.report.spend import MAX_ROWS, SERIES, spend_preview
from wan_pipeline_tests.ledger.entries import MORNING, image_row, purchase_row
from wan_pipeline_tests.report.spend_fixture import HOSTILE, NOON, Page, Told

if TYPE_CHECKING:
    from pathlib import Path

DAY = timedelta(days=1)
CENT = Decimal("0.01")


def read(path: Path) -> Page:
    """Parse a page."""
    return Page(path.read_text("utf-8"))


def open_purchase(request_id: str = "f" * 64, **values: object) -> OpenPurchase:
    """One that needs a person."""
    given_values: dict[str, object] = {
        "request_id": request_id,
        "attempt": 1,
        "prompt_set": "kites",
        "prompt": "a red kite",
        "state": PurchaseState.UNKNOWN,
        "since": MORNING,
        "deadline_at": None,
        "task_id": None,
        "reserved_usd": 3 * CENT,
        "reason": "the create was not answered",
    }
    return OpenPurchase(**{**given_values, **values})  # type: ignore[arg-type]


def test_an_empty_ledger_has_a_page(tmp_path: Path) -> None:
    """It says that nothing was bought, and what to do."""
    page = read(Told().page(tmp_path).path)
    assert "Nothing was bought yet" in page.text
    assert "wan plan" in page.text
    assert Counter(tag for tag, _ in page.elements)["svg"] == 0


@pytest.mark.parametrize("state", PurchaseState)
def test_a_single_purchase_of_any_state_has_a_page(tmp_path: Path, state: PurchaseState) -> None:
    """One day, one set, and perhaps no cost and no latency at all."""
    row = purchase_row(state=state.value) | {"submitted_at": None}
    page = read(Told(purchases=[row]).page(tmp_path).path)
    assert state.value.replace("_", " ") in page.text
    assert "No task has succeeded yet" in page.text
    assert "22 Nov" in page.text


def test_figures_stand_at_the_top(tmp_path: Path) -> None:
    """Exact, with what is left and the oldest deadline."""
    told = Told(
        purchases=[
            purchase_row("1", cost_usd=Decimal("1234.5678")),
            purchase_row("2", state="submitted"),
        ],
        images=[image_row("1"), image_row("2", state="lost")],
        unfinished=[
            open_purchase(state=PurchaseState.SUBMITTED, deadline_at=MORNING + DAY),
            open_purchase(state=PurchaseState.INTENT),
        ],
        caps=[
            CapUse(
                cap="total",
                of="",
                limit_usd=Decimal(2000),
                spent_usd=Decimal("1234.5678"),
                reserved_usd=3 * CENT,
            )
        ],
    )
    text = " ".join(read(told.page(tmp_path).path).text.split())
    for figure in (
        "spent $1,234.5678",
        "reserved $0.03",
        "left $765.4022",
        "purchases 2",
        "images stored 1",
        "lost images 1",
        "oldest deadline (UTC) 2026-11-23 07:28",
        "no unknowns",
    ):
        assert figure in text, figure


def test_unknowns_are_told_with_the_three_ways_out(tmp_path: Path) -> None:
    """Whole request id, set, since when, what is reserved, why, and the commands."""
    told = Told(
        purchases=[purchase_row(state="unknown")],
        unknowns=[open_purchase("ab" * 32), open_purchase("cd" * 32, attempt=2, prompt="水墨画")],
    )
    text = " ".join(read(told.page(tmp_path).path).text.split())
    for words in (
        "2 unknown",
        "ab" * 32,
        "attempt 2",
        "水墨画",
        "2026-11-22 07:28",
        "the create was not answered",
        "wan ledger adopt REQUEST TASK --why",
        "wan ledger release REQUEST",
        "wan ledger write-off REQUEST",
    ):
        assert words in text, words
    assert "no unknowns" not in text


def test_surprising_costs_and_passed_caps_are_told(tmp_path: Path) -> None:
    """With both amounts, and what is over in red."""
    told = Told(
        purchases=[purchase_row()],
        price_differences=[
            PriceDifference(
                request_id="e" * 64,
                attempt=1,
                prompt_set="kites",
                task_id="task-7",
                since=datetime(2026, 1, 2, tzinfo=UTC),
                images=2,
                cost_usd=5 * CENT,
                expected_usd=6 * CENT,
            ),
            PriceDifference(
                request_id="f" * 64,
                attempt=1,
                prompt_set="kites",
                task_id="task-8",
                since=datetime(2026, 1, 2, tzinfo=UTC),
                images=1,
                cost_usd=3 * CENT,
                expected_usd=3 * CENT,
                told="0,50",
            ),
        ],
        caps=[
            CapUse(
                cap="prompt_set",
                of="kites",
                limit_usd=2 * CENT,
                spent_usd=3 * CENT,
                reserved_usd=Decimal(0),
            ),
            CapUse(
                cap="day", of="2026-11-22", limit_usd=Decimal(0), spent_usd=CENT, reserved_usd=CENT
            ),
        ],
    )
    page = read(told.page(tmp_path).path)
    text = " ".join(page.text.split())
    assert "2 reported costs are not the price" in text
    assert "task-8 1 0,50 $0.03 $0.00" in text
    assert "task-7 2 $0.05 $0.06 \N{MINUS SIGN}$0.01" in text
    assert "prompt set kites $0.02 $0.03 $0.00 \N{MINUS SIGN}$0.01 150 %" in text
    assert sum("row-bad" in attributes.get("class", "") for _, attributes in page.elements) == 2


def test_a_page_is_safe_whatever_users_and_providers_wrote(tmp_path: Path) -> None:
    """No script, nothing from elsewhere, every word as text, every id once."""
    told = Told(
        purchases=[
            purchase_row(
                f"{number:064x}",
                state="failed" if number % 2 else "stored",
                bought_by_set=name.replace("\ud800", "?"),
                error_code=name.replace("\ud800", "?"),
                cost_usd=CENT * (9 - number),
            )
            for number, name in enumerate(HOSTILE)
        ],
        unknowns=[
            open_purchase(prompt=name, reason=name, prompt_set=name, request_id=name)
            for name in HOSTILE
        ],
        price_differences=[
            PriceDifference(
                request_id=name,
                attempt=1,
                prompt_set=name,
                task_id=name,
                since=datetime(2026, 1, 2, tzinfo=UTC),
                images=1,
                cost_usd=CENT,
                expected_usd=CENT,
                told=name,
            )
            for name in HOSTILE
        ],
    )
    path = told.page(tmp_path).path
    page = read(path)
    assert {tag for tag, _ in page.elements}.isdisjoint({"script", "img", "iframe", "object", "b"})
    handlers = [name for _, attributes in page.elements for name in attributes if name[:2] == "on"]
    assert handlers == []
    links = [
        v for _, a in page.elements for k, v in a.items() if k in ("href", "src", "xlink:href")
    ]
    assert [link for link in links if not re.fullmatch(r"data:,|#\w+|\w+\.parquet", link)] == []
    assert all((tmp_path / link).is_file() for link in links if link.endswith(".parquet"))
    assert Counter(page.ids()).most_common(1)[0][1] == 1
    assert "script-src" not in path.read_text("utf-8")
    assert "default-src 'none'" in path.read_text("utf-8")
    for name in HOSTILE:
        assert name.replace("\ud800", "?") in page.text


def test_what_a_plot_refers_to_is_on_the_page(tmp_path: Path) -> None:
    """Parts of one drawing are never taken for those of another."""
    told = Told(purchases=[purchase_row(str(number)) for number in range(9)])
    text = told.page(tmp_path).path.read_text("utf-8")
    ids = set(read(tmp_path / "index.html").ids())
    assert set(re.findall(r"url\(#(\w+)\)", text)) <= ids


def test_the_same_ledger_gives_the_same_page(tmp_path: Path) -> None:
    """Byte for byte, but for the time at which it was made."""
    told = Told(purchases=[purchase_row("1"), purchase_row("2", state="unknown")])
    first = told.page(tmp_path / "a").path.read_bytes()
    assert told.page(tmp_path / "b").path.read_bytes() == first
    assert NOON.isoformat().encode() in first


def test_a_hundred_thousand_purchases_are_no_hundred_thousand_elements(tmp_path: Path) -> None:
    """400 days, 40 sets: the page has the size of its tables, and every dollar is in it."""
    states = [state.value for state in PurchaseState]
    rows = [
        purchase_row(
            str(number),
            state=states[number % 11] if number % 7 == 0 else "stored",
            bought_by_set=f"set {number % 40}",
            created_at=MORNING - (number % 400) * DAY,
        )
        for number in range(100_000)
    ]
    unknowns = [open_purchase(f"{number:064x}") for number in range(MAX_ROWS + 5)]
    told = Told(purchases=rows, unknowns=unknowns)
    summary = told.summary(tmp_path)
    assert summary.spending.purchases == 100_000
    assert summary.spending.spent_usd == sum(row["cost_usd"] or 0 for row in rows)
    report = told.page(tmp_path)
    page = read(report.path)
    assert report.bytes < 500_000
    assert Counter(tag for tag, _ in page.elements)["path"] < 100
    assert "Cost per week" in page.text
    assert f"{40 - SERIES} other sets" in page.text
    assert "And 5 more" in page.text
    assert sum(tag == "code" and "title" in a for tag, a in page.elements) == MAX_ROWS


# --- the preview ---


def test_the_preview_is_a_small_table_that_no_name_breaks(tmp_path: Path) -> None:
    """Short enough that the UI shows it without a click."""
    names = [name.replace("\ud800", "?") for name in HOSTILE] + ["a|b", "x" * 90]
    told = Told(purchases=[purchase_row(name, bought_by_set=name) for name in names])
    text = spend_preview(told.summary(tmp_path))
    assert len(text) < 1000
    html = MarkdownIt("commonmark").enable("table").render(text)
    page = Page(html)
    tags = Counter(tag for tag, _ in page.elements)
    assert set(tags) == {"table", "thead", "tbody", "tr", "th", "td", "strong"}
    assert tags["tr"] == 1 + 1 + 5 + 1
    assert tags["td"] == 5 * 7
    assert "$0.24" in page.text
    assert "3 more sets" in page.text


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("1E+3", "$1,000.00"),
        ("0.000000001", "$0.000000001"),
        ("-1.5", "\N{MINUS SIGN}$1.50"),
    ],
)
def test_amounts_are_written_out(amount: str, shown: str) -> None:
    """No exponent, at least two decimals, no digit lost."""
    assert usd(Decimal(amount)) == shown
