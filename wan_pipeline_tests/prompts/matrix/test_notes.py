"""What makes a matrix smaller than its author may think is told, and is no error."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.prompts.matrix.count import MatrixCount
from wan_pipeline.prompts.matrix.wildcards import MAX_VALUES
from wan_pipeline_tests.prompts.matrix.helpers import count, prompts, wildcards, write

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


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("a\nb\n", []),
        ("a\nb\na\n", ["s repeats a value once: each value counts once"]),
        ("a\n a \n\n# a\nb\nb\n", ["s repeats a value 2 times: each value counts once"]),
    ],
)
@pytest.mark.parametrize("key", ["sweep", "sample: 2, from"])
def test_a_files_repeated_values_are_told_as_a_lists_are(
    tmp_path: Path, text: str, notes: list[str], key: str
) -> None:
    """Of every axis that takes its values from the file, which is read once."""
    wildcards(tmp_path, "v.txt", text)
    axes = f"axes: {{s: {{{key}: wildcards/v.txt}}, t: {{{key}: wildcards/v.txt}}}}\n"
    file = write(tmp_path, f"{axes}templates: {{one: '{{s}}', two: '{{t}}'}}\n")
    assert sorted(prompts(file)) == ["a", "a", "b", "b"]
    told = [f"note: {each}" for each in notes]
    assert count(file).notes() == [*told, *(each.replace("s ", "t ", 1) for each in told)]


def test_only_different_values_count_for_the_limit_of_a_file(tmp_path: Path) -> None:
    """However often they are repeated."""
    wildcards(tmp_path, "v.txt", "a\nb\n" * (MAX_VALUES // 2 + 1))
    file = write(tmp_path, "axes: {s: {sweep: wildcards/v.txt}}\ntemplates: {t: '{s}'}\n")
    assert count(file).notes() == ["note: s repeats a value 100,000 times: each value counts once"]
