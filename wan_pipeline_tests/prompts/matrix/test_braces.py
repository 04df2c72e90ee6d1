"""Braces in prompts: how a person gets them, and where they are hardly meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline.prompts.matrix.problems import MatrixFileError
from wan_pipeline.prompts.matrix.texts import parse_template
from wan_pipeline_tests.prompts.matrix.helpers import prompts, write

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@pytest.mark.parametrize(
    ("template", "values", "text"),
    [
        ("狐 {an} {{x}}", {"an": "赤"}, "狐 赤 {x}"),
        ("a {{ x }} sign", {}, "a { x } sign"),
        ("{{{x}}}", {"x": "in braces"}, "{in braces}"),
        ("{{ and }}", {}, "{ and }"),
    ],
)
def test_two_braces_are_one_in_the_text(
    template: str, values: Mapping[str, str], text: str
) -> None:
    """Also around what could be a name."""
    assert parse_template(template).render(values) == text


def test_a_file_gets_braces_around_what_is_no_axis(tmp_path: Path) -> None:
    """Around an axis' name the file is refused, and the message says how to have either."""
    axes = "axes: {an: {sweep: [red]}}\n"
    whole = axes + 'templates: {t: "a {an} {{x}}"}\n'
    assert prompts(write(tmp_path, whole)) == ["a red {x}"]
    with pytest.raises(MatrixFileError) as caught:
        prompts(write(tmp_path, axes + 'templates: {t: "a {an} {{an}}"}\n'))
    assert "Write {an} instead for the axis, or rename the axis" in str(caught.value)


def test_names_between_two_pairs_are_remembered() -> None:
    """Who knows the axes says whether one of them was meant."""
    assert parse_template("a {{ x }} {y} {{{z}}} {{2}}").doubled == {"x"}
