"""The tables this package writes: their schemas, and Parquet files that are whole or not there.

Schemas are written down here once; readers of the tables take them from here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.temp_files import sweep_temp_files, temp_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import TracebackType
    from typing import Self

__all__ = ["PROMPTS", "REJECTS", "REQUESTS", "AtomicParquetWriter"]


def _required(name: str, kind: Any) -> Any:
    return pa.field(name, kind, nullable=False)


#: One row per accepted prompt, in file order.
PROMPTS: Any = pa.schema(
    [
        _required("prompt_id", pa.string()),
        _required("prompt", pa.string()),
        _required("negative_prompt", pa.string()),
        _required("size", pa.string()),
        _required("n", pa.int64()),
        pa.field("seed", pa.int64()),
        _required("replicas", pa.int64()),
        _required("prompt_extend", pa.bool_()),
        _required("watermark", pa.bool_()),
        _required("prompt_columns", pa.string()),
        _required("row", pa.int64()),
    ]
)

#: One row per broken rule.
REJECTS: Any = pa.schema(
    [
        _required("file", pa.string()),
        _required("row", pa.int64()),
        pa.field("column", pa.string()),
        pa.field("value", pa.string()),
        _required("rule", pa.string()),
        _required("remedy", pa.string()),
        # Template and values of a prompt matrix, which has no rows that a person could count.
        pa.field("place", pa.string()),
    ]
)

#: One row per request of a prompt; rows that share a request id are one purchase.
REQUESTS: Any = pa.schema(
    [
        _required("request_id", pa.string()),
        _required("prompt_id", pa.string()),
        _required("replica", pa.int64()),
        _required("row", pa.int64()),
        _required("seed_source", pa.string()),
        _required("model", pa.string()),
        _required("prompt", pa.string()),
        _required("negative_prompt", pa.string()),
        _required("size", pa.string()),
        _required("width", pa.int64()),
        _required("height", pa.int64()),
        _required("n", pa.int64()),
        _required("seed", pa.int64()),
        _required("prompt_extend", pa.bool_()),
        _required("watermark", pa.bool_()),
        _required("prompt_columns", pa.string()),
    ]
)


class AtomicParquetWriter:
    """Writes a Parquet file next to its final place and moves it there when it is complete.

    Use as a context manager; without `publish` nothing of it remains. Where several tables belong
    together, `finish` each (slow, may fail) before publishing any (fast).
    """

    def __init__(self, path: Path, schema: Any) -> None:
        self._path = path
        self._schema = schema
        path.parent.mkdir(parents=True, exist_ok=True)
        sweep_temp_files(path.parent)
        self._temporary = temp_path(path)
        self._file = self._temporary.open("xb")
        self._writer: Any = pq.ParquetWriter(self._file, schema, compression="zstd")
        self._finished = False

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Remove what was not published."""
        try:
            if not self._finished:
                self._writer.close()
        finally:
            self._file.close()
            self._temporary.unlink(missing_ok=True)

    def write_batch(self, batch: Any) -> None:
        """Append a record batch of the table's schema."""
        if batch.num_rows:
            self._writer.write_batch(batch)

    def write_columns(self, columns: Mapping[str, Sequence[object]]) -> None:
        """Append rows given as one sequence of values per column."""
        self.write_batch(pa.RecordBatch.from_pydict(columns, schema=self._schema))

    def write_records(self, records: Sequence[object]) -> None:
        """Append rows given as objects with an attribute per column."""
        names: list[str] = self._schema.names
        self.write_columns({n: [getattr(record, n) for record in records] for n in names})

    def note(self, name: str, text: str) -> None:
        """Keep a text in the file beside its rows."""
        self._writer.add_key_value_metadata({name: text})

    def finish(self) -> None:
        """Complete the file on disk, still under its temporary name."""
        self._writer.close()
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._finished = True

    def publish(self) -> None:
        """Replace the old table by this one; finishes first when that was not done."""
        if not self._finished:
            self.finish()
        self._temporary.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
