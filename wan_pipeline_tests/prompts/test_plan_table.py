"""The request table: rows, sharing, counts, and reading it back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import (
    iter_prompts,
    iter_requests,
    request_ids,
    write_request_table,
)
from wan_pipeline.prompts.tables import REQUESTS
from wan_pipeline_tests.prompts.helpers import MODEL, plan

if TYPE_CHECKING:
    from pathlib import Path

SET = """prompt_id,prompt,size,n,seed,replicas,prompt_extend,sku
one,a kite,16:9,2,7,,,001
two,a kite,16:9,2,7,,,002
three,a kite,3:4,4,,3,false,003
,a dog,,,8,,no,004
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A prompt file in which two ids ask for the same request."""
    file = tmp_path / "set.csv"
    file.write_text(SET)
    return file


def test_counts(source: Path) -> None:
    """A shared request is one purchase and two rows; images are those of the purchases."""
    summary, rows = plan(source)
    assert (summary.rows, summary.distinct_requests, summary.shared) == (6, 5, 1)
    assert summary.images == 2 + 3 * 4 + 1
    assert summary.seed_with_prompt_extend == 2
    assert rows[0]["request_id"] == rows[1]["request_id"]
    assert (rows[0]["prompt_columns"], rows[1]["prompt_columns"]) == (
        '{"sku":"001"}',
        '{"sku":"002"}',
    )


def test_rows(source: Path) -> None:
    """Every parameter is there, in the schema written down."""
    _, rows = plan(source)
    schema = pq.read_schema(source.parent / "set.csv.out" / "requests.parquet")
    assert schema.equals(REQUESTS)
    row = rows[0]
    assert (row["model"], row["size"], row["width"], row["height"]) == (
        MODEL,
        "1696*960",
        1696,
        960,
    )
    assert (row["seed"], row["seed_source"], row["replica"], row["row"]) == (7, "given", 0, 1)
    assert [(r["replica"], r["seed_source"]) for r in rows[2:5]] == [
        (0, "derived"),
        (1, "derived"),
        (2, "derived"),
    ]
    keys = {(r["prompt_id"], r["request_id"], r["replica"]) for r in rows}
    assert len(keys) == len(rows)


def test_reading_back(source: Path) -> None:
    """Requests come back as they were planned, however small the batches, ids included."""
    _, rows = plan(source)
    requests = source.parent / "set.csv.out" / "requests.parquet"
    planned = list(iter_requests(requests, batch_size=2))
    assert [p.request_id for p in planned] == [row["request_id"] for row in rows]
    assert all(p.request.request_id == p.request_id for p in planned)
    assert request_ids(requests) == [p.request_id for p in planned]
    assert [p.row for p in planned] == [1, 2, 3, 3, 3, 4]
    prompts = list(iter_prompts(requests.with_name("prompts.parquet"), batch_size=1))
    assert [p.seed for p in prompts] == [7, 7, None, 8]


def test_base_seed_and_model(source: Path) -> None:
    """The base seed moves derived seeds only; the model is part of every request."""
    _, before = plan(source, base_seed=0)
    _, after = plan(source, base_seed=1)
    changed = [a["seed"] != b["seed"] for a, b in zip(before, after, strict=True)]
    assert changed == [row["seed_source"] == "derived" for row in before]
    out = source.parent / "set.csv.out"
    write_request_table(
        out / "prompts.parquet", out=out / "other.parquet", model="other", base_seed=1
    )
    ids = {row["request_id"] for row in after}
    assert ids.isdisjoint(request_ids(out / "other.parquet"))


def test_data_version(source: Path) -> None:
    """The same plan has the same version; another seed or column has another."""
    versions = [plan(source)[0].data_version, plan(source)[0].data_version]
    versions.append(plan(source, base_seed=1)[0].data_version)
    source.write_text(SET.replace("002", "005"))
    versions.append(plan(source)[0].data_version)
    assert len(set(versions)) == 3
    assert versions[0] == versions[1]


@pytest.mark.parametrize("damage", ["missing", "cut"])
def test_damaged_tables(source: Path, damage: str) -> None:
    """A table that cannot be read is an error with a remedy, and replaces no other table."""
    _, rows = plan(source)
    out = source.parent / "set.csv.out"
    prompts, requests = out / "prompts.parquet", out / "requests.parquet"
    data = prompts.read_bytes()
    prompts.unlink()
    if damage == "cut":
        prompts.write_bytes(data[:-20])
    with pytest.raises(UnreadablePromptFileError, match="Plan the prompt set again"):
        write_request_table(prompts, out=requests, model=MODEL, base_seed=0)
    assert request_ids(requests) == [row["request_id"] for row in rows]


def test_many_replicas(tmp_path: Path) -> None:
    """Replicas of one prompt go over batch borders."""
    file = tmp_path / "set.csv"
    rows = "".join(f"kite {i},1000\n" for i in range(9))
    file.write_text(f"prompt,replicas\n{rows}")
    summary, table = plan(file)
    assert summary.rows == summary.distinct_requests == summary.images == 9000
    assert [row["replica"] for row in table[:1001]] == [*range(1000), 0]
