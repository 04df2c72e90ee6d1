"""The words for what can be wrong with an image, and where each begins to hold.

A flag keeps nothing back and removes nothing: it is a word in a column, for whoever trains to
decide about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Flag", "Thresholds"]


class Flag(StrEnum):
    """What is noticed about one image of a prompt set."""

    NEAR_DUPLICATE = "near_duplicate"
    BLANK = "blank"
    UNDECODABLE = "undecodable"
    WRONG_SIZE = "wrong_size"
    NO_WATERMARK_INFORMATION = "no_watermark_information"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where flags begin to hold; what each means is told by the settings of the same names.

    Attributes:
        near_duplicate_distance: most bits in which the hashes of near duplicates differ.
        blank_contrast: standard deviation of luma below which there is nothing to see.
    """

    near_duplicate_distance: int = 4
    blank_contrast: float = 4.0
