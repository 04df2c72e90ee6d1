"""The words for what can be wrong with an image or a request, and where each begins to hold.

A flag keeps nothing back and removes nothing: it is a word in a column, for whoever trains to
decide about.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

__all__ = ["Flag", "RequestFlag", "Thresholds"]


class Flag(StrEnum):
    """What is noticed about one image of a prompt set.

    Attributes:
        NEAR_DUPLICATE: another image of the set looks like it.
        BLANK: there is hardly anything to see.
        UNDECODABLE: its file is gone, changed, or no picture.
        WRONG_SIZE: its edges are not the ones asked for.
        NO_WATERMARK_INFORMATION: a watermark was asked for, and nothing shows that it is there.
    """

    NEAR_DUPLICATE = "near_duplicate"
    BLANK = "blank"
    UNDECODABLE = "undecodable"
    WRONG_SIZE = "wrong_size"
    NO_WATERMARK_INFORMATION = "no_watermark_information"


class RequestFlag(StrEnum):
    """What is noticed about one request of a prompt set, which may have no image.

    Attributes:
        MODERATION_FAILED: moderation rejected its newest purchase.
        NEVER_PRODUCED: no request of its prompt has an image so far.
        FEWER_THAN_N: it brought fewer images than it asked for, or lost some, and no run will
            bring them by itself.
    """

    MODERATION_FAILED = "moderation_failed"
    NEVER_PRODUCED = "never_produced"
    FEWER_THAN_N = "fewer_than_n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """Where flags begin to hold; what each means is told by the settings of the same names.

    Attributes:
        near_duplicate_distance: most bits in which the hashes of near duplicates differ.
        blank_contrast: standard deviation of luma below which there is nothing to see.
    """

    near_duplicate_distance: int = 4
    blank_contrast: float = 4.0
