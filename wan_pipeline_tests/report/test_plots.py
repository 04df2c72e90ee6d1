"""The plots: in the page's colours, the same everywhere, and no word of a user harms one."""

from __future__ import annotations

import re
import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest

from wan_pipeline.report.plots import bars_by_name, histogram, stacked_bars
from wan_pipeline_tests.report.spend_fixture import HOSTILE, Page


def test_a_plot_takes_its_colours_and_font_from_the_page() -> None:
    """And brings no style, no metadata, no date, no font and no size of its own."""
    svg = stacked_bars(
        "Cost per day", ["1 Nov", "2 Nov"], [("series-0", [1, 2]), ("doubt", [0, 1])]
    )
    assert "var(--series-0)" in svg
    assert "var(--doubt)" in svg
    assert "var(--muted)" in svg
    assert not re.search(r"#[0-9a-f]{6}|<style|<metadata|font|matplotlib|<!DOCTYPE", svg)
    page = Page(svg)
    (root,) = [attributes for tag, attributes in page.elements if tag == "svg"]
    assert set(root) == {"viewbox", "role", "aria-label"}
    assert "2 Nov" in page.text
    assert "$3" in page.text


@pytest.mark.parametrize("name", HOSTILE)
def test_names_are_drawn_as_they_are(name: str) -> None:
    """No mathematics, no markup, no missing glyph, no confusion with what stands for a name."""
    svg = bars_by_name("sets", "Cost per set", [(name, "$1.00", [("series-0", 1.0)])])
    page = Page(svg)
    assert {tag for tag, _ in page.elements} <= {
        "svg",
        "g",
        "path",
        "text",
        "defs",
        "clippath",
        "rect",
    }
    assert name[:15] in page.text
    assert "$1.00" in page.text


def test_long_names_are_cut_to_the_room_they_have() -> None:
    """A wide character takes the room of two."""
    rows = [(letter * 60, "$1.00", [("series-0", 1.0)]) for letter in "a画"]
    texts = Page(bars_by_name("sets", "Cost per set", rows)).text
    assert "a" * 34 + "…" in texts
    assert "a" * 35 not in texts
    assert "画" * 17 + "…" in texts
    assert "画" * 18 not in texts


@pytest.mark.parametrize(
    "seconds", [[0.0], [31.0], [5.0, 5.0, 5.0], [0.01, 86400.0], list(range(1, 500))]
)
def test_any_latencies_can_be_drawn(seconds: list[float]) -> None:
    """One task, equal ones, none of them taking time, a whole day."""
    marks = [("good", float(np.median(seconds))), ("bad", max(seconds))]
    svg = histogram("Latency", np.array(seconds, dtype=float), marks)
    assert svg.count("<path") <= 20
    assert "nan" not in svg


def test_plots_are_the_same_in_every_process_and_leave_settings_alone() -> None:
    """Else a page would differ from the last one without reason."""
    code = (
        "from wan_pipeline.report.plots import stacked_bars, bars_by_name;"
        "print(stacked_bars('x', ['a', 'b'], [('good', [1, 2])])"
        " + bars_by_name('y', 'y', [('水', '1', [('bad', 1.0)])]))"
    )
    before = dict(mpl.rcParams)
    drawn = stacked_bars("x", ["a", "b"], [("good", [1, 2])])
    drawn += bars_by_name("y", "y", [("水", "1", [("bad", 1.0)])])
    assert dict(mpl.rcParams) == before
    for seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            env={"PYTHONHASHSEED": seed, "PYTHONIOENCODING": "utf-8", "HOME": "/nonexistent"},
            capture_output=True,
            encoding="utf-8",
            check=True,
            timeout=120,
        )
        assert done.stdout == f"{drawn}\n"
        assert done.stderr == ""


def test_nothing_is_imported_before_something_is_drawn() -> None:
    """Matplotlib costs most of a second, which no other command should pay."""
    code = "import sys, wan_pipeline.definitions; sys.exit('matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=120)
    assert done.returncode == 0
