"""Decide whether received bytes are one whole image, and of which size.

The one entry for everybody who must know whether a download is worth keeping. Standard library
only and no decoding: it runs on the event loop between two downloads. What the formats look like
belongs to `png`, `webp` and `jpeg`; decoding (thumbnails) to the reports.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from wan_pipeline.dataset.damage import DamagedImageError, DamageReason
from wan_pipeline.dataset.jpeg import JPEG_SIGNATURE, inspect_jpeg
from wan_pipeline.dataset.png import PNG_SIGNATURE, inspect_png
from wan_pipeline.dataset.webp import inspect_webp, is_webp

__all__ = ["DamageReason", "DamagedImageError", "ImageFacts", "ImageFormat", "inspect_image"]

ImageFormat = Literal["png", "webp", "jpeg"]

_SHOWN_BYTES = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageFacts:
    """What the bytes of a whole image say about themselves.

    Attributes:
        format: container format.
        width: pixels across.
        height: pixels down.
    """

    format: ImageFormat
    width: int
    height: int


def inspect_image(data: bytes, *, deep: bool = False) -> ImageFacts:
    """Check that `data` begins with one whole PNG, WebP or JPEG picture.

    A whole image of another size than asked for is a good image: it was paid for and is kept,
    and a check reports it. So is one with bytes behind its end: the same bytes would come again,
    and no decoder looks at them.

    Args:
        data: the bytes as received.
        deep: for PNG, also inflate the pixels and compare their length with the header's
            (tens of milliseconds instead of less than one; ignored for WebP and JPEG).

    Returns:
        Format and size.

    Raises:
        DamagedImageError: the bytes are empty, something else, cut or altered.
    """
    image_format, (width, height) = _inspect(data, deep=deep)
    return ImageFacts(format=image_format, width=width, height=height)


def _inspect(data: bytes, *, deep: bool) -> tuple[ImageFormat, tuple[int, int]]:
    """Format and size, by the signature the bytes begin with."""
    if not data:
        raise DamagedImageError(DamageReason.EMPTY, "no bytes")
    if data.startswith(PNG_SIGNATURE):
        return "png", inspect_png(data, deep=deep)
    if data.startswith(JPEG_SIGNATURE):
        return "jpeg", inspect_jpeg(data)
    if is_webp(data):
        return "webp", inspect_webp(data)
    if _is_cut_signature(data):
        raise DamagedImageError(DamageReason.TRUNCATED, f"only {len(data)} bytes")
    raise DamagedImageError(
        DamageReason.NOT_AN_IMAGE,
        f"{len(data)} bytes that begin with {data[:_SHOWN_BYTES]!r}, no PNG, WebP or JPEG",
    )


def _is_cut_signature(data: bytes) -> bool:
    """Whether the file ends before its signature does."""
    return (
        PNG_SIGNATURE.startswith(data)
        or JPEG_SIGNATURE.startswith(data)
        or (len(data) < 12 and b"RIFF".startswith(data[:4]) and b"WEBP".startswith(data[8:]))
    )
