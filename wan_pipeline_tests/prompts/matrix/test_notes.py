"""What makes a matrix smaller than its author may think is told, and is no error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.prompts.matrix.count import MatrixCount
from wan_pipeline_tests.prompts.matrix.helpers import count, prompts, write

if TYPE_CHECKING:
    from pathlib import Path

FEW = "sample: 9, from: [a, b]"


@pytest.mark.parametrize(
    ("axis", "template", "notes"),
    [
        ("sweep: [a, b]", "{prompt: '{s}'}", []),
        ("sweep: [a, a, b]", "{prompt: '{s}'}", ["s repeats a value once: each value counts once"]),
        ("sweep: [a, a, a, b]", "'{s}'", ["s repeats a value 2 times: each value counts once"]),
        (FEW, "'{s}'", ["s is to draw 9 and has 2 to draw from: all are taken"]),
        (
            "sweep: [a, b]",
            "{prompt: '{s}', sample: 5}",
            ["t is to draw 5 combinations and has 2: all are taken"],
        ),
    ],
)
def test_fewer_prompts_than_written_are_told(
    tmp_path: Path, axis: str, template: str, notes: list[str]
) -> None:
    """Also after the count's journey through the plan's file."""
    file = write(tmp_path, f"axes: {{s: {{{axis}}}}}\ntemplates: {{t: {template}}}\n")
    assert sorted(prompts(file)) == ["a", "b"]
    found = MatrixCount.from_json(count(file).to_json())
    assert found.notes() == [f"note: {each}" for each in notes]
