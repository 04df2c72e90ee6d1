"""Text on images: what the bundled font covers, how lines are broken, how they are drawn.

A character without a glyph, a control character included, is written as its code point (U+1F600),
so that any prompt can be painted and none raises.
"""

from __future__ import annotations

import threading
from functools import lru_cache
from importlib.resources import files
from io import BytesIO
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["LINE_HEIGHT", "covered", "fit", "text_mask", "width_of"]

LINE_HEIGHT = 1.35
"""Distance of two base lines, in font sizes."""

_FONTS = files("wan_pipeline.emulator") / "fonts"
_FONT_BYTES = (_FONTS / "WanEmulatorSans-Regular.otf").read_bytes()
_COVERED = frozenset((_FONTS / "glyphs.txt").read_text(encoding="utf-8")) - {"\n", "\r"} | {" "}
_UNIT = 1000
_IDEOGRAPHS = range(0x2E80, 0x10000)
# A font object is one FreeType face, which two threads must not use at a time.
_face = threading.Lock()


def covered(character: str) -> bool:
    """Whether the bundled font has a glyph for a character."""
    return character in _COVERED


def fit(
    text: str, *, width: int, height: int, largest: int, smallest: int
) -> tuple[int, list[str]]:
    """The largest font size at which a text fits into a box, and its lines.

    Args:
        text: any text.
        width: of the box, in pixels.
        height: of the box, in pixels.
        largest: size to try first, in pixels.
        smallest: size not to go below; what does not fit even so is cut off with an ellipsis.
    """
    pieces = list(_pieces(text))
    size = largest
    while True:
        lines = _break(pieces, width / size * _UNIT)
        room = max(1, int(height / (size * LINE_HEIGHT)))
        if len(lines) <= room:
            return size, lines
        if size <= smallest:
            return size, [*lines[: room - 1], lines[room - 1] + "…"]
        size = max(smallest, size * 9 // 10)


def width_of(text: str, size: int) -> int:
    """Width of a drawn line in pixels, rounded up."""
    return int(sum(map(_advance, text)) * size / _UNIT) + 1


def text_mask(lines: list[str], *, size: int, width: int, height: int) -> Image.Image:
    """Lines drawn white on black as a greyscale image of the given size in pixels."""
    mask = Image.new("L", (width, height))
    draw = ImageDraw.Draw(mask)
    with _face:
        font = _font(size)
        for number, line in enumerate(lines):
            draw.text((0, round(number * size * LINE_HEIGHT)), line, fill=255, font=font)
    return mask


@lru_cache(maxsize=16)
def _font(size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(BytesIO(_FONT_BYTES), size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def _advance(character: str) -> float:
    with _face:
        return _font(_UNIT).getlength(character)


def _pieces(text: str) -> Iterator[str]:
    """Words, single ideographs, spaces, and newlines; uncovered characters spelled out."""
    word = ""
    for character in text:
        if covered(character) and character != " " and ord(character) not in _IDEOGRAPHS:
            word += character
            continue
        if word:
            yield word
            word = ""
        if character in " \t\r\n\u00a0\u3000":
            yield "\n" if character == "\n" else " "
        else:
            yield character if covered(character) else f"U+{ord(character):04X}"
    if word:
        yield word


def _break(pieces: list[str], width: float) -> list[str]:
    """Fill lines greedily; a word longer than a line is broken anywhere."""
    lines, used = [""], 0.0
    for piece in pieces:
        if piece == "\n":
            lines.append("")
            used = 0.0
            continue
        need = sum(map(_advance, piece))
        if used and used + need > width:
            lines.append("")
            used = 0.0
            if piece == " ":
                continue
        if need <= width:
            lines[-1] += piece
            used += need
            continue
        for character in piece:
            step = _advance(character)
            if used and used + step > width:
                lines.append("")
                used = 0.0
            lines[-1] += character
            used += step
    return lines
