"""Parquet prompt files: types as other tools write them, and damage."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wan_pipeline.prompts.errors import (
    EmptyPromptFileError,
    MissingPromptColumnError,
    NoUsableRowsError,
    UnreadablePromptFileError,
)
from wan_pipeline_tests.prompts.helpers import build, build_text

if TYPE_CHECKING:
    from pathlib import Path


def write(folder: Path, columns: dict[str, Any]) -> Path:
    """A Parquet file of the given columns."""
    file = folder / "set.parquet"
    pq.write_table(pa.table(columns), file)
    return file


def test_a_data_frame(tmp_path: Path) -> None:
    """What pandas writes: numbers with gaps as floats, NaN for missing, an index left out."""
    file = tmp_path / "set.parquet"
    frame = pd.DataFrame(
        {
            "Prompt": ["a", "b", "c"],
            "seed": [7.0, np.nan, 7.5],
            "n": [1, 2, 3],
            "x": [0.5, np.nan, 1],
        }
    )
    frame.to_parquet(file, index=False)
    built = build(file)
    assert [(row["prompt"], row["seed"], row["n"]) for row in built.prompts] == [
        ("a", 7, 1),
        ("b", None, 2),
    ]
    assert [row["prompt_columns"] for row in built.prompts] == ['{"x":0.5}', '{"x":null}']
    assert [row["row"] for row in built.rejects] == [3]


def test_types_without_json(tmp_path: Path) -> None:
    """Times, decimals, bytes and structures are carried as text and lists."""
    columns = {
        "prompt": ["a kite"],
        "day": [date(2026, 1, 2)],
        "at": [datetime(2026, 1, 2, 3, 4, tzinfo=UTC)],
        "price": [Decimal("1.10")],
        "raw": [b"\x00\xff"],
        "tags": [["a", None]],
        "nested": [{"b": 1, "a": [1.5]}],
    }
    (row,) = build(write(tmp_path, columns)).prompts
    assert row["prompt_columns"] == (
        '{"at":"2026-01-02T03:04:00+00:00","day":"2026-01-02","nested":{"a":[1.5],"b":1},'
        '"price":"1.10","raw":"AP8=","tags":["a",null]}'
    )


def test_rows_over_several_batches(tmp_path: Path) -> None:
    """Rows keep their numbers across batches and row groups."""
    file = tmp_path / "set.parquet"
    table = pa.table({"prompt": [f"kite {i}" for i in range(10_000)]})
    pq.write_table(table, file, row_group_size=3000)
    built = build(file)
    assert [row["row"] for row in built.prompts] == list(range(1, 10_001))
    assert built.texts == table.column("prompt").to_pylist()


def test_text_that_is_not_utf_8(tmp_path: Path) -> None:
    """Arrow does not check its text; the row is rejected all the same."""
    raw = pa.array([b"caf\xe9", b"fine", None])
    prompts = pa.Array.from_buffers(pa.string(), 3, raw.buffers())
    built = build(write(tmp_path, {"prompt": prompts}))
    assert built.texts == ["fine"]
    assert [(row["row"], row["rule"]) for row in built.rejects] == [
        (1, "prompt is valid Unicode text"),
        (3, "prompt is not empty"),
    ]


def test_dictionary_columns(tmp_path: Path) -> None:
    """Categories of a data frame are their text."""
    built = build(write(tmp_path, {"prompt": pa.array(["a", "b", "a"]).dictionary_encode()}))
    assert built.texts == ["a", "b"]
    assert built.summary.duplicates == 1


@pytest.mark.parametrize("content", [b"prompt\na kite\n", b"PAR1" + b"x" * 50 + b"PAR1"])
def test_not_parquet(tmp_path: Path, content: bytes) -> None:
    """Other bytes under that name are refused."""
    with pytest.raises(UnreadablePromptFileError, match="Parquet"):
        build_text(tmp_path, content, name="set.parquet")


def test_damaged_pages(tmp_path: Path) -> None:
    """Damage in the middle is found while reading, and nothing is taken."""
    file = tmp_path / "set.parquet"
    pq.write_table(pa.table({"prompt": [f"kite {i}" for i in range(20_000)]}), file)
    data = bytearray(file.read_bytes())
    data[200:2000] = bytes(1800)
    with pytest.raises(UnreadablePromptFileError):
        build_text(tmp_path, bytes(data), name="set.parquet")
    assert not list((tmp_path / "set.parquet.out").iterdir())


def test_empty(tmp_path: Path) -> None:
    """No bytes, no rows, no prompt column: each says which."""
    with pytest.raises(EmptyPromptFileError):
        build_text(tmp_path, b"", name="set.parquet")
    with pytest.raises(NoUsableRowsError):
        build(write(tmp_path, {"prompt": pa.array([], pa.string())}))
    with pytest.raises(MissingPromptColumnError, match="'caption'"):
        build(write(tmp_path, {"caption": ["a"]}))
