"""Parquet shards with the image bytes in them, as Hugging Face's readers want them.

Image bytes are stored plain: they are compressed already, and a dictionary of them helps nobody.
Row groups are small, so that a reader who wants one image does not load hundreds.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.dataset.exports.columns import IMAGE, export_schema, table_of, with_features
from wan_pipeline.dataset.exports.shards import Shards
from wan_pipeline.dataset.exports.writer import Place

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.dataset.exports.items import Item

__all__ = ["ParquetWriter"]

GROUP_BYTES = 8_000_000
GROUP_ROWS = 200


def _is_searched(column: Any) -> bool:
    """Whether a reader gains by a column's minima and maxima: of hashes and long texts, nothing.

    They would be held in memory until a shard is closed, for each of its many row groups.
    """
    return column.name in ("prompt_set", "prompt_id") or not pa.types.is_string(column.type)


@dataclass(slots=True)
class _OpenShard:
    """The shard that a split's rows go to."""

    number: int
    sink: Any
    writer: Any
    rows: int = 0
    waiting: list[Item] = field(default_factory=list["Item"])
    waiting_bytes: int = 0


class ParquetWriter:
    """`data/<split>-00000-of-00003.parquet`."""

    def __init__(self, folder: Path, released: Any, shard_bytes: int) -> None:
        """Write into `folder`, closing a shard before it passes `shard_bytes`."""
        self.schema = with_features(export_schema(released, leading=IMAGE))
        others = [name for name in self.schema.names if name != IMAGE]
        self._encoding: dict[str, Any] = {
            "compression": dict.fromkeys([f"{IMAGE}.path", *others], "zstd")
            | {f"{IMAGE}.bytes": "none"},
            "use_dictionary": others,
            "write_statistics": [each for each in others if _is_searched(self.schema.field(each))],
        }
        self._shards = Shards(folder, "parquet")
        self._shard_bytes = shard_bytes
        self._open: dict[str, _OpenShard] = {}
        self._num_bytes: dict[str, int] = {}

    def add(self, item: Item) -> Place:
        """Put an item into its split's shard."""
        shard = self._open.get(item.split)
        if shard is not None and shard.rows:
            size = shard.sink.tell() + shard.waiting_bytes + len(item.data)
            if size > self._shard_bytes:
                self._close(item.split)
                shard = None
        if shard is None:
            shard = self._open[item.split] = self._begin(item.split)
        shard.waiting.append(replace(item, row={}))  # its batch has it
        shard.waiting_bytes += len(item.data)
        shard.rows += 1
        if shard.waiting_bytes >= GROUP_BYTES or len(shard.waiting) >= GROUP_ROWS:
            self._flush(item.split, shard)
        return Place(shard=shard.number, row=shard.rows - 1)

    def finish(self) -> None:
        """Complete all shards and name them."""
        for split in list(self._open):
            self._close(split)
        self._shards.finish()

    def abandon(self) -> None:
        """Close what is open."""
        for shard in self._open.values():
            shard.writer.close()
            shard.sink.close()

    def shard_name(self, split: str, number: int) -> str:
        """The final name of a shard."""
        return self._shards.name(split, number)

    @property
    def num_bytes(self) -> dict[str, int]:
        """Of the Arrow tables."""
        return self._num_bytes

    def _begin(self, split: str) -> _OpenShard:
        path, number = self._shards.begin(split)
        sink = pa.OSFile(str(path), "wb")
        writer = pq.ParquetWriter(sink, self.schema, write_page_index=True, **self._encoding)
        return _OpenShard(number, sink, writer)

    def _flush(self, split: str, shard: _OpenShard) -> None:
        table = table_of(shard.waiting, self.schema)
        self._num_bytes[split] = self._num_bytes.get(split, 0) + table.nbytes
        shard.writer.write_table(table, row_group_size=len(shard.waiting))
        shard.waiting.clear()
        shard.waiting_bytes = 0

    def _close(self, split: str) -> None:
        shard = self._open.pop(split)
        if shard.waiting:
            self._flush(split, shard)
        shard.writer.close()
        shard.sink.close()
