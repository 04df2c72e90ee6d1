"""The perceptual hash: 64 bits that stay nearly the same when a picture is scaled or re-encoded.

The DCT hash of the `imagehash` package, bit for bit (a test holds the two together), in whole
numbers: with floats a blank picture's bits are rounding errors, which differ between machines. That
package would also bring scipy and PyWavelets along, 40 MB for these few lines.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["from_hex", "perceptual_hash", "to_hex"]

BITS = 64
_EDGE = 8
_GRID = 32
_SCALE = 1 << 20  # the unit of the cosines; the sums stay below 2**60

# Rows: frequencies 0 to 7; columns: pixels. Mirrored halves are exactly opposite, so that the
# frequencies of a plain picture are exactly zero.
_COSINES: NDArray[np.int64] = np.rint(
    _SCALE * np.cos(np.pi / (2 * _GRID) * np.outer(np.arange(_EDGE), 2 * np.arange(_GRID) + 1))
).astype(np.int64)


def perceptual_hash(luma: Image.Image) -> int:
    """Hash a picture by its 64 lowest frequencies: which of them lie above their median.

    Args:
        luma: the whole picture in grey (Pillow's mode ``L``), upright.

    Returns:
        64 bits, the first frequency highest.
    """
    grid = np.asarray(luma.resize((_GRID, _GRID), Image.Resampling.LANCZOS), dtype=np.int64)
    frequencies = (_COSINES @ grid @ _COSINES.T).ravel()
    middle = np.sort(frequencies)[BITS // 2 - 1 : BITS // 2 + 1]
    # Above the mean of the middle two, without halving.
    bits = 2 * frequencies > middle.sum()
    return int.from_bytes(np.packbits(bits).tobytes(), "big")


def to_hex(phash: int) -> str:
    """16 lower-case hex digits."""
    return f"{phash:016x}"


def from_hex(text: str) -> int:
    """Back from `to_hex`.

    Raises:
        ValueError: the text is no hexadecimal number.
    """
    return int(text, 16)
