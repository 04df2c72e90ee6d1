"""The report about runs in a real browser, opened from disk: it draws, fits and unfolds."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, expect

from wan_pipeline.report.run_history import read_history
from wan_pipeline.report.run_report import write_run_report
from wan_pipeline_tests.browser.gallery_fixture import opened
from wan_pipeline_tests.report.history_fixture import three_runs
from wan_pipeline_tests.report.spend_fixture import NOON

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.browser

COLOURS = """[...document.querySelectorAll('.legend li')].map(
  (item) => getComputedStyle(item, '::before').backgroundColor)"""
OVERLAPS = """() => [...document.querySelectorAll('.plot svg')].flatMap((plot) => {
  const card = plot.closest('.plot').getBoundingClientRect();
  const words = [...plot.querySelectorAll('text')];
  const boxes = words.map((word) => word.getBoundingClientRect());
  const hit = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
    && a.top < b.bottom - 4 && b.top < a.bottom - 4;
  const out = words.filter((_, i) => boxes[i].left < card.left || boxes[i].right > card.right);
  const pairs = words.filter((_, i) => boxes.slice(i + 1).some((other) => hit(boxes[i], other)));
  return [...out, ...pairs].map((word) => word.textContent);
})"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_report_draws_and_fits(browser: Browser, tmp_path: Path, scheme: str) -> None:
    """Four plots in colours that differ, no word on another, at any width; numbers unfold."""
    history = read_history(three_runs())
    report = write_run_report(
        history, prompt_set="kites", profile="a-profile", created=NOON, out_dir=tmp_path
    )
    with opened(browser, report.path.as_uri(), scheme=scheme, title="Runs of kites · 3") as page:
        expect(page.locator(".plot svg")).to_have_count(4)
        inks = page.evaluate(COLOURS)
        assert len(set(inks[2:6])) == 4  # stored, in flight, unknown, failed
        body = page.evaluate("getComputedStyle(document.body).color")
        assert page.evaluate("getComputedStyle(document.querySelector('svg text')).fill") != body
        for width in (320, 900, 1440, 2560):
            page.set_viewport_size({"width": width, "height": 900})
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            assert page.evaluate(OVERLAPS) == [], width
        expect(page.locator("#runs tbody tr")).to_have_count(3)
        numbers = page.locator("#numbers table")
        expect(numbers).to_be_hidden()
        page.locator("#numbers summary").click()
        expect(numbers).to_be_visible()
        expect(page.get_by_role("link", name="Gallery")).to_have_attribute("href", "index.html")
