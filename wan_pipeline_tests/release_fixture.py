"""A small release of pictures in all formats, put together by hand, on all sides of the split."""

from __future__ import annotations

import hashlib
import io
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from wan_pipeline.dataset.release.facts import (
    Cost,
    Counts,
    Hashes,
    LedgerRange,
    Price,
    PromptSetFacts,
    SplitCounts,
    TableFile,
)
from wan_pipeline.dataset.release.manifest import (
    FORMAT,
    FORMAT_VERSION,
    Manifest,
    write_manifest,
)
from wan_pipeline.dataset.release.reader import Release, open_release
from wan_pipeline.dataset.release.tables import (
    IMAGES_FILE,
    MANIFEST_FILE,
    RELEASE_IMAGES,
    TABLE_SCHEMAS,
    described,
)
from wan_pipeline.dataset.store import ImageStore

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["FORMATS", "made_row", "make_release", "picture"]

FORMATS = ("png", "webp", "jpeg")
MOMENT = datetime(2026, 11, 1, 12, tzinfo=UTC)
SPLITS = ("train", "train", "train", "validation", "train", "test")


def picture(number: int, fmt: str) -> bytes:
    """A picture of its own."""
    buffer = io.BytesIO()
    shade = Image.linear_gradient("L").resize((24, 16)).rotate(number * 7)
    Image.merge("RGB", [shade, shade.rotate(90), shade.rotate(180)]).save(buffer, fmt)
    return buffer.getvalue()


def made_row(number: int, *, image_id: str, path: str, fmt: str, size: int) -> dict[str, Any]:
    """A row of a release as a build would leave it."""
    return {
        "request_id": hashlib.sha256(f"request {number}".encode()).hexdigest(),
        "image_index": 0,
        "image_id": image_id,
        "prompt_set": "hand",
        "prompt_id": f"p{number:06d}",
        "model": "wan2.5-t2i-preview",
        "prompt": f"picture {number}, a \N{SNOWMAN} & <b>",
        "negative_prompt": "",
        "size": "1280*1280",
        "width": 24,
        "height": 16,
        "n": 1,
        "seed": number,
        "seed_source": "derived",
        "replica": 0,
        "prompt_extend": False,
        "watermark": False,
        "actual_prompt": None,
        "profile": "emulator",
        "dialect": "gateway",
        "task_id": f"task-{number}",
        "job_id": None,
        "submitted_at": MOMENT,
        "completed_at": MOMENT + timedelta(seconds=9),
        "latency_s": 9.0,
        "url": f"http://user:pass@127.0.0.1/{number}.png?Expires=1&Signature=s3cret#top",
        "url_expires_at": None,
        "path": path,
        "format": fmt,
        "bytes": size,
        "phash": None,
        "cost_usd": Decimal("0.030000000"),
        "discount": None,
        "cost_source": "reported",
        "bought_by_set": "hand",
        "run_id": "run",
        "code_version": "0.1.0",
        "created_at": MOMENT,
        "provider_metadata": None,
        "prompt_columns": '{"topic":"snow"}',
        "split": SPLITS[number % len(SPLITS)],
        "quality_flags": ["near_duplicate"] if number == 2 else [],
    }


def make_release(root: Path, files: Iterable[tuple[bytes, str]]) -> Release:
    """A release `hand@v1` below a profile's data folder, with one row for each file.

    Args:
        root: the profile's data folder.
        files: bytes and format of each image.
    """
    store, rows, images = ImageStore(root), [], {}
    for number, (data, fmt) in enumerate(files):
        stored = store.put(data, fmt)  # pyright: ignore[reportArgumentType]
        images[stored.path] = stored.bytes
        rows.append(
            made_row(number, image_id=stored.image_id, path=stored.path, fmt=fmt, size=stored.bytes)
        )
    table = pa.Table.from_pylist(rows, schema=RELEASE_IMAGES)
    return write_release(root, [table], images)


def write_release(root: Path, tables: Iterable[pa.Table], images: dict[str, int]) -> Release:
    """The release's folder, from its rows."""
    folder = root / "releases" / "hand" / "v1"
    folder.mkdir(parents=True)
    splits: dict[str, int] = {}
    with pq.ParquetWriter(folder / IMAGES_FILE, RELEASE_IMAGES) as writer:
        for table in tables:
            writer.write_table(table)
            for split in table["split"].to_pylist():
                splits[split] = splits.get(split, 0) + 1
    for file, schema in TABLE_SCHEMAS.items():
        if file != IMAGES_FILE:
            pq.write_table(schema.empty_table(), folder / file)
    count = sum(splits.values())
    manifest = Manifest(
        format=FORMAT,
        format_version=FORMAT_VERSION,
        name="hand",
        version=1,
        profile="emulator",
        created_at=MOMENT,
        code_version="0.1.0",
        hashes=Hashes(content="1" * 64, manifest="0" * 64),
        prompt_sets=(
            PromptSetFacts(
                name="hand",
                file="hand.csv",
                file_sha256="2" * 64,
                rows_version="3" * 64,
                prompts=count,
                requests=count,
                images=count,
                rejections=0,
                images_short=0,
                missing=(),
                quality_checked=count,
            ),
        ),
        counts=Counts(
            images=count,
            files=len(images),
            file_bytes=sum(images.values()),
            requests=count,
            prompts=count,
            by_split={name: SplitCounts(images=n, prompts=n) for name, n in splits.items()},
            files_in_several_splits=0,
            flagged=1,
        ),
        cost=Cost(
            total_usd=Decimal("0.03") * count, purchases=count, by_source={"reported": Decimal(1)}
        ),
        price=Price(usd_per_image=Decimal("0.03"), source="price table", table_version="2026-11"),
        split={"train": "0.8", "validation": "0.1", "test": "0.1"},
        settings={},
        ledger=LedgerRange(first_event=1, last_event=9, newest_event=9),
        tables=tuple(
            TableFile(
                file=file,
                bytes=(folder / file).stat().st_size,
                sha256=hashlib.sha256((folder / file).read_bytes()).hexdigest(),
                rows=count if file == IMAGES_FILE else 0,
                columns=described(schema),
            )
            for file, schema in TABLE_SCHEMAS.items()
        ),
        images=images,
    )
    write_manifest(folder / MANIFEST_FILE, manifest)
    return open_release(root / "releases", "hand@v1")
