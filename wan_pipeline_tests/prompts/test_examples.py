"""The committed example sets: complete, varied, and without a single reject."""

from __future__ import annotations

from pathlib import Path

import pytest

from wan_pipeline.prompts.plan_table import RequestTableSummary, write_request_table
from wan_pipeline.prompts.sets import find_prompt_sets, scan
from wan_pipeline.prompts.size import PRESETS
from wan_pipeline.prompts.table import build_prompt_table
from wan_pipeline_tests.prompts.helpers import MODEL, rows_of

FOLDER = Path(__file__).parents[2] / "data" / "prompts"
EXAMPLES = ("catalogue", "recipes", "seasons", "showcase")


def planned(name: str, out: Path) -> RequestTableSummary:
    """Build both tables of an example set."""
    summary = build_prompt_table(find_prompt_sets(FOLDER)[name], out_dir=out, set_name=name)
    assert (summary.rejections, summary.duplicates) == (0, 0)
    return write_request_table(
        out / "prompts.parquet", out=out / "requests.parquet", model=MODEL, base_seed=0
    )


def test_examples_are_there() -> None:
    """Four sets, one of them JSONL, one a matrix; nothing in the folder is in the way."""
    sets = scan(FOLDER).sets
    assert set(EXAMPLES) <= set(sets)
    assert sets["recipes"].suffix == ".jsonl"
    assert sets["seasons"].suffix == ".yaml"


@pytest.mark.parametrize("name", EXAMPLES)
def test_examples_plan(tmp_path: Path, name: str) -> None:
    """Every row is good and every request its own purchase."""
    assert planned(name, tmp_path).shared == 0


def test_the_showcase_is_varied(tmp_path: Path) -> None:
    """Every preset and 768*2700, one to four images, both languages, with and without the rest."""
    assert 24 <= planned("showcase", tmp_path).images <= 34
    rows = rows_of(tmp_path / "requests.parquet")
    assert {*PRESETS.values(), "768*2700"} <= {row["size"] for row in rows}
    assert {row["n"] for row in rows} == {1, 2, 3, 4}
    assert {row["seed_source"] for row in rows} == {"given", "derived"}
    assert {bool(row["negative_prompt"]) for row in rows} == {True, False}
    assert {row["prompt"].isascii() for row in rows} == {True, False}
    assert {row["watermark"] for row in rows} == {row["prompt_extend"] for row in rows}


def test_the_catalogue_carries_columns(tmp_path: Path) -> None:
    """Its article numbers keep their leading zeros."""
    planned("catalogue", tmp_path)
    columns = [row["prompt_columns"] for row in rows_of(tmp_path / "requests.parquet")]
    assert '"sku":"0071"' in columns[0]


HARBOUR = "A small fishing harbour in {}, wooden boats at the quay, wide view, photograph"
BENCH = "A maker's bench with {} in the light of {}, close up, photograph"
PINNED = {
    "8f6b64c997f147f0": HARBOUR.format("early spring"),
    "f79955ec80c25927": HARBOUR.format("early spring"),
    "dee77a5572f1ae81": HARBOUR.format("deep winter"),
    "097e01f7f9f3e0e2": BENCH.format("a walnut rocking chair", "late autumn"),
    "66d8b93f67858c14": BENCH.format("a walnut rocking chair", "deep winter"),
    "ad3dbd550535d817": BENCH.format("a carved cedar duck", "deep winter"),
    "0f7ce38968db8d0a": BENCH.format("a walnut rocking chair", "early spring"),
}


def test_the_seasons_are_pinned(tmp_path: Path) -> None:
    """Other ids would buy everybody's matrices anew: rendering and draws stay as they are."""
    assert planned("seasons", tmp_path).images == 12
    rows = rows_of(tmp_path / "requests.parquet")
    assert PINNED.items() <= {row["request_id"][:16]: row["prompt"] for row in rows}.items()
    assert sum(row["size"] == PRESETS["16:9"] for row in rows) == 4
    assert '"season":"early spring","template":"harbour"' in rows[0]["prompt_columns"]
