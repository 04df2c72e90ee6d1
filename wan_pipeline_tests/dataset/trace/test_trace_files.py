"""From a file: exported, changed, or known by nothing but what it says of itself."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.provenance.marking import Mark, mark
from wan_pipeline.dataset.trace.errors import (
    NothingFoundError,
    UnknownFileError,
)
from wan_pipeline.dataset.trace.story import FoundBy
from wan_pipeline_tests.dataset.release.workshop import Workshop, tiny_png
from wan_pipeline_tests.dataset.trace.conftest import of, rows

if TYPE_CHECKING:
    from pathlib import Path


def test_an_exported_file_with_other_bytes_is_found_by_the_exports_index(
    shop: Workshop, tmp_path: Path
) -> None:
    """In the usual place, and beside the file where an export was made elsewhere."""
    row = rows(shop, "tea")[0]
    marked = b"the same image with more words in it"
    digest = hashlib.sha256(marked).hexdigest()
    index = pa.table(
        {
            "image_id": [row["image_id"]],
            "file_sha256": [digest],
            "path": ["train/a.png"],
            "member": pa.array([None], pa.string()),
        }
    )
    for folder in (tmp_path / "mine", shop.layout.root / "exports/toys-v1/imagefolder-marked"):
        (folder / "train").mkdir(parents=True)
        (folder / "train" / "a.png").write_bytes(marked)
        if folder.parent == tmp_path:
            with pytest.raises(UnknownFileError):
                of(shop, folder / "train" / "a.png")
        pq.write_table(index, folder / "index.parquet")
        found = of(shop, folder / "train" / "a.png")
        assert found.image_ids == [row["image_id"]]
        assert "as exported to" in found.what
    (place,) = found.requests[0].exports
    assert (place.path, place.file_sha256) == ("train/a.png", digest)
    assert place.export.endswith("exports/toys-v1/imagefolder-marked")
    for asked, found_by in (
        (digest, FoundBy.EXPORTED_SHA256),
        (digest[:8].upper(), FoundBy.EXPORTED_SHA256),
        ("a.png", FoundBy.EXPORTED_NAME),
        ("train/a.png", FoundBy.EXPORTED_NAME),
    ):
        found = of(shop, asked)
        assert (found.image_ids, found.found_by) == ([row["image_id"]], found_by)
    with pytest.raises(NothingFoundError):
        of(shop, "b.png")
    (folder / "index.parquet").write_bytes(b"broken")
    assert any("index.parquet" in problem for problem in of(shop, row["image_id"]).problems)
    (folder / "index.parquet").unlink()


def test_a_changed_file_is_no_known_image(shop: Workshop, tmp_path: Path) -> None:
    """Its hash is told, and where it was looked for."""
    file = tmp_path / "changed.png"
    file.write_bytes(tiny_png("nobody painted this"))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    with pytest.raises(UnknownFileError, match=f"{digest}.*ledger"):
        of(shop, file)


def marked(shop: Workshop, row: dict[str, object], **says: str) -> bytes:
    """An image of the shop as an export would mark it."""
    stored = (shop.layout.root / str(row["path"])).read_bytes()
    values = {
        "model": "wan2.5-t2i-preview",
        "prompt_sha256": "a" * 64,
        "release": "toys@v2",
        "image_id": str(row["image_id"]),
        "request_id": str(row["request_id"]),
    }
    data = mark(stored, Mark(**{**values, **says}))
    assert data is not None
    return data


def test_a_file_of_unknown_bytes_is_traced_by_its_own_metadata(
    shop: Workshop, tmp_path: Path
) -> None:
    """Its export is gone, or another program has written it anew; which one, is told."""
    row, file = rows(shop, "tea")[0], tmp_path / "changed.png"
    file.write_bytes(marked(shop, row))
    found = of(shop, file)
    assert (found.kind, found.found_by, found.problems) == ("image", FoundBy.METADATA, [])
    assert found.image_ids == [row["image_id"]]
    assert found.requests[0].prompts[0].prompt_id == "tea"
    assert "by its own metadata; its bytes are in no export that is known" in found.what
    folder = shop.layout.exports / "toys-v2/imagefolder-marked"
    folder.mkdir(parents=True)
    index = {
        "image_id": [row["image_id"]],
        "file_sha256": ["d" * 64],
        "path": ["train/a.png"],
        "member": pa.array([None], pa.string()),
    }
    pq.write_table(pa.table(index), folder / "index.parquet")
    try:
        found = of(shop, file)
    finally:
        (folder / "index.parquet").unlink()
    assert "by its own metadata; its bytes are not those that were exported" in found.what


def test_metadata_that_does_not_fit_is_told(shop: Workshop, tmp_path: Path) -> None:
    """A file can say anything; what nobody knows leads nowhere."""
    row, file = rows(shop, "tea")[0], tmp_path / "odd.png"
    other = str(rows(shop, "twin-1")[0]["request_id"])
    file.write_bytes(marked(shop, row, request_id=other, release="gone@v3"))
    found = of(shop, file)
    assert found.image_ids == [row["image_id"]]
    assert [f"request {other}, which did not bring" in each for each in found.problems] == [
        True,
        False,
    ]
    assert "release gone@v3, which is not here" in found.problems[1]
    file.write_bytes(marked(shop, row, image_id="e" * 64))
    found = of(shop, file)
    assert (found.kind, found.found_by, found.image_ids) == ("request", FoundBy.METADATA, [])
    assert [each.request_id for each in found.requests] == [row["request_id"]]
    file.write_bytes(marked(shop, row, image_id="e" * 64, request_id="f" * 64))
    with pytest.raises(UnknownFileError, match=f"names image {'e' * 64}, request {'f' * 64}"):
        of(shop, file)
