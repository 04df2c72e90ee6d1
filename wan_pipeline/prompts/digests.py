"""Many content hashes in little memory: finding equal rows, and a hash of a whole table.

16 bytes a row, so that a table of ten million prompts needs some hundred megabytes and not some
gigabytes. At that size the chance that any two different rows share 16 bytes is below 10**-24.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["DIGEST_BYTES", "Digests"]

DIGEST_BYTES = 16


@dataclass(slots=True)
class Digests:
    """A growing column of digests, one per row."""

    _bytes: bytearray = field(default_factory=bytearray)

    def append(self, digest: bytes) -> None:
        """Add the digest of the next row; only its first `DIGEST_BYTES` count."""
        self._bytes += digest[:DIGEST_BYTES]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self._bytes) // DIGEST_BYTES

    def groups(self) -> NDArray[np.int64]:
        """Number per row, equal exactly for rows with equal digests."""
        order, is_new = self._sorted()
        groups = np.empty(len(self), dtype=np.int64)
        groups[order] = np.cumsum(is_new)
        return groups

    def first_of_each(self) -> NDArray[np.bool_]:
        """Mask over the rows: the first row of each distinct digest."""
        order, is_new = self._sorted()
        first = np.empty(len(self), dtype=np.bool_)
        first[order] = is_new
        return first

    def combined(self, keep: NDArray[np.bool_] | None = None) -> str:
        """A hash of the kept rows that does not depend on their order, 64 hex digits."""
        order, _ = self._sorted()
        if keep is not None:
            order = order[keep[order]]
        return hashlib.sha256(self._pairs()[order].tobytes()).hexdigest()

    def _sorted(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Rows in the order of their digests, equal ones in row order, and where a new one is."""
        pairs = self._pairs()
        order = np.lexsort((pairs[:, 1], pairs[:, 0]))
        is_new = np.ones(len(self), dtype=np.bool_)
        is_new[1:] = (pairs[order[1:]] != pairs[order[:-1]]).any(axis=1)
        return order, is_new

    def _pairs(self) -> NDArray[np.uint64]:
        return np.frombuffer(bytes(self._bytes), dtype="<u8").reshape(-1, 2)
