"""Decode a stored image for looking at it: bounded, upright, in RGB. The file is only read.

What is made of the pixels belongs to the callers: thumbnails to the reports, hashes to `quality`.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, BinaryIO

from PIL import Image, ImageOps, UnidentifiedImageError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["UndecodableError", "decode_upright"]

_BACKGROUND = (255, 255, 255)
# 16 bits per pixel and no colour: Pillow would cut these off at 255 instead of scaling them.
_DEEP_GREY = frozenset({"I", "I;16", "I;16B", "I;16L", "I;16N"})
# What Pillow's decoders raise for bytes they cannot read.
_UNDECODABLE = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
    Image.DecompressionBombWarning,
)


class UndecodableError(ValueError):
    """The bytes are no picture that may be decoded; the message says why, without the file."""


def decode_upright(
    source: Path | BinaryIO, *, at_least: tuple[int, int] | None = None
) -> Image.Image:
    """Decode an image, upright (EXIF) and in RGB, on white where transparent, metadata dropped.

    Of an animation the first picture; of 16 bits the upper eight.

    Args:
        source: the file, or its bytes as a stream.
        at_least: width and height that suffice; a JPEG larger than that is decoded at a fraction
            of its size, which is faster and not the same pixels.

    Raises:
        UndecodableError: no such file, no image, or more pixels than Pillow's bomb limit, which
            here is never passed, warning or not.
    """
    try:
        with Image.open(source) as image:
            _require_few_pixels(image)
            if at_least is not None:
                image.draft("RGB", at_least)
            return _flatten(image)
    except UndecodableError:
        raise
    except _UNDECODABLE as error:
        # Pillow's own words name the stream, which is another one each time.
        is_foreign = isinstance(error, UnidentifiedImageError)
        reason = "not in a format that is known" if is_foreign else error
        raise UndecodableError(
            f"cannot be decoded ({reason}); compare the file with its SHA-256 and restore it if it"
            " has changed"
        ) from error


def _require_few_pixels(image: Image.Image) -> None:
    pixels, limit = image.width * image.height, Image.MAX_IMAGE_PIXELS
    if limit is not None and pixels > limit:
        raise UndecodableError(
            f"{pixels} pixels, more than {limit}: not decoded, look at it with another program"
        )


def _flatten(image: Image.Image) -> Image.Image:
    """Return `image` turned upright, laid on white where transparent, its metadata dropped."""
    upright = ImageOps.exif_transpose(image)
    if upright.mode in _DEEP_GREY:
        upright = upright.convert("I").point(lambda level: level / 256).convert("L")
        upright.info.pop("transparency", None)  # a grey of 16 bits, which means nothing in eight
    if upright.has_transparency_data:
        layer = upright.convert("RGBA")
        flat = Image.new("RGB", layer.size, _BACKGROUND)
        flat.paste(layer, mask=layer.getchannel("A"))
    else:
        flat = upright.convert("RGB")
    flat.info = {}
    return flat
