"""What `wan release diff` shows of a column that differs."""

from __future__ import annotations

import io
import json
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from wan_pipeline.cli.diffed import show_diff
from wan_pipeline.dataset.release.diff import ColumnChange, ReleaseDiff

COLUMNS = {f"column_{number:02}": "the same" for number in range(20)}
LATE = (json.dumps({**COLUMNS, "sku": "0071"}), json.dumps({**COLUMNS, "sku": "0072"}))
EARLY = (json.dumps({"line": 12, **COLUMNS}), json.dumps({"line": 13, **COLUMNS}))


def shown(before: Any, after: Any) -> tuple[str, str]:
    """The last two cells of the table's only row."""
    change = ColumnChange(
        column="prompt_columns", rows=1, examples=(("kites", "kite", "00", before, after),)
    )
    nothing = Decimal(0)
    found = ReleaseDiff(
        before="toys@v1",
        after="toys@v2",
        same_content=False,
        added=(),
        removed=(),
        regenerated=(),
        unchanged=1,
        columns=(change,),
        moved_prompts=(),
        cost_before_usd=nothing,
        cost_after_usd=nothing,
        bought_usd=nothing,
        dropped_usd=nothing,
    )
    stream = io.StringIO()
    show_diff(Console(file=stream, width=400), found, limit=20)
    row = next(line for line in stream.getvalue().splitlines() if "kites, kite" in line)
    first, second = row.strip("│ ").split("│")[-2:]
    return first.strip(), second.strip()


@pytest.mark.parametrize(
    ("before", "after"),
    [
        LATE,
        EARLY,
        ("x" * 500, "x" * 501),
        ("x" * 500 + "1" + "y" * 500, "x" * 500 + "2" + "y" * 500),
        (["near_duplicate"] * 9, ["near_duplicate"] * 9 + ["blank"]),
        (None, ""),
        ("a\x00", "a\x01"),
    ],
    ids=["late", "early", "longer", "amid", "list", "empty", "control"],
)
def test_before_and_after_are_never_shown_alike(before: Any, after: Any) -> None:
    """Wherever they differ, and however long they are; a long value is still cut."""
    first, second = shown(before, after)
    assert first != second
    assert max(len(first), len(second)) <= 62


def test_a_late_difference_is_shown_with_what_stands_around_it() -> None:
    """The key whose value differs can be read; a cut is marked."""
    first, second = shown(*LATE)
    assert (first, second) == (f"…{first[1:]}", f"…{second[1:]}")
    assert ('"sku": "0071"}' in first, '"sku": "0072"}' in second) == (True, True)


def test_short_values_are_shown_whole() -> None:
    """As they are."""
    assert shown("0.02", "0.03") == ("0.02", "0.03")
    assert shown(None, "a kite") == ("(empty)", "a kite")
