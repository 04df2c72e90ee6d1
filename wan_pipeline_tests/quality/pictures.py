"""Stored images and metadata tables made by hand, for what an emulator never paints."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from random import Random
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image, ImageDraw

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.quality.elsewhere import ElsewhereSummary, write_elsewhere
from wan_pipeline.dataset.quality.flags import Thresholds
from wan_pipeline.dataset.quality.measuring import measure_images
from wan_pipeline.dataset.quality.table import QualitySummary, write_quality
from wan_pipeline.dataset.store import ImageStore, StoredImage

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.layout import DataLayout

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)


def scene(number: int, size: tuple[int, int] = (160, 120)) -> Image.Image:
    """A picture unlike those of other numbers."""
    rng = Random(number)
    image = Image.new("RGB", size, tuple(rng.randrange(256) for _ in range(3)))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y = rng.randrange(size[0]), rng.randrange(size[1])
        reach = rng.randrange(8, 50)
        colour = tuple(rng.randrange(256) for _ in range(3))
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=colour)
    return image


def encoded(image: Image.Image, fmt: str = "PNG", **options: Any) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, fmt, **options)
    return buffer.getvalue()


@dataclass
class MadeSet:
    """A prompt set whose images and metadata are made by hand."""

    layout: DataLayout
    name: str
    rows: list[dict[str, Any]] = field(default_factory=list)

    def add(self, image: Image.Image | bytes, **changes: Any) -> str:
        """Store an image and give it a row; its id."""
        data = image if isinstance(image, bytes) else encoded(image)
        stored = ImageStore(self.layout.root).put(data, "png")
        self.rows.append(self._row(stored, image, changes))
        return stored.image_id

    def _row(
        self, stored: StoredImage, image: Image.Image | bytes, changes: dict[str, Any]
    ) -> dict[str, Any]:
        number = len(self.rows)
        width, height = (64, 64) if isinstance(image, bytes) else image.size
        plain = {
            pa.string(): "x",
            pa.int32(): 1,
            pa.int64(): 1,
            pa.bool_(): False,
            pa.decimal128(18, 9): Decimal("0.03"),
            pa.timestamp("us", tz="UTC"): NOW,
        }
        return {
            **{each.name: plain[each.type] for each in METADATA if not each.nullable},
            "prompt_set": self.name,
            "prompt_id": f"p-{number:04}",
            "request_id": f"{number:064x}",
            "image_index": 0,
            "prompt": f"prompt number {number}",
            "image_id": stored.image_id,
            "path": stored.path,
            "bytes": stored.bytes,
            "size": f"{width}*{height}",
            "width": width,
            "height": height,
            "prompt_columns": "{}",
            **changes,
        }

    def write(self) -> Path:
        """Write the metadata table."""
        path = self.layout.metadata(self.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.Table.from_pylist(self.rows, schema=METADATA), path)
        return path

    def judge(self, **thresholds: Any) -> QualitySummary:
        """Write the metadata table and both quality tables."""
        files = {row["image_id"]: self.layout.root / row["path"] for row in self.rows}
        return write_quality(
            self.write(),
            measured=measure_images(files, MeasurementCache(self.layout.measurements)),
            thresholds=Thresholds(**thresholds),
            out=self.layout.quality(self.name),
            pairs_out=self.layout.quality_pairs(self.name),
        )

    def compare(self, *others: MadeSet) -> ElsewhereSummary:
        """Write the pairs with other sets."""
        return write_elsewhere(
            self.layout.quality(self.name),
            {other.name: self.layout.quality(other.name) for other in others},
            distance=4,
            out=self.layout.quality_elsewhere(self.name),
        )

    def told(self) -> list[dict[str, Any]]:
        """Rows of the quality table."""
        return pq.read_table(self.layout.quality(self.name)).to_pylist()

    def pairs(self) -> list[dict[str, Any]]:
        """Rows of the pair table."""
        return pq.read_table(self.layout.quality_pairs(self.name)).to_pylist()
