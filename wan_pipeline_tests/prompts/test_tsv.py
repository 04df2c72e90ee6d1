"""TSV: quotes that mean something, and those that are text."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from wan_pipeline_tests.prompts.helpers import build_text

if TYPE_CHECKING:
    from pathlib import Path


def test_tsv_with_bare_quotes(tmp_path: Path) -> None:
    """Text in a TSV may begin with, hold, or end with a quote that means nothing."""
    rows = [
        ('"GIGGLE" painted on a wall', "x"),
        ('a sign that says "PEACE"', 'Description of "Dogs"'),
        ('"half open', "y"),
        ('5" nails', '"'),
        ('closed"', '6"'),
    ]
    text = "Prompt\tNote\n" + "".join(f"{prompt}\t{note}\n" for prompt, note in rows)
    built = build_text(tmp_path, text, name="set.tsv")
    assert built.texts == [prompt for prompt, _ in rows]
    notes = [json.loads(row["prompt_columns"])["Note"] for row in built.prompts]
    assert notes == [note for _, note in rows]


def test_tsv_with_quoted_fields(tmp_path: Path) -> None:
    """Fields that a spreadsheet quoted lose their quotes, with tabs and line breaks inside."""
    text = 'prompt\tnote\n"a\nb"\tx\n"c\t""d"""\ty\ne\t"f\r\ng"\nh\t"i"\n'
    built = build_text(tmp_path, text, name="set.tsv")
    assert built.texts == ["a\nb", 'c\t"d"', "e", "h"]
    notes = [json.loads(row["prompt_columns"])["note"] for row in built.prompts]
    assert notes == ["x", "y", "f\r\ng", "i"]


def test_tsv_never_swallows_rows(tmp_path: Path) -> None:
    """A stray quote that meets another one rows later does not join what is between."""
    text = 'prompt\tnote\n"a\tx\nb\ty\nc"\tz\n'
    assert build_text(tmp_path, text, name="set.tsv").texts == ['"a', "b", 'c"']
    text = 'prompt\tnote\na\t"open\nb "c" d\n'
    assert build_text(tmp_path, text, name="set.tsv").texts == ["a", 'b "c" d']
