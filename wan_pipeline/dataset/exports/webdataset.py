"""Tar shards in which each image has a JSON file of the same name beside it: WebDataset.

Nothing in an archive depends on when, where or by whom it was written, so that equal releases give
equal bytes. A shard's name holds a hash of what is in its split, because readers remember archives
by their names: mlcroissant unpacks a path once, and takes that for every other file of the path.
"""

from __future__ import annotations

import hashlib
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
_BUFFER = 1 << 20
_MARK_DIGITS = 12


class _Shard:
    """An open archive and its file, which tarfile by itself would write in small pieces."""

    def __init__(self, path: Path, number: int) -> None:
        self.number = number
        self._file = path.open("xb", buffering=_BUFFER)
        self._tar = tarfile.TarFile(fileobj=self._file, mode="w", format=tarfile.USTAR_FORMAT)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._tar.offset

    def add(self, name: str, data: bytes) -> None:
        """Append a file of nobody, from 1970, that all may read."""
        member = tarfile.TarInfo(name)
        member.size = len(data)
        self._tar.addfile(member, io.BytesIO(data))
        self._tar.getmembers().clear()  # else every one is remembered until the end

    def close(self) -> None:
        """End the archive."""
        self._tar.close()
        self._file.close()


class WebDatasetWriter:
    """`data/<split>-<hash of its content>-00000-of-00003.tar`."""

    def __init__(self, folder: Path, released: Any, shard_bytes: int) -> None:
        """Write into `folder`, closing a shard before it passes `shard_bytes`."""
        self.schema = export_schema(released, leading=None)
        self._shards = Shards(folder, "tar")
        self._shard_bytes = shard_bytes
        self._open: dict[str, _Shard] = {}
        self._num_bytes: dict[str, int] = {}
        self._digests: dict[str, Any] = {}

    def add(self, item: Item) -> Place:
        """Put an image and its row into its split's shard."""
        files = {item.file_name: item.data, f"{item.key}.json": self._sidecar(item)}
        size = sum(_BLOCK + -(-len(data) // _BLOCK) * _BLOCK for data in files.values())
        shard = self._open.get(item.split)
        if shard is not None and shard.size + size > self._shard_bytes:
            shard.close()
            shard = None
        if shard is None:
            shard = self._open[item.split] = _Shard(*self._shards.begin(item.split))
        for name, data in files.items():
            shard.add(name, data)
        self._note(item, shard.number, files[f"{item.key}.json"])
        self._num_bytes[item.split] = self._num_bytes.get(item.split, 0) + size
        return Place(shard=shard.number, member=item.file_name)

    def finish(self) -> None:
        """Complete all shards and name them."""
        self.abandon()
        self._shards.finish(
            {split: each.hexdigest()[:_MARK_DIGITS] for split, each in self._digests.items()}
        )

    def abandon(self) -> None:
        """Close what is open."""
        for shard in self._open.values():
            shard.close()

    def shard_name(self, split: str, number: int) -> str:
        """The final name of a shard."""
        return self._shards.name(split, number)

    @property
    def num_bytes(self) -> dict[str, int]:
        """Of the members."""
        return self._num_bytes

    def _note(self, item: Item, shard: int, sidecar: bytes) -> None:
        """Take an item into the hash of its split: which shard, which name, and all that it says.

        The row has the SHA-256 of the image as shipped, which stands for its bytes.
        """
        digest = self._digests.setdefault(item.split, hashlib.sha256())
        digest.update(f"{shard} {item.file_name} {len(sidecar)}\n".encode() + sidecar)

    def _sidecar(self, item: Item) -> bytes:
        shipped = {"file_sha256": item.file_sha256, "marking": item.marking.value}
        row = {name: _plain(value) for name, value in item.row.items()}
        return canonical_json(row | shipped).encode()


def _plain(value: Any) -> Any:
    """A cell as JSON has it: exact amounts and UTC times as text."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return value
