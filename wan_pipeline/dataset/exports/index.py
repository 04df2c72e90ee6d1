"""The index of an export: which row of the release lies where, under which two hashes.

It is written as images come, with shard numbers, and once more when the shards have their names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.dataset.fields import known, optional

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.dataset.exports.items import Item
    from wan_pipeline.dataset.exports.writer import ExportWriter, Place

__all__ = ["INDEX", "INDEX_FILE", "IndexWriter"]

INDEX_FILE = "index.parquet"
CHUNK = 2_000


INDEX: Any = pa.schema(
    [
        known("image_id", pa.string(), "SHA-256 of the bytes as received"),
        known("file_sha256", pa.string(), "SHA-256 of the bytes as shipped"),
        known("request_id", pa.string(), "the request that brought it"),
        known("image_index", pa.int32(), "which of the request's images, from 0"),
        known("split", pa.string(), "train, validation or test"),
        known("path", pa.string(), "the file in the export that holds it"),
        optional("member", pa.string(), "its name within an archive"),
        optional("row", pa.int64(), "its row within a table of bytes, from 0"),
    ]
)
_SHARD = pa.field("shard", pa.int64())


class IndexWriter:
    """Writes `index.parquet` of an export's folder."""

    def __init__(self, folder: Path) -> None:
        self._final = folder / INDEX_FILE
        self._early = folder / f"early-{INDEX_FILE}"
        named = [each for each in INDEX if each.name != "path"]
        self._schema = pa.schema([*named, pa.field("path", pa.string()), _SHARD])
        self._writer = pq.ParquetWriter(self._early, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def add(self, item: Item, place: Place) -> None:
        """Note where an item was put."""
        of_item = ("image_id", "file_sha256", "request_id", "image_index", "split")
        of_place = ("path", "member", "row", "shard")
        self._rows.append(
            {name: getattr(item, name) for name in of_item}
            | {name: getattr(place, name) for name in of_place}
        )
        if len(self._rows) >= CHUNK:
            self._flush()

    def finish(self, writer: ExportWriter) -> None:
        """Write the table under the final names of the shards."""
        self._flush()
        self._writer.close()
        with (
            pq.ParquetFile(self._early, pre_buffer=False) as early,
            pq.ParquetWriter(self._final, INDEX, compression="zstd") as final,
        ):
            for batch in early.iter_batches(CHUNK, use_threads=False):
                rows: list[dict[str, Any]] = batch.to_pylist()
                for row in rows:
                    shard = row.pop("shard")
                    row["path"] = row["path"] or writer.shard_name(row["split"], shard)
                final.write_table(pa.Table.from_pylist(rows, schema=INDEX))
        self._early.unlink()

    def abandon(self) -> None:
        """Close what will not be completed."""
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, schema=self._schema))
            self._rows.clear()
