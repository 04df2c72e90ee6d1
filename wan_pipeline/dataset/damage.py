"""What can be wrong with received image bytes: one enum, one exception.

The format walkers raise it, the batch engine counts it by reason. How bytes are read belongs to
the walkers (`png`, `webp`, `jpeg`); what a damaged image means for the money to the ledger.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["MAX_EDGE_PX", "DamageReason", "DamagedImageError", "require_sane_size"]

MAX_EDGE_PX = 16384
"""Longest believable edge. The model's own limit is 2880 px (1440*1440 pixels at 1:4)."""


class DamageReason(StrEnum):
    """Why bytes are not a whole image; the value is the word shown in counts and reports."""

    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    BAD_CRC = "bad_crc"
    INCONSISTENT = "inconsistent"


class DamagedImageError(ValueError):
    """The bytes are not one whole PNG, WebP or JPEG file.

    Attributes:
        reason: the kind of damage, stable enough to count by.
        detail: what was found where, for a person.
    """

    def __init__(self, reason: DamageReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(
            f"damaged image ({reason}): {detail}; download it again while its URL is alive"
        )

    def __reduce__(self) -> tuple[type[DamagedImageError], tuple[DamageReason, str]]:
        """Pickle by the constructor's arguments, so that it survives a process pool."""
        return type(self), (self.reason, self.detail)


def require_sane_size(width: int, height: int) -> None:
    """Refuse dimensions no image of this model can have.

    Args:
        width: pixels across, as the file's header says.
        height: pixels down.

    Raises:
        DamagedImageError: an edge is zero or longer than `MAX_EDGE_PX`.
    """
    if not (0 < width <= MAX_EDGE_PX and 0 < height <= MAX_EDGE_PX):
        raise DamagedImageError(
            DamageReason.INCONSISTENT,
            f"header claims {width}x{height} pixels, each edge must be 1 to {MAX_EDGE_PX}",
        )
