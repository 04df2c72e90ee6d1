"""What a gallery shows: stored images, and requests that have none to show."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime
    from decimal import Decimal

__all__ = ["AbsentRequest", "GalleryRow", "ImageQuality", "Outcome"]


class Outcome(StrEnum):
    """What became of an item of the gallery.

    Attributes:
        STORED: the image is there.
        TO_BUY: not bought yet; a later run buys it.
        IN_FLIGHT: bought, and not all of its images are here yet; a later run brings them.
        UNKNOWN: nobody knows whether it was made; a person decides.
        FAILED: refused, failed or expired.
        LOST: paid for, and it can no longer arrive.
        BROUGHT_FEWER: a request whose task brought fewer images than it asked for. The flag
            `fewer_than_n` is wider: it is also borne by requests that lost some.
    """

    STORED = "stored"
    TO_BUY = "to_buy"
    IN_FLIGHT = "in_flight"
    UNKNOWN = "unknown"
    FAILED = "failed"
    LOST = "lost"
    BROUGHT_FEWER = "brought_fewer"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageQuality:
    """What was measured of one image.

    Attributes:
        flags: words of `dataset.quality.flags.Flag`.
        near_duplicates: other images of the set that look like it.
        near_duplicate_group: name of the group of images that look alike, or nothing.
        nearest: bits in which its hash differs from the nearest such image's, where that is listed.
        phash: perceptual hash, 16 hex digits, or nothing when the file cannot be decoded.
        contrast: standard deviation of luma, 0 to 127.5, likewise.
    """

    flags: Sequence[str] = ()
    near_duplicates: int = 0
    near_duplicate_group: str | None = None
    nearest: int | None = None
    phash: str | None = None
    contrast: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GalleryRow:
    """One stored image, as its row of the metadata table tells it.

    Attributes:
        request_id: the request that bought it.
        image_id: SHA-256 of the image.
        prompt_id: id of the prompt's row.
        prompt: positive prompt.
        negative_prompt: empty means none.
        size: size asked for, ``width*height``.
        width: pixels across, as received.
        height: pixels down, as received.
        seed: the seed sent.
        seed_source: ``given`` or ``derived``.
        n: images asked for by the request.
        image_index: which of them this is, from 0.
        cost_usd: this image's share of the bill.
        path: the image, relative to the data root, with forward slashes.
        thumb: its thumbnail likewise, or nothing when it cannot be decoded.
        size_matches: whether width and height are the ones asked for.
        prompt_columns: further columns of the prompt's row, untouched.
        replica: which of the prompt's requests, from 0.
        model: model id sent; this and the following are empty where nobody told.
        prompt_extend: whether the provider was allowed to rewrite the prompt.
        watermark: whether a watermark was asked for.
        actual_prompt: the rewritten prompt.
        task_id: the provider's task.
        run_id: run that bought it.
        cost_source: ``reported``, ``price_table`` or ``unreadable``.
        latency_s: seconds from submission to completion.
        format: png, webp or jpeg.
        bytes: length of the file.
        created_at: when it was bought.
        quality: what was measured of it, or nothing when that was not done.
    """

    request_id: str
    image_id: str
    prompt_id: str
    prompt: str
    negative_prompt: str
    size: str
    width: int
    height: int
    seed: int
    seed_source: str
    n: int
    image_index: int
    cost_usd: Decimal
    path: str
    thumb: str | None
    size_matches: bool
    prompt_columns: Mapping[str, object] = field(default_factory=dict[str, object])
    replica: int = 0
    model: str = ""
    prompt_extend: bool | None = None
    watermark: bool | None = None
    actual_prompt: str | None = None
    task_id: str = ""
    run_id: str = ""
    cost_source: str | None = None
    latency_s: float | None = None
    format: str = ""
    bytes: int | None = None
    created_at: datetime | None = None
    quality: ImageQuality | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AbsentRequest:
    """A request whose images are not, or not all, on the page.

    Attributes:
        request_id: the request.
        prompt_id: id of the prompt's row.
        prompt: positive prompt.
        state: its outcome, for a person; ``refused`` or ``expired`` is told of what failed.
        reason: why, and what to do, for a person.
        outcome: the same in the words that the gallery filters by.
        negative_prompt: empty means none.
        size: size asked for, ``width*height``; this and the following may be left out.
        seed: the seed sent, or to be sent.
        seed_source: ``given`` or ``derived``.
        n: images asked for.
        not_here: how many of them are not on the page.
        replica: which of the prompt's requests, from 0.
        model: model id.
        prompt_columns: further columns of the prompt's row, untouched.
        flags: words of `dataset.quality.flags.RequestFlag`.
    """

    request_id: str
    prompt_id: str
    prompt: str
    state: str
    reason: str
    outcome: Outcome = Outcome.FAILED
    negative_prompt: str = ""
    size: str = ""
    seed: int | None = None
    seed_source: str = ""
    n: int = 1
    not_here: int = 1
    replica: int = 0
    model: str = ""
    prompt_columns: Mapping[str, object] = field(default_factory=dict[str, object])
    flags: Sequence[str] = ()
