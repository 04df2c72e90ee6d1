"""Shards of a split: numbered as they come, named when their count is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = ["Shards"]


class Shards:
    """The files `data/<split>-00000-of-00003.<suffix>` below an export's folder."""

    def __init__(self, folder: Path, suffix: str) -> None:
        self._folder, self._suffix = folder / "data", suffix
        self._counts: dict[str, int] = {}
        self._marks: Mapping[str, str] = {}
        self._folder.mkdir(parents=True)

    def begin(self, split: str) -> tuple[Path, int]:
        """A path for the split's next shard, under a name for the time being, and its number."""
        number = self._counts.get(split, 0)
        self._counts[split] = number + 1
        return self._temporary(split, number), number

    def finish(self, marks: Mapping[str, str] | None = None) -> None:
        """Give every shard its final name; nothing may be begun after that.

        Args:
            marks: by split, what its shards are called after it: `<split>-<mark>-00000-of-00003`.
        """
        self._marks = marks or {}
        for split, count in self._counts.items():
            for number in range(count):
                final = self._folder.parent / self.name(split, number)
                self._temporary(split, number).rename(final)

    def name(self, split: str, number: int) -> str:
        """The final name, relative to the export's folder; right when all are finished."""
        begins = f"{split}-{self._marks[split]}" if split in self._marks else split
        return f"data/{begins}-{number:05d}-of-{self._counts[split]:05d}.{self._suffix}"

    def _temporary(self, split: str, number: int) -> Path:
        return self._folder / f"{split}-{number:05d}.{self._suffix}"
