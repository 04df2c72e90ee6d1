"""Rows of the gallery: the metadata table, with what was measured where it still holds."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.report.rows import gallery_rows

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.report.items import GalleryRow

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
QUALITY = pa.schema(
    [
        ("request_id", pa.string()),
        ("image_index", pa.int32()),
        ("image_id", pa.string()),
        ("prompt_id", pa.string()),
        ("phash", pa.string()),
        ("contrast", pa.float64()),
        ("near_duplicates", pa.int32()),
        ("near_duplicate_group", pa.string()),
        ("flags", pa.list_(pa.string())),
    ]
)


def metadata_row(number: int) -> dict[str, Any]:
    """A row of the metadata table with every column that must be there."""
    empty: dict[Any, Any] = {
        pa.string(): "",
        pa.int32(): 0,
        pa.int64(): 0,
        pa.bool_(): False,
        pa.timestamp("us", tz="UTC"): NOON,
    }
    row = {field.name: empty.get(field.type) for field in METADATA if not field.nullable}
    return row | {
        "request_id": f"r{number}",
        "image_id": f"{number:064x}",
        "prompt_id": f"p{number}",
        "path": f"images/{number}.png",
        "size": "1280*1280",
        "width": 1280,
        "height": 1280 + number,
        "cost_usd": Decimal("0.03"),
        "prompt_columns": '{"style": "ink"}',
        "actual_prompt": None,
    }


def quality_row(number: int, **values: Any) -> dict[str, Any]:
    """What was measured of that image."""
    row = {
        "request_id": f"r{number}",
        "image_index": 0,
        "image_id": f"{number:064x}",
        "prompt_id": f"p{number}",
        "phash": "0" * 16,
        "contrast": 40.0,
        "near_duplicates": 1,
        "near_duplicate_group": f"{0:064x}",
        "flags": ["near_duplicate"],
    }
    return row | values


def read(tmp_path: Path, **tables: Path) -> list[GalleryRow]:
    """Rows of two images, neither of which can be decoded."""
    metadata = tmp_path / "metadata.parquet"
    pq.write_table(pa.Table.from_pylist([metadata_row(0), metadata_row(1)], METADATA), metadata)
    rows, failed = gallery_rows(
        metadata, data_root=tmp_path, thumbnails=tmp_path / "thumbnails", **tables
    )
    assert len(failed) == 2
    return rows


def test_without_quality_rows_are_the_metadata(tmp_path: Path) -> None:
    """Everything the page tells is read; what was not measured is not known."""
    first, second = read(tmp_path, quality=tmp_path / "no.parquet", pairs=tmp_path / "none.parquet")
    assert first.prompt_columns == {"style": "ink"}
    assert (first.size_matches, second.size_matches) == (True, False)
    assert first.created_at == NOON
    assert (first.thumb, first.quality) == (None, None)


def test_quality_belongs_to_the_image_it_was_measured_of(tmp_path: Path) -> None:
    """Where the image is another one by now, nothing is known; pairs tell the nearest one."""
    quality, pairs = tmp_path / "q.parquet", tmp_path / "q.pairs.parquet"
    rows = [quality_row(0), quality_row(1, image_id="another")]
    pq.write_table(pa.Table.from_pylist(rows, QUALITY), quality)
    listed = [
        {"image_a": f"{0:064x}", "image_b": "x", "distance": distance} for distance in (4, 2, 3)
    ]
    pq.write_table(pa.Table.from_pylist(listed), pairs)
    first, second = read(tmp_path, quality=quality, pairs=pairs)
    assert first.quality is not None
    assert list(first.quality.flags) == ["near_duplicate"]
    assert first.quality.nearest == 2
    assert second.quality is None


def test_a_damaged_table_is_named(tmp_path: Path) -> None:
    """With what to do."""
    damaged = tmp_path / "q.parquet"
    damaged.write_bytes(b"PAR1")
    with pytest.raises(UnreadablePromptFileError, match=r"q\.parquet.*[Mm]aterialize"):
        read(tmp_path, quality=damaged)
