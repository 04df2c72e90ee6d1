"""The one-liners of the README that load a metadata table, offline."""

from pathlib import Path

import pytest

from wan_pipeline_tests.pipeline.conftest import Built

ROWS = 9


def test_pandas_reads_the_table_in_one_line(built: Built) -> None:
    """`pd.read_parquet(...)`."""
    import pandas as pd  # noqa: PLC0415  as slow to import as these readers are

    table = pd.read_parquet(built.site.layout.metadata("small"))
    assert len(table) == ROWS
    assert str(table["created_at"].dt.tz) == "UTC"
    assert table["cost_usd"].sum() == sum(row["cost_usd"] for row in built.site.rows("small"))


def test_duckdb_reads_the_table_in_one_line(built: Built) -> None:
    """`duckdb.sql("SELECT ... FROM '....parquet'")`, exact decimals included."""
    import duckdb  # noqa: PLC0415

    path = built.site.layout.metadata("small")
    found = duckdb.sql(f"SELECT count(*), sum(cost_usd)::VARCHAR FROM '{path}'").fetchall()
    assert found == [(ROWS, "0.210000000")]


def test_duckdb_finds_flagged_requests_in_one_line(built: Built) -> None:
    """Of a whole set none, and every request is there."""
    import duckdb  # noqa: PLC0415

    path = built.site.layout.quality_outcomes("small")
    assert duckdb.sql(f"FROM '{path}' WHERE len(flags) > 0").fetchall() == []
    (told,) = duckdb.sql(f"SELECT sum(n), sum(images_stored) FROM '{path}'").fetchall()
    assert told == (ROWS, ROWS)


def test_datasets_reads_the_table_in_one_line(
    built: Built, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """`load_dataset("parquet", data_files=...)`, without the network."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    import datasets  # noqa: PLC0415

    path = built.site.layout.metadata("small")
    loaded = datasets.load_dataset(
        "parquet", data_files=str(path), split="train", cache_dir=str(tmp_path)
    )
    assert loaded.num_rows == ROWS
    assert set(loaded["prompt_set"]) == {"small"}
