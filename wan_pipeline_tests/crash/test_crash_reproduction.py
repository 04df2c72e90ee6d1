"""SIGKILL in a batch that buys reproductions: a series never buys twice, and loses nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.crash.crash import Sums, play
from wan_pipeline_tests.crash.scenario import Scenario

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

SERIES = "reproduce/kites@v1/killed"
# Where a series is asked for: its intent, its doubts, what it takes up, and the rescue file.
POINTS = (
    "intend.committed#2",
    "create.accepted#3",
    "submitted.committed#1",
    "unknown.committed#1",
    "take_over.committed#1",
    "download.sent#2",
    "image.committed#1",
)


def test_killed_reproduction_is_bought_once(tmp_path: Path) -> None:
    """At the points where it differs from a build; a person's release ends a reproduction."""
    sums = Sums()
    with Scenario(tmp_path, series=SERIES) as scenario:
        for point in POINTS:
            sums.add(play(scenario, point))
    assert [str(line) for line in sums.broken] == []
    assert sums.unreached == []
