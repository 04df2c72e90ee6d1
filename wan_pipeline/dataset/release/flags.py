"""The quality flags of a set to release: what its quality table says, held against the pixels.

Flags follow from metadata, measurements and thresholds alone, so they are told anew here and the
table must say the same. A set that was never checked has no table and no flags.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.dataset.quality.measuring import Measured, measure_images
from wan_pipeline.dataset.quality.table import QUALITY, READ, near_by_image, quality_rows
from wan_pipeline.dataset.release.cells import different_cells, shortened
from wan_pipeline.dataset.release.errors import StaleTableError

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.dataset.quality.cache import MeasurementCache
    from wan_pipeline.dataset.quality.flags import Thresholds
    from wan_pipeline.dataset.release.sources import PlannedSet, SetSource

__all__ = ["SetFlags", "measured_of"]

#: Columns of the quality table that decide what is released.
RELEASED = ("request_id", "image_index", "image_id", "prompt_id", "flags")
ROWS_AT_ONCE = 1_024


def measured_of(planned: PlannedSet, cache: MeasurementCache, data_root: Path) -> Measured:
    """What is known of a set's images; one that is not known yet is decoded.

    Args:
        planned: the set.
        cache: what is known; added to.
        data_root: ``data/<profile>``.

    Raises:
        OSError: the measurements cannot be read or kept.
    """
    known = cache.get(planned.files)
    missing = {
        image_id: data_root / path
        for image_id, path in planned.files.items()
        if image_id not in known
    }
    if not missing:
        return Measured(known=known)
    new = measure_images(missing, cache)
    known.update(new.known)
    return Measured(known=known, problems=new.problems, decoded=new.decoded)


class SetFlags:
    """The flags of one set's images, in the order of its metadata table."""

    def __init__(
        self, source: SetSource, planned: PlannedSet, measured: Measured, thresholds: Thresholds
    ) -> None:
        """Read the quality table, if there is one.

        Raises:
            StaleTableError: it cannot be read.
        """
        self._source = source
        self._measured, self._thresholds = measured, thresholds
        self._at = 0
        self._table = _read(source) if source.quality.is_file() else None
        self._near = (
            {} if self._table is None else near_by_image(planned.files, measured, thresholds)
        )

    @property
    def checked(self) -> bool:
        """Whether the set's images were checked."""
        return self._table is not None

    def of(self, batch: pa.RecordBatch) -> list[list[str]]:
        """The flags of the next rows of the metadata table.

        Raises:
            StaleTableError: the quality table says something else.
        """
        if self._table is None:
            return [[] for _ in range(batch.num_rows)]
        flags: list[list[str]] = []
        for start in range(0, batch.num_rows, ROWS_AT_ONCE):
            flags += self._held(self._table, batch.slice(start, ROWS_AT_ONCE))
        return flags

    def _held(self, table: Any, batch: Any) -> list[list[str]]:
        """The same for as many rows as may be Python values at once."""
        rows: list[dict[str, Any]] = batch.select(list(READ)).to_pylist()
        fresh = quality_rows(rows, self._measured, self._near, self._thresholds)
        expected: list[dict[str, Any]] = fresh.select(list(RELEASED)).to_pylist()
        found: list[dict[str, Any]] = table.slice(self._at, batch.num_rows).to_pylist()
        if len(found) < len(expected):
            raise _stale(self._source, f" has only {self._at + len(found)} rows, too few")
        for row, other in zip(found, expected, strict=True):
            if wrong := different_cells(row, other, RELEASED):
                raise _stale(self._source, self._difference(row, other, wrong[0]))
        self._at += batch.num_rows
        return [row["flags"] for row in expected]

    def check_end(self) -> None:
        """Whether the table ends where the metadata does.

        Raises:
            StaleTableError: it has more rows.
        """
        if self._table is not None and self._table.num_rows != self._at:
            raise _stale(self._source, f" has {self._table.num_rows} rows instead of {self._at}")

    def _difference(self, row: dict[str, Any], expected: dict[str, Any], column: str) -> str:
        told = f"{column} is {shortened(row[column])}, but"
        if column == "flags":
            told += (
                f" {shortened(expected[column])} by metadata, pixels and the thresholds in force"
                f" (WAN_NEAR_DUPLICATE_DISTANCE={self._thresholds.near_duplicate_distance},"
                f" WAN_BLANK_CONTRAST={self._thresholds.blank_contrast:g})"
            )
        else:
            told += f" {shortened(expected[column])} in the metadata table"
        return f", request {expected['request_id']}, image {expected['image_index']}: {told}"


def _read(source: SetSource) -> Any:
    """The table's columns that decide what is released."""
    try:
        table: Any = pq.read_table(source.quality)
    except (pa.ArrowException, OSError) as error:
        raise _stale(source, f" cannot be read ({str(error).splitlines()[0]})") from error
    if not table.schema.equals(QUALITY):
        raise _stale(source, " has the columns of another version")
    return table.select(list(RELEASED))


def _stale(source: SetSource, what: str) -> StaleTableError:
    return StaleTableError(
        f"{source.quality}{what}. The table was changed, or is older than the images, the"
        f" thresholds or this version: `wan run {source.prompt_set}` (free when nothing is"
        " missing), or the job `publish` for that set, writes it anew; without that file the set"
        " is released unchecked. Nothing was made"
    )
