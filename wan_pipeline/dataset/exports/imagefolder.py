"""A folder of image files per split, with `metadata.parquet` beside them: ImageFolder."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from wan_pipeline.dataset.exports.columns import export_schema, folder_file, table_of
from wan_pipeline.dataset.exports.writer import Place

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.dataset.exports.items import Item

__all__ = ["ImageFolderWriter"]

GROUP_ROWS = 500


class ImageFolderWriter:
    """`data/<split>/000000/<key>.png` and `data/<split>/metadata.parquet`."""

    def __init__(self, folder: Path, released: Any) -> None:
        """Write into `folder`."""
        self.schema = export_schema(released, leading="file_name")
        self._folder = folder
        self._open: dict[str, Any] = {}
        self._waiting: dict[str, list[Item]] = {}
        self._num_bytes: dict[str, int] = {}

    def add(self, item: Item) -> Place:
        """Write an item's file, and its row when there are enough."""
        path = f"data/{item.split}/{folder_file(item)}"
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(item.data)
        waiting = self._waiting.setdefault(item.split, [])
        waiting.append(item.without_data())
        self._num_bytes[item.split] = self._num_bytes.get(item.split, 0) + len(item.data)
        if len(waiting) >= GROUP_ROWS:
            self._flush(item.split)
        return Place(path=path)

    def finish(self) -> None:
        """Complete the tables."""
        for split in self._waiting:
            self._flush(split)
        self.abandon()

    def abandon(self) -> None:
        """Close the tables."""
        for writer in self._open.values():
            writer.close()

    def shard_name(self, split: str, number: int) -> str:
        """There are none."""
        raise LookupError(f"an ImageFolder has no shards (asked for {number} of {split})")

    @property
    def num_bytes(self) -> dict[str, int]:
        """Of the image files and the Arrow tables."""
        return self._num_bytes

    def _flush(self, split: str) -> None:
        waiting = self._waiting[split]
        if not waiting:
            return
        if split not in self._open:
            path = self._folder / "data" / split / "metadata.parquet"
            self._open[split] = pq.ParquetWriter(path, self.schema, compression="zstd")
        table = table_of(waiting, self.schema)
        self._num_bytes[split] += table.nbytes
        self._open[split].write_table(table, row_group_size=len(waiting))
        waiting.clear()
