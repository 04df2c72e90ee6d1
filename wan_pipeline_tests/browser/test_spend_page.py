"""The page about money in a real browser, opened from disk: it looks, unfolds and fits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from wan_pipeline.ledger.cap_use import CapUse
from wan_pipeline.ledger.review import OpenPurchase, PriceDifference
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline_tests.ledger.entries import MORNING, image_row, purchase_row
from wan_pipeline_tests.report.spend_fixture import Told

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser

LONG = "水墨画风格的山峦与云海_很长很长的提示词集合名称_第二版_用于测试"
SETS = ("kites", LONG, "</svg><script>document.title='owned'</script>", "product shots for autumn")
REQUEST = "0123456789abcdef" * 4
DAY = timedelta(days=1)
CENT = Decimal("0.01")


def told() -> Told:
    """A month of four sets, with everything a page can tell."""
    states = ["stored"] * 9 + ["failed", "refused", "unknown", "expired", "written_off"]
    purchases = [
        purchase_row(
            f"{number:064x}",
            state=states[number % len(states)],
            bought_by_set=SETS[number % 4],
            created_at=MORNING - (number % 30) * DAY,
            submitted_at=MORNING,
            completed_at=MORNING + timedelta(seconds=20 + number % 37),
            error_code="DataInspectionFailed",
        )
        for number in range(400)
    ]
    waiting = [
        OpenPurchase(
            request_id=REQUEST,
            attempt=1,
            prompt_set=name,
            prompt=f"{name} at dawn, in the mist " * 5,
            state=PurchaseState.UNKNOWN,
            since=MORNING,
            deadline_at=MORNING,
            task_id=None,
            reserved_usd=3 * CENT,
            reason="status 502, answered with a page that is no JSON at all",
        )
        for name in SETS
    ]
    return Told(
        purchases=purchases,
        images=[image_row()],
        unknowns=waiting,
        unfinished=waiting,
        price_differences=[
            PriceDifference(
                request_id=REQUEST,
                attempt=2,
                prompt_set=LONG,
                task_id="0a1b2c3d-4e5f-6789-abcd-ef0123456789",
                since=datetime(2026, 1, 2, tzinfo=UTC),
                images=1,
                cost_usd=4 * CENT,
                expected_usd=3 * CENT,
            )
        ],
        caps=[
            CapUse(
                cap=cap,
                of=of,
                limit_usd=Decimal(limit),
                spent_usd=Decimal(10),
                reserved_usd=CENT,
            )
            for cap, of, limit in (("total", "", 20), ("prompt_set", LONG, 10))
        ],
    )


@pytest.fixture(scope="module")
def page_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The file URL of a page that tells all of it."""
    return told().page(tmp_path_factory.mktemp("spend")).path.as_uri()


@pytest.fixture(params=["light", "dark"])
def page(browser: Browser, page_url: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """Open the page; afterwards nothing may have been complained about or fetched."""
    context = browser.new_context(
        viewport={"width": 1280, "height": 900}, color_scheme=request.param
    )
    opened = context.new_page()
    complaints: list[str] = []
    foreign: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda request: complaints.append(request.url))
    opened.on(
        "request",
        lambda request: None if request.url == page_url else foreign.append(request.url),
    )
    opened.goto(page_url)
    yield opened
    title = opened.title()
    context.close()
    assert title.startswith("Spending · a-profile · $")
    assert [url for url in foreign if not url.startswith("data:")] == []
    assert complaints == []


def test_four_plots_are_drawn(page: Page, tmp_path: Path) -> None:
    """Each has size, bars in the page's colours, and words in the page's font and ink."""
    plots = page.locator(".plot svg")
    expect(plots).to_have_count(4)
    for plot in plots.all():
        box = plot.bounding_box()
        assert box is not None
        assert box["width"] > 400
        assert box["height"] > 80
    page.screenshot(path=tmp_path / "spend.png", full_page=True)
    bar = page.locator(".plot").nth(0).screenshot(path=tmp_path / "bars.png")
    assert bar
    with Image.open(tmp_path / "bars.png") as image:
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 20
    inks = page.evaluate(
        """() => [...document.querySelectorAll('.plot svg path, .plot svg text')].map(
          (element) => getComputedStyle(element).fill)"""
    )
    assert "rgb(0, 0, 0)" not in inks
    body = page.evaluate("getComputedStyle(document.body).color")
    assert body in inks


@pytest.mark.parametrize(("width", "columns"), [(360, 1), (800, 1), (1000, 2), (1400, 2)])
def test_no_plot_stands_alone(page: Page, width: int, columns: int) -> None:
    """One under the other, two beside each other; those of a row are as high as each other."""
    page.set_viewport_size({"width": width, "height": 900})
    boxes = page.locator(".plots .plot").evaluate_all(
        "all => all.map((e) => e.getBoundingClientRect()).map((b) => [b.top, b.height])"
    )
    rows = [boxes[at : at + columns] for at in range(0, 4, columns)]
    for row in rows:
        assert len({(round(top), round(height)) for top, height in row}) == 1, boxes
    assert len({round(top) for top, _ in boxes}) == 4 // columns


def test_names_of_any_script_are_shown_beside_their_bars(page: Page) -> None:
    """As text, once above the bar and whole in the legend."""
    texts = page.locator(".plot svg text").all_text_contents()
    assert any(text.startswith("水墨画风格") and text.endswith("…") for text in texts)
    legend = page.locator(".legend span")
    assert set(SETS) <= set(legend.all_text_contents())
    glyphs = page.locator(".plot svg text", has_text="水墨").first.bounding_box()
    assert glyphs is not None
    assert glyphs["width"] > 100  # drawn, not left out


def test_no_words_of_a_plot_overlap_or_leave_it(page: Page) -> None:
    """At the width of a phone and of a screen."""
    for width in (360, 800, 1280, 1920):
        page.set_viewport_size({"width": width, "height": 900})
        overlaps = page.evaluate(
            """() => [...document.querySelectorAll('.plot svg')].flatMap((plot) => {
              const card = plot.closest('.plot').getBoundingClientRect();
              const words = [...plot.querySelectorAll('text')];
              const boxes = words.map((word) => word.getBoundingClientRect());
              const hit = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
                && a.top < b.bottom - 4 && b.top < a.bottom - 4;
              const out = words.filter((_, i) => boxes[i].left < card.left
                || boxes[i].right > card.right).map((word) => 'out: ' + word.textContent);
              const pairs = words.flatMap((one, i) => words.slice(i + 1)
                .filter((_, j) => hit(boxes[i], boxes[i + 1 + j]))
                .map((other) => one.textContent + ' / ' + other.textContent));
              return [...out, ...pairs];
            })"""
        )
        assert overlaps == [], width


@pytest.mark.parametrize("width", [360, 400, 800, 1280, 1920])
def test_the_page_fits_any_width(page: Page, width: int) -> None:
    """No sideways scroll; wide tables scroll in their own box."""
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function(
        "width => document.documentElement.clientWidth === width"
        " && document.documentElement.scrollWidth <= width",
        arg=width,
    )


def test_the_numbers_unfold(page: Page) -> None:
    """Without a script."""
    expect(page.locator("#numbers table").first).to_be_hidden()
    page.locator("#numbers summary").click()
    expect(page.locator("#numbers table")).to_have_count(2)
    expect(page.locator("#numbers")).to_contain_text("22 Nov")
    expect(page.locator("#numbers td", has_text=LONG)).to_be_visible()


def test_one_click_selects_a_whole_request_id(page: Page) -> None:
    """Of which only the beginning is shown: the commands want all of it."""
    cell = page.locator("#unknowns .request").first
    box = cell.bounding_box()
    assert box is not None
    assert box["width"] < 120
    cell.click()
    assert page.evaluate("getSelection().toString()") == REQUEST


def test_what_is_over_stands_out(page: Page) -> None:
    """A cap that was passed and a deadline that has passed have another colour than the rest."""
    usual = page.locator("#budget tbody tr").first.locator("td").first
    over = page.locator("#budget .row-bad td").first
    assert over.evaluate("e => getComputedStyle(e).color") != usual.evaluate(
        "e => getComputedStyle(e).color"
    )
    expect(page.locator("#unfinished .row-bad")).to_have_count(len(SETS))
