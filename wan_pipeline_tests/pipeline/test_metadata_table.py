"""The metadata table: its columns, its money, its order."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wan_pipeline import __version__
from wan_pipeline.dataset.metadata import METADATA, write_metadata
from wan_pipeline.dataset.metadata_rows import share_cost
from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.quality.phash import perceptual_hash, to_hex
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline_tests.pipeline.conftest import Built
from wan_pipeline_tests.pipeline.site import Site

TIME = pa.timestamp("us", tz="UTC")
MONEY = pa.decimal128(18, 9)
COLUMNS = {
    "request_id": pa.string(),
    "image_index": pa.int32(),
    "image_id": pa.string(),
    "prompt_set": pa.string(),
    "prompt_id": pa.string(),
    "model": pa.string(),
    "prompt": pa.string(),
    "negative_prompt": pa.string(),
    "size": pa.string(),
    "width": pa.int32(),
    "height": pa.int32(),
    "n": pa.int32(),
    "seed": pa.int64(),
    "seed_source": pa.string(),
    "replica": pa.int32(),
    "prompt_extend": pa.bool_(),
    "watermark": pa.bool_(),
    "actual_prompt": pa.string(),
    "profile": pa.string(),
    "dialect": pa.string(),
    "task_id": pa.string(),
    "job_id": pa.string(),
    "submitted_at": TIME,
    "completed_at": TIME,
    "latency_s": pa.float64(),
    "url": pa.string(),
    "url_expires_at": TIME,
    "path": pa.string(),
    "format": pa.string(),
    "bytes": pa.int64(),
    "phash": pa.string(),
    "cost_usd": MONEY,
    "discount": pa.string(),
    "cost_source": pa.string(),
    "bought_by_set": pa.string(),
    "run_id": pa.string(),
    "code_version": pa.string(),
    "created_at": TIME,
    "provider_metadata": pa.string(),
    "prompt_columns": pa.string(),
}


def known_hashes(site: Site) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Hashes of images that were measured before."""
    known = MeasurementCache(site.layout.measurements).get

    def hashes(paths: Mapping[str, str]) -> dict[str, str]:
        return {image_id: to_hex(each.phash) for image_id, each in known(paths).items()}

    return hashes


def test_the_file_has_exactly_the_documented_columns(built: Built) -> None:
    """Names and types are an interface; adding one is a decision."""
    schema = pq.read_schema(built.site.layout.metadata("small"))
    assert dict(zip(schema.names, schema.types, strict=True)) == COLUMNS
    assert schema.equals(METADATA)


def test_a_row_tells_the_whole_story(built: Built) -> None:
    """One row, looked at field by field."""
    rows = built.site.rows("small")
    row = next(row for row in rows if (row["prompt_id"], row["replica"]) == ("tea", 0))
    assert row["prompt"] == "清晨的山中茶屋"
    assert (row["seed"], row["seed_source"], row["replica"]) == (7, "given", 0)
    assert (row["size"], row["width"], row["height"]) == ("1696*960", 1696, 960)
    assert (row["n"], row["image_index"]) == (1, 0)
    assert (row["prompt_extend"], row["watermark"]) == (True, False)
    assert (row["profile"], row["dialect"]) == ("emulator", "gateway")
    assert row["prompt_set"] == row["bought_by_set"] == "small"
    assert row["run_id"] == built.first.outcome.run_id
    assert row["code_version"] == __version__
    assert row["task_id"]
    assert row["url"].startswith("http://127.0.0.1:")
    assert row["submitted_at"] <= row["completed_at"] <= datetime.now(UTC)
    assert row["latency_s"] == pytest.approx(
        (row["completed_at"] - row["submitted_at"]).total_seconds()
    )
    assert row["created_at"] <= row["submitted_at"] < row["url_expires_at"]
    assert (built.site.layout.root / row["path"]).stat().st_size == row["bytes"]
    assert (row["format"], row["cost_source"]) == ("png", "reported")
    with Image.open(built.site.layout.root / row["path"]) as image:
        assert row["phash"] == to_hex(perceptual_hash(image.convert("RGB").convert("L")))


def test_columns_of_the_prompt_file_are_carried_as_json(built: Built) -> None:
    """Untouched, leading zeros and odd names included; one schema for every set."""
    kite = next(row for row in built.site.rows("small") if row["prompt_id"] == "kite")
    assert kite["prompt_columns"] == '{"[/b]":"x","sku":"0071"}'


def test_replicas_of_a_given_seed_count_upwards(built: Built) -> None:
    """Two requests of one prompt, each with its own seed."""
    rows = [row for row in built.site.rows("small") if row["prompt_id"] == "tea"]
    assert {(row["replica"], row["seed"]) for row in rows} == {(0, 7), (1, 8)}


def test_rows_sum_exactly_to_the_bill(built: Built) -> None:
    """Two readers, one fact."""
    rows = built.site.rows("small")
    assert sum(row["cost_usd"] for row in rows) == Decimal(built.bill["usd"])
    with built.site.ledger() as ledger:
        assert ledger.spent() == Decimal(built.bill["usd"])


def test_prompts_that_share_a_purchase_have_a_row_each_and_one_bears_the_cost(
    built: Built,
) -> None:
    """The same images under two prompts, paid for once, by the first prompt id."""
    rows = [row for row in built.site.rows("small") if row["prompt_id"].startswith("twin")]
    assert [(row["prompt_id"], row["image_index"]) for row in rows] == [
        ("twin-1", 0),
        ("twin-1", 1),
        ("twin-2", 0),
        ("twin-2", 1),
    ]
    assert len({row["request_id"] for row in rows}) == 1
    assert [row["image_id"] for row in rows[:2]] == [row["image_id"] for row in rows[2:]]
    assert [row["cost_usd"] for row in rows] == [Decimal("0.03"), Decimal("0.03"), 0, 0]


def test_rows_are_sorted(built: Built) -> None:
    """By prompt, request and image, so that the same content is the same file."""
    keys = [
        (row["prompt_id"], row["request_id"], row["image_index"])
        for row in built.site.rows("small")
    ]
    assert keys == sorted(keys)
    assert len(keys) == 9


def test_a_rebuild_is_the_same_file_to_the_byte(built: Built, tmp_path: Path) -> None:
    """Nothing of the rebuild's own time or run is in it."""
    site, again = built.site, tmp_path / "again.parquet"
    with site.ledger() as ledger:
        write_metadata(
            site.layout.tables("small") / REQUESTS_FILE,
            ledger=ledger,
            prompt_set="small",
            out=again,
            phashes=known_hashes(site),
        )
    assert again.read_bytes() == built.first_table


def test_the_order_of_the_prompt_file_does_not_matter(built: Built, tmp_path: Path) -> None:
    """Moved rows: the same table, because identity is content."""
    site, shuffled = built.site, tmp_path / "requests.parquet"
    table = pq.read_table(site.layout.tables("small") / REQUESTS_FILE)
    pq.write_table(table.take(list(range(table.num_rows))[::-1]), shuffled)
    with site.ledger() as ledger:
        write_metadata(
            shuffled,
            ledger=ledger,
            prompt_set="small",
            out=tmp_path / "out.parquet",
            phashes=known_hashes(site),
        )
    assert (tmp_path / "out.parquet").read_bytes() == built.first_table


def test_another_set_that_shares_a_purchase_names_its_buyer(built: Built, tmp_path: Path) -> None:
    """The row keeps its cost and says which set paid it: per-set sums filter by that."""
    site, out = built.site, tmp_path / "other.parquet"
    requests = site.layout.tables("small") / REQUESTS_FILE
    with site.ledger() as ledger:
        write_metadata(requests, ledger=ledger, prompt_set="other", out=out)
    rows = pq.read_table(out).to_pylist()
    assert {(row["prompt_set"], row["bought_by_set"]) for row in rows} == {("other", "small")}
    assert sum(row["cost_usd"] for row in rows if row["bought_by_set"] == "other") == 0


@given(
    nano=st.integers(min_value=0, max_value=10**17),
    images=st.integers(min_value=1, max_value=4),
)
def test_shares_of_a_cost_sum_to_it(nano: int, images: int) -> None:
    """Whole nano-dollars, none lost, none but the first one larger."""
    cost = Decimal(nano) / 10**9
    shares = share_cost(cost, images)
    assert sum(shares) == cost
    assert len(shares) == images
    assert all(share == shares[-1] for share in shares[1:])
    assert 0 <= shares[0] - shares[-1] < images * Decimal("1e-9")
