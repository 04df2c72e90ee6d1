"""What a layout's writer is, and where it says that it put an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from wan_pipeline.dataset.exports.items import Item

__all__ = ["ExportWriter", "Place"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where an image is.

    Attributes:
        shard: the shard's number within its split; None where there are no shards.
        path: the file within the export's folder, where there are no shards.
        member: the file within the shard, where a shard is an archive.
        row: the row within the shard, where a shard is a table.
    """

    shard: int | None = None
    path: str | None = None
    member: str | None = None
    row: int | None = None


class ExportWriter(Protocol):
    """Writes one layout into an empty folder, an item at a time."""

    schema: Any
    """The columns that a reader will see, the image among them."""

    def add(self, item: Item) -> Place:
        """Write an item."""
        ...

    def finish(self) -> None:
        """Complete all files."""
        ...

    def abandon(self) -> None:
        """Close files that will not be completed."""
        ...

    def shard_name(self, split: str, number: int) -> str:
        """The final name of a shard; right after `finish`."""
        ...

    @property
    def num_bytes(self) -> dict[str, int]:
        """Bytes that each split takes in memory, as its reader holds it."""
        ...
