"""Counts of what an export holds, gathered while it is written."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wan_pipeline.dataset.exports.items import SUFFIXES
from wan_pipeline.dataset.release.split import Split

if TYPE_CHECKING:
    from wan_pipeline.dataset.exports.items import Item

__all__ = ["Tally"]


def _counter() -> Counter[str]:
    return Counter()


@dataclass(slots=True)
class Tally:
    """What was written so far.

    Attributes:
        rows: by split.
        image_bytes: of all files shipped.
        models: rows by model.
        sizes: rows by size asked for.
        formats: rows by file format.
        markings: rows by how their file is marked.
        flags: rows by quality flag.
    """

    rows: Counter[str] = field(default_factory=_counter)
    image_bytes: int = 0
    models: Counter[str] = field(default_factory=_counter)
    sizes: Counter[str] = field(default_factory=_counter)
    formats: Counter[str] = field(default_factory=_counter)
    markings: Counter[str] = field(default_factory=_counter)
    flags: Counter[str] = field(default_factory=_counter)

    def add(self, item: Item) -> None:
        """Count an item."""
        row = item.row
        self.rows[item.split] += 1
        self.image_bytes += len(item.data)
        self.models[row["model"]] += 1
        self.sizes[row["size"]] += 1
        self.formats[row["format"]] += 1
        self.markings[item.marking.value] += 1
        self.flags.update(row["quality_flags"] or ())

    @property
    def suffixes(self) -> list[str]:
        """Of the image files."""
        return sorted(SUFFIXES[each] for each in self.formats)

    @property
    def splits(self) -> list[str]:
        """Those that have rows, in the order of `Split`; readers know no empty ones."""
        known = [split.value for split in Split if self.rows[split]]
        return [*known, *sorted(self.rows.keys() - set(known))]
