"""JSON lines: types, broken lines, and keys."""

from __future__ import annotations

import gzip
import json
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.prompts.errors import (
    EmptyPromptFileError,
    MissingPromptColumnError,
    NoUsableRowsError,
)
from wan_pipeline_tests.prompts.helpers import build_text

if TYPE_CHECKING:
    from pathlib import Path


def test_rows_and_types(tmp_path: Path) -> None:
    """Values keep their JSON types; nested ones are carried as they are."""
    text = (
        '{"Prompt": "a kite", "N": 2, "seed": 7.0, "watermark": true, "tags": ["a", {"b": 1}]}\n'
        '\n  {"prompt": "一只猫", "seed": "8", "size": null, "replicas": NaN, "price": NaN}\r\n'
    )
    built = build_text(tmp_path, text, name="set.jsonl")
    one, two = built.prompts
    assert (one["n"], one["seed"], one["watermark"]) == (2, 7, True)
    assert one["prompt_columns"] == '{"tags":["a",{"b":1}]}'
    assert (two["prompt"], two["seed"], two["replicas"]) == ("一只猫", 8, 1)
    assert two["prompt_columns"] == '{"price":null}'
    assert [row["row"] for row in built.prompts] == [1, 2]


@pytest.mark.parametrize(
    "line",
    [
        '{"prompt": "a"',
        '{"prompt": "a"} x',
        '["a kite"]',
        '"a kite"',
        "42",
        "null",
        '{"prompt": "a", "prompt": "b"}',
        '{"prompt": "a", "Prompt": "b"}',
        '{"prompt": "a", "x": 1, " X ": 2}',
        '{"prompt": "a", "x": {"y": 1, "y": 2}}',
        "[" * 100_000,
        '{"prompt": "a", "x": ' + "9" * 5000 + "}",
        '{"prompt": "a", "x": 1e400}',
        '{"prompt": "a", "x": Infinity}',
        '{"prompt": "a", "seed": 1e400}',
        '{"prompt": "a", "n": true}',
        '{"prompt": 42}',
        '{"prompt": "a\\ud800"}',
        '{"prompt": "a\\u0000"}',
        '{"prompt": "a", "x": "\\ud800"}',
        '{"prompt": "a", "\\ud800": 1}',
        "prompt,n",
    ],
)
def test_broken_lines(tmp_path: Path, line: str) -> None:
    """A line that is no usable object costs its row and no other."""
    text = f'{{"prompt": "first"}}\n{line}\n{{"prompt": "last"}}\n'
    built = build_text(tmp_path, text, name="set.jsonl")
    assert built.texts == ["first", "last"]
    assert {row["row"] for row in built.rejects} == {2}
    assert all(row["remedy"] for row in built.rejects)


def test_undecodable_line(tmp_path: Path) -> None:
    """Bytes that are not UTF-8 cost their line."""
    built = build_text(tmp_path, b'{"prompt": "caf\xe9"}\n{"prompt": "ok"}', name="set.jsonl")
    assert built.texts == ["ok"]


@pytest.mark.parametrize("name", ["set.ndjson", "set.jsonl.gz", "SET.JSONL"])
def test_names_and_compression(tmp_path: Path, name: str) -> None:
    """Every extension of the format, and a byte order mark."""
    data = "\ufeff".encode() + json.dumps({"prompt": "a kite"}).encode()
    packed = gzip.compress(data) if name.endswith("gz") else data
    assert build_text(tmp_path, packed, name=name).texts == ["a kite"]


def test_no_prompt_anywhere(tmp_path: Path) -> None:
    """Objects without any prompt are a wrong file, whose keys are named."""
    with pytest.raises(MissingPromptColumnError, match="'caption', 'n'"):
        build_text(tmp_path, '{"caption": "a"}\n{"n": 1}\n', name="set.jsonl")


def test_no_object_anywhere(tmp_path: Path) -> None:
    """A JSON document over many lines is no JSON lines; the rejects say what is expected."""
    with pytest.raises(NoUsableRowsError):
        build_text(tmp_path, json.dumps([{"prompt": "a"}], indent=1), name="set.jsonl")


def test_empty_file(tmp_path: Path) -> None:
    """Nothing in it."""
    with pytest.raises(EmptyPromptFileError):
        build_text(tmp_path, "\n \n", name="set.jsonl")


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ('"": 1, "\\t": 2', "'' and '\\t' both have no name"),
        ('"x": 1, " X ": 2', "'x' and ' X ' are the same"),
        ('"x": 1, "x": 2', "'x' is there twice"),
    ],
)
def test_keys_that_are_the_same_are_both_named(tmp_path: Path, keys: str, told: str) -> None:
    """Their names differ in what a person does not see."""
    text = f'{{"prompt": "a"}}\n{{"prompt": "b", {keys}}}\n'
    (rejected,) = build_text(tmp_path, text, name="set.jsonl").rejects
    assert told in rejected["rule"]
