"""Reading a quality table back: how many images bear each flag."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pyarrow.parquet as pq

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

__all__ = ["flag_counts", "flags_by_image"]


def flags_by_image(table: Path) -> Mapping[str, Sequence[str]]:
    """The flags of every image of a quality table, by image id.

    Raises:
        OSError: the table cannot be read.
        pyarrow.ArrowException: it is damaged.
    """
    read = pq.read_table(table, columns=["image_id", "flags"])
    return dict(zip(read["image_id"].to_pylist(), read["flags"].to_pylist(), strict=True))


def flag_counts(table: Path) -> Counter[str]:
    """How many images of a quality table bear each flag; each image counts once.

    Raises:
        OSError: the table cannot be read.
        pyarrow.ArrowException: it is damaged.
    """
    return Counter(flag for flags in flags_by_image(table).values() for flag in flags)
