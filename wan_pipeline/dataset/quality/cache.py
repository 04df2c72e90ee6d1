"""Measurements on disk, under the id of the image: what was measured once is never measured again.

A folder of Parquet parts, each written whole under the hash of what is in it, so that any number of
runs on any number of machines may add to it at once. Small parts are put together now and then.
It can be removed at any time, which costs a decode per image; a part that cannot be read is taken
away for the same reason.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

import hashlib
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from filelock import FileLock, Timeout

from wan_pipeline.dataset.atomic import atomic_path
from wan_pipeline.dataset.quality.labels import Label
from wan_pipeline.dataset.quality.measure import Measurement
from wan_pipeline.temp_files import TEMP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

__all__ = ["MeasurementCache"]

# Another way to measure is another folder: what is in the old one says something else.
_VERSION = "v1"
_SMALL_ROWS = 20_000
_MANY_PARTS = 16
_LOOKS = 50
_ROWS_AT_ONCE = 4_096  # as Python values, ten times the size

_PART: Any = pa.schema(
    [
        pa.field("image_id", pa.binary(32), nullable=False),
        pa.field("phash", pa.uint64(), nullable=False),
        pa.field("contrast", pa.float64(), nullable=False),
        pa.field("corner_contrast", pa.float64(), nullable=False),
        pa.field("labels", pa.list_(pa.string()), nullable=False),
    ]
)


class MeasurementCache:
    """Measurements of a profile's images, by image id."""

    def __init__(self, root: Path) -> None:
        """Use the folder `root`; it is made with the first measurement."""
        self._folder = root / _VERSION

    def get(self, image_ids: Iterable[str]) -> dict[str, Measurement]:
        """What is known of some images; the others are absent.

        Raises:
            OSError: the disk refused.
        """
        wanted = pa.array([bytes.fromhex(each) for each in set(image_ids)], pa.binary(32))
        found: dict[str, Measurement] = {}
        for part in self._parts():
            some = part.filter(pc.is_in(part["image_id"], value_set=wanted))
            for batch in some.to_batches(max_chunksize=_ROWS_AT_ONCE):
                for row in batch.to_pylist():
                    found[row["image_id"].hex()] = Measurement(
                        phash=row["phash"],
                        contrast=row["contrast"],
                        corner_contrast=row["corner_contrast"],
                        labels=tuple(Label(label) for label in row["labels"]),
                    )
        return found

    def add(self, measured: Mapping[str, Measurement]) -> None:
        """Keep measurements; they survive a power cut.

        Raises:
            OSError: the disk refused.
        """
        if not measured:
            return
        ids = sorted(measured)
        columns = {
            "image_id": [bytes.fromhex(each) for each in ids],
            "phash": [measured[each].phash for each in ids],
            "contrast": [measured[each].contrast for each in ids],
            "corner_contrast": [measured[each].corner_contrast for each in ids],
            "labels": [list(measured[each].labels) for each in ids],
        }
        self._write(pa.Table.from_pydict(columns, schema=_PART))
        self._put_together()

    def _write(self, table: Any) -> Path:
        # Ids that were measured by the same rule have the same measurements.
        ids = b"".join(table["image_id"].to_pylist())
        path = self._folder / f"{hashlib.sha256(ids).hexdigest()[:32]}.parquet"
        with atomic_path(path) as temp:
            pq.write_table(table, temp, compression="zstd")
        return path

    def _parts(self) -> Iterator[Any]:
        """Every part's table; one that another process put together meanwhile is found there.

        What was read stays valid, so that each further look has only the new parts to read, and
        comes to an end however many write at once.
        """
        done: set[Path] = set()
        for attempt in range(_LOOKS):
            vanished = None
            for path in self._files():
                if path in done:
                    continue
                try:
                    table = _read(path)
                except FileNotFoundError as error:
                    vanished = error
                    continue
                done.add(path)
                if table is not None:
                    yield table
            if vanished is None:
                return
            if attempt + 1 == _LOOKS:
                raise vanished

    def _files(self) -> list[Path]:
        names = self._folder.glob("*.parquet") if self._folder.is_dir() else ()
        return sorted(path for path in names if not path.name.startswith(TEMP_PREFIX))

    def _put_together(self) -> None:
        """Make one part of the small ones when they have become many."""
        if len(self._files()) < _MANY_PARTS:
            return
        with (
            suppress(Timeout, FileNotFoundError),  # somebody else is at it
            FileLock(self._folder / ".together.lock", timeout=0),
        ):
            small = {
                path: table
                for path in self._files()
                if (table := _read(path)) is not None and table.num_rows < _SMALL_ROWS
            }
            if len(small) < _MANY_PARTS:
                return
            whole = pa.concat_tables(small.values()).sort_by("image_id")
            ids = whole["image_id"].combine_chunks()
            first = pc.not_equal(ids[1:], ids[:-1]).to_pylist()
            written = self._write(whole.filter(pa.array([True, *first])))
            for path in small:
                if path != written:
                    path.unlink(missing_ok=True)


def _read(path: Path) -> Any | None:
    """A part; None when it is damaged, and then it is gone."""
    try:
        table = pq.read_table(path, schema=_PART)
    except (FileNotFoundError, PermissionError):
        raise
    except (pa.ArrowException, OSError, ValueError):
        path.unlink(missing_ok=True)
        return None
    return table
