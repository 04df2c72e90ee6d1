"""Rows of two tables held against each other, cell by cell."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["different_cells", "row_digests", "shortened"]

DIGEST_BYTES = 16
ROWS_AT_ONCE = 1_024  # whose cells are in memory as text
SHOWN = 80  # characters of a value in a message


def row_digests(batch: Any, columns: Sequence[str]) -> list[bytes]:
    """16 bytes per row of an Arrow batch, equal exactly where all cells of these columns are.

    Cells are hashed as text with their lengths before them, so that no two rows read alike; null
    has no length. Columns must have the same types wherever digests are compared.
    """
    digests: list[bytes] = []
    for start in range(0, batch.num_rows, ROWS_AT_ONCE):
        some = batch.slice(start, ROWS_AT_ONCE)
        texts = [pc.cast(some.column(name), pa.string()) for name in columns]
        lengths = [pc.cast(pc.binary_length(each), pa.string()) for each in texts]
        whole = pc.binary_join_element_wise(
            *lengths, *texts, ",", null_handling="replace", null_replacement="-"
        )
        digests += (
            hashlib.sha256(each.as_buffer()).digest()[:DIGEST_BYTES]
            for each in pc.cast(whole, pa.binary())
        )
    return digests


def different_cells(
    row: dict[str, Any], other: dict[str, Any], columns: Sequence[str]
) -> list[str]:
    """The columns in which two rows differ."""
    return [name for name in columns if row[name] != other[name]]


def shortened(value: Any) -> str:
    """A cell's value for a message."""
    text = "null" if value is None else repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= SHOWN else f"{text[: SHOWN - 1]}…"
