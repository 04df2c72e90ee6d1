"""Tar shards in which each image has a JSON file of the same name beside it: WebDataset.

Nothing in an archive depends on when, where or by whom it was written, so that equal releases give
equal bytes.
"""

from __future__ import annotations

import io
import tarfile
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wan_pipeline.dataset.exports.columns import export_schema
from wan_pipeline.dataset.exports.shards import Shards
from wan_pipeline.dataset.exports.writer import Place
from wan_pipeline.prompts.canonical import canonical_json

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.dataset.exports.items import Item

__all__ = ["WebDatasetWriter"]

_BLOCK = 512


class WebDatasetWriter:
    """`data/<split>-00000-of-00003.tar`."""

    def __init__(self, folder: Path, released: Any, shard_bytes: int) -> None:
        """Write into `folder`, closing a shard before it passes `shard_bytes`."""
        self.schema = export_schema(released, leading=None)
        self._shards = Shards(folder, "tar")
        self._shard_bytes = shard_bytes
        self._open: dict[str, tuple[tarfile.TarFile, int]] = {}
        self._num_bytes: dict[str, int] = {}

    def add(self, item: Item) -> Place:
        """Put an image and its row into its split's shard."""
        files = {item.file_name: item.data, f"{item.key}.json": self._sidecar(item)}
        size = sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for data in files.values())
        opened = self._open.get(item.split)
        if opened is not None and opened[0].offset + size > self._shard_bytes:
            opened[0].close()
            opened = None
        if opened is None:
            path, number = self._shards.begin(item.split)
            opened = self._open[item.split] = (_new_tar(path), number)
        for name, data in files.items():
            member = tarfile.TarInfo(name)  # of nobody, in 1970, readable by all
            member.size = len(data)
            opened[0].addfile(member, io.BytesIO(data))
        opened[0].getmembers().clear()  # else every one is remembered until the end
        self._num_bytes[item.split] = self._num_bytes.get(item.split, 0) + size
        return Place(shard=opened[1], member=item.file_name)

    def finish(self) -> None:
        """Complete all shards and name them."""
        self.abandon()
        self._shards.finish()

    def abandon(self) -> None:
        """Close what is open."""
        for tar, _ in self._open.values():
            tar.close()

    def shard_name(self, split: str, number: int) -> str:
        """The final name of a shard."""
        return self._shards.name(split, number)

    @property
    def num_bytes(self) -> dict[str, int]:
        """Of the members."""
        return self._num_bytes

    def _sidecar(self, item: Item) -> bytes:
        row = item.batch.slice(item.position, 1).to_pylist()[0]
        row |= {"file_sha256": item.file_sha256, "marking": item.marking.value}
        return canonical_json({name: _plain(value) for name, value in row.items()}).encode()


def _new_tar(path: Path) -> tarfile.TarFile:
    return tarfile.open(path, "x", format=tarfile.USTAR_FORMAT)


def _plain(value: Any) -> Any:
    """A cell as JSON has it: exact amounts and UTC times as text."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value
