"""Write the tables of a release into a folder, streamed, and count what is in them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from wan_pipeline.dataset.release.content import CONTENT_COLUMNS, ContentHash
from wan_pipeline.dataset.release.facts import Cost, Counts, LedgerRange, SplitCounts
from wan_pipeline.dataset.release.flags import SetFlags, measured_of
from wan_pipeline.dataset.release.sources import image_rows
from wan_pipeline.dataset.release.split import Split
from wan_pipeline.dataset.release.tables import (
    EVENTS_FILE,
    IMAGES_FILE,
    PURCHASES_FILE,
    RELEASE_IMAGES,
    TABLE_SCHEMAS,
)
from wan_pipeline.ledger.extract import purchase_rows
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.prompts.tables import AtomicParquetWriter

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from wan_pipeline.dataset.quality.cache import MeasurementCache
    from wan_pipeline.dataset.quality.flags import Thresholds
    from wan_pipeline.dataset.release.sources import PlannedSet, SetSource
    from wan_pipeline.dataset.release.split import SplitRatios
    from wan_pipeline.ledger.reading import LedgerReader

__all__ = ["ImagesWritten", "LedgerWritten", "Pixels", "write_images", "write_ledger_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pixels:
    """What the images themselves are held against.

    Attributes:
        measurements: what is known of them.
        thresholds: where the quality flags begin to hold.
        data_root: ``data/<profile>``, where they lie.
    """

    measurements: MeasurementCache
    thresholds: Thresholds
    data_root: Path


@dataclass(slots=True, kw_only=True)
class ImagesWritten:
    """What the table of images holds.

    Attributes:
        content: hash of the rows so far.
        files: length by path of the image files.
        images_of: rows by prompt set.
        checked_of: rows by prompt set that the quality table knows.
    """

    content: ContentHash = field(default_factory=ContentHash)
    files: dict[str, int] = field(default_factory=dict[str, int])
    images_of: Counter[str] = field(default_factory=Counter[str])
    checked_of: Counter[str] = field(default_factory=Counter[str])
    flagged: int = 0
    _requests: set[str] = field(default_factory=set[str])
    _prompts: dict[str, str] = field(default_factory=dict[str, str])
    _splits: Counter[str] = field(default_factory=Counter[str])
    _sides: dict[str, str] = field(default_factory=dict[str, str])
    _on_several: set[str] = field(default_factory=set[str])

    def add(self, batch: pa.RecordBatch) -> None:
        """Count a batch of rows in."""
        names = [*CONTENT_COLUMNS, "path", "bytes", "quality_flags"]
        rows: list[dict[str, Any]] = batch.select(names).to_pylist()
        self.content.add(rows)
        for row in rows:
            split: str = row["split"]
            self.files[row["path"]] = row["bytes"]
            self.images_of[row["prompt_set"]] += 1
            self.flagged += bool(row["quality_flags"])
            self._requests.add(row["request_id"])
            self._prompts[row["prompt_id"]] = split
            self._splits[split] += 1
            if self._sides.setdefault(row["path"], split) != split:
                self._on_several.add(row["path"])

    def counts(self) -> Counts:
        """The counts of the manifest."""
        prompts = Counter(self._prompts.values())
        return Counts(
            images=self._splits.total(),
            files=len(self.files),
            file_bytes=sum(self.files.values()),
            requests=len(self._requests),
            prompts=len(self._prompts),
            by_split={
                side.value: SplitCounts(images=self._splits[side], prompts=prompts[side])
                for side in Split
            },
            files_in_several_splits=len(self._on_several),
            flagged=self.flagged,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerWritten:
    """What the ledger's rows add up to."""

    cost: Cost
    ledger: LedgerRange


def write_images(
    folder: Path,
    sets: Mapping[str, tuple[SetSource, PlannedSet]],
    ratios: SplitRatios,
    *,
    ledger: LedgerReader,
    pixels: Pixels,
) -> ImagesWritten:
    """Write `images.parquet`: the sets' metadata in the order of their names, split and flags.

    Raises:
        StaleTableError: a table is not what plan, ledger and pixels say.
    """
    written = ImagesWritten()
    types: Any = RELEASE_IMAGES
    with AtomicParquetWriter(folder / IMAGES_FILE, RELEASE_IMAGES) as writer:
        for name, (source, planned) in sorted(sets.items()):
            measured = measured_of(planned, pixels.measurements, pixels.data_root)
            flags = SetFlags(source, planned, measured, pixels.thresholds)
            for batch in image_rows(source, planned, ledger=ledger, measured=measured):
                sides = [ratios.of(each).value for each in batch.column("prompt_id").to_pylist()]
                columns = [
                    *batch.columns,
                    pa.array(sides, types.field("split").type),
                    pa.array(flags.of(batch), types.field("quality_flags").type),
                ]
                full = pa.RecordBatch.from_arrays(columns, schema=types)
                written.add(full)
                writer.write_batch(full)
            flags.check_end()
            written.checked_of[name] = written.images_of[name] if flags.checked else 0
        writer.publish()
    return written


def write_ledger_rows(
    folder: Path, ledger: LedgerReader, attempts: Mapping[str, int]
) -> LedgerWritten:
    """Write `purchases.parquet` and `events.parquet`: the ledger's rows behind the images.

    Args:
        folder: where to.
        ledger: the ledger.
        attempts: which purchase of each request brought its images.

    Raises:
        LedgerUnavailableError: the database cannot be read.
    """
    total, count, sources = Decimal(0), 0, dict[str, Decimal]()
    first, last = 0, 0
    with snapshot(ledger) as view:
        with AtomicParquetWriter(folder / PURCHASES_FILE, TABLE_SCHEMAS[PURCHASES_FILE]) as writer:
            for columns in purchase_rows(view, "purchases", attempts):
                writer.write_columns(columns)
                costs = [cost or Decimal(0) for cost in columns["cost_usd"]]
                count, total = count + len(costs), total + sum(costs)
                for source, cost in zip(columns["cost_source"], costs, strict=True):
                    name = source or "not known"
                    sources[name] = sources.get(name, Decimal(0)) + cost
            writer.publish()
        with AtomicParquetWriter(folder / EVENTS_FILE, TABLE_SCHEMAS[EVENTS_FILE]) as writer:
            for columns in purchase_rows(view, "events", attempts):
                writer.write_columns(columns)
                numbers: list[int] = columns["seq"]
                first = min(first or numbers[0], *numbers)
                last = max(last, *numbers)
            writer.publish()
        newest = view.last_event
    return LedgerWritten(
        cost=Cost(total_usd=total, purchases=count, by_source=dict(sorted(sources.items()))),
        ledger=LedgerRange(first_event=first, last_event=last, newest_event=newest),
    )
