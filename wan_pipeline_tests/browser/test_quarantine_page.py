"""The quarantine in a real browser: it fits, and pairs can be compared on a phone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, expect

from wan_pipeline.dataset.quality.flags import Thresholds
from wan_pipeline.dataset.quality.outcomes import RequestOutcomes
from wan_pipeline.layout import DataLayout
from wan_pipeline.report.quarantine import Quarantine, write_quarantine
from wan_pipeline_tests.browser.gallery_fixture import opened
from wan_pipeline_tests.quality.pictures import MadeSet, scene

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "scheme"), [(320, "light"), (390, "dark"), (1280, "light")])
def test_pairs_are_wide_enough_to_compare(
    browser: Browser, tmp_path: Path, width: int, scheme: str
) -> None:
    """Both pictures beside each other, each id on one line, nothing wider than the screen."""
    layout = DataLayout(tmp_path, "emulator")
    made, other = MadeSet(layout, "made"), MadeSet(layout, "other")
    for number in (1, 2):
        made.add(scene(number))
        other.add(scene(number).resize((80, 60)))
    other.judge()
    page_path = write_quarantine(
        Quarantine(
            prompt_set="made",
            profile="emulator",
            created=datetime.now(UTC),
            thresholds=Thresholds(),
            summary=made.judge(),
            outcomes=RequestOutcomes(rows=[]),
            elsewhere=made.compare(other),
        ),
        layout=layout,
    )
    title = "Quarantine · made · 0 flagged"
    with opened(browser, page_path.as_uri(), width=width, scheme=scheme, title=title) as page:
        pictures = page.locator(".pairs .shot > a")
        expect(pictures).to_have_count(4)
        boxes = pictures.evaluate_all("all => all.map((e) => e.getBoundingClientRect())")
        assert min(box["width"] for box in boxes) > 120
        assert boxes[0]["y"] == boxes[1]["y"]
        lines = page.locator(".shot code").evaluate_all("all => all.map((e) => e.getClientRects())")
        assert all(len(each) == 1 for each in lines)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
