"""Paints the emulator's images: cheap, deterministic, and pleasant enough for a gallery.

An image is a palette picture whose scan lines go into the PNG uncompressed: exactly the size asked
for, as heavy as a real one (one byte per pixel), and painted in a few milliseconds.
"""

from __future__ import annotations

import colorsys
import hashlib
import math
import random
import struct
import zlib
from io import BytesIO
from typing import TYPE_CHECKING, Literal

from PIL import Image, ImageDraw

from wan_pipeline.emulator.lettering import LINE_HEIGHT, fit, text_mask, width_of

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Format", "paint"]

Format = Literal["png", "webp", "jpeg"]

# The palette: a sky, four layers of scenery, one accent, and a ramp from paper to ink.
_SKY = 96
_LAYERS, _SHADES = 4, 32
_ACCENT = _SKY + _LAYERS * _SHADES
_INK = 240
_RAMP = 255 - _INK
_TO_RAMP = [_INK + value * _RAMP // 255 for value in range(256)]

# Zenith, horizon, far scenery, near scenery, sun.
_SCHEMES = (
    (0x2B3A67, 0xF6A880, 0x9C6B86, 0x2A2440, 0xFFF1D0),
    (0x2E86C1, 0xD6EEF8, 0x8FB9AA, 0x1E5245, 0xFFFBE6),
    (0x0F2027, 0x5B8A9B, 0x3C6478, 0x0B1B26, 0xF4F6E8),
    (0x6A4C93, 0xFFC6A5, 0xC98BB9, 0x3B2A5A, 0xFFF3C4),
    (0xF2994A, 0xFBE8B5, 0xD98E5F, 0x5B2E23, 0xFFFDF0),
    (0x7FC8A9, 0xF3F4D8, 0x9CC5A1, 0x216869, 0xFFFFFF),
    (0x355C7D, 0xF8B195, 0xC06C84, 0x3A2D4F, 0xFFE9C9),
    (0x8EC5FC, 0xF5EFFF, 0xB5A9E0, 0x4B4A7C, 0xFFFFFF),
    (0x141E30, 0x44577A, 0x37507A, 0x0C1322, 0xFFF4C2),
    (0xE8CBC0, 0xF9F1E7, 0xC7A59B, 0x636FA4, 0xFFFFFF),
)

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_WATERMARK = "AI Generated"


def paint(
    prompt: str,
    seed: int,
    index: int,
    *,
    width: int,
    height: int,
    watermark: bool = False,
    fmt: Format = "png",
    revision: int = 0,
) -> bytes:
    """One image: a seeded scene with its prompt, seed and index written on it.

    The same arguments give the same bytes. Colours follow the seed, shapes follow prompt, seed and
    index.

    Args:
        prompt: any text; what the font lacks is written as code points.
        seed: the seed shown and used.
        index: 0-based number of the image within its task.
        width: in pixels, 1 or more.
        height: in pixels, 1 or more.
        watermark: write "AI Generated" in the lower right corner.
        fmt: encoding of the result.
        revision: of the painter; another one has other shapes and colours in mind.
    """
    # One extra column on the left is the filter byte of each PNG scan line.
    canvas = Image.new("L", (width + 1, height))
    draw = ImageDraw.Draw(canvas)
    drawn_by = f"{seed}/{index}/{prompt}"
    if revision:  # the first one paints as it always did
        drawn_by = f"{revision}:{drawn_by}"
    rng = random.Random(int.from_bytes(hashlib.sha256(_utf8(drawn_by)).digest(), "big"))  # noqa: S311  art
    _paint_sky(draw, width, height)
    scene = _SCENES[rng.randrange(len(_SCENES))]
    scene(draw, width, height, rng)
    footer = f"seed {seed}  ·  index {index}  ·  {width}×{height}"
    _write_caption(canvas, draw, prompt, footer)
    if watermark:
        _write_watermark(canvas)
    palette = _palette(seed + revision, index)
    if fmt == "png":
        draw.line((0, 0, 0, height), fill=0)
        return _png(canvas.tobytes(), width, height, palette)
    return _encoded(canvas.crop((1, 0, width + 1, height)), palette, fmt)


def _utf8(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _palette(seed: int, index: int) -> bytes:
    rng = random.Random(seed * 8 + index)  # noqa: S311  art
    turn = rng.uniform(-0.04, 0.04)
    zenith, horizon, far, near, sun = (
        _turned(colour, turn) for colour in _SCHEMES[rng.randrange(len(_SCHEMES))]
    )
    colours = [_mixed(zenith, horizon, shade / (_SKY - 1)) for shade in range(_SKY)]
    for layer in range(_LAYERS):
        lit = _mixed(far, near, layer / (_LAYERS - 1))
        colours += [_mixed(lit, (0, 0, 0), 0.35 * shade / _SHADES) for shade in range(_SHADES)]
    rings = _INK - _ACCENT
    glow = _mixed(zenith, horizon, 0.4)
    colours += [_mixed(glow, sun, 0.25 + 0.75 * ring / (rings - 1)) for ring in range(rings)]
    colours += [_mixed((18, 18, 22), (250, 250, 250), step / _RAMP) for step in range(_RAMP + 1)]
    return bytes(part for colour in colours for part in colour)


def _turned(colour: int, turn: float) -> tuple[int, int, int]:
    """A 0xRRGGBB colour with its hue turned by a fraction of the circle."""
    hue, light, saturation = colorsys.rgb_to_hls(
        (colour >> 16) / 255, (colour >> 8 & 255) / 255, (colour & 255) / 255
    )
    red, green, blue = colorsys.hls_to_rgb((hue + turn) % 1, light, saturation)
    return round(red * 255), round(green * 255), round(blue * 255)


def _mixed(
    one: tuple[int, int, int], other: tuple[int, int, int], share: float
) -> tuple[int, int, int]:
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(one, other, strict=True))
    return red, green, blue


def _paint_sky(draw: ImageDraw.ImageDraw, width: int, height: int) -> None:
    for shade in range(_SKY):
        top, bottom = height * shade // _SKY, height * (shade + 1) // _SKY
        if bottom > top:
            draw.rectangle((1, top, width, bottom - 1), fill=shade)


def _shade(layer: int, fade: float) -> int:
    return _SKY + layer * _SHADES + min(_SHADES - 1, int(fade * _SHADES))


def _sun(
    draw: ImageDraw.ImageDraw, width: int, height: int, rng: random.Random, *, low: float = 0.45
) -> None:
    x, y = width * rng.uniform(0.15, 0.85), height * rng.uniform(0.12, low)
    radius = min(width, height) * rng.uniform(0.07, 0.15)
    for fill, grown in ((_ACCENT, 1.7), (_ACCENT + 3, 1.4), (_ACCENT + 7, 1.15), (_INK - 1, 1.0)):
        reach = radius * grown
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), fill=fill)


def _ridges(draw: ImageDraw.ImageDraw, width: int, height: int, rng: random.Random) -> None:
    """Hills behind hills under a sun."""
    _sun(draw, width, height, rng)
    for layer in range(_LAYERS):
        base = height * (0.38 + 0.15 * layer)
        waves = [(rng.uniform(0.6, 2.5 + layer), rng.uniform(0, math.tau)) for _ in range(3)]
        for band in range(4):
            drop = height * 0.045 * band
            points: list[tuple[float, float]] = [(width + 1, height), (1, height)]
            for step in range(81):
                at = step / 80
                lift = sum(
                    math.sin(at * math.tau * f + p) / (k + 1) for k, (f, p) in enumerate(waves)
                )
                points.append((1 + at * width, base - lift * height * 0.06 + drop))
            draw.polygon(points, fill=_shade(layer, band / 4))


def _orbs(draw: ImageDraw.ImageDraw, width: int, height: int, rng: random.Random) -> None:
    """Drifting spheres, each of a few flat shades."""
    for number in range(18):
        radius = min(width, height) * rng.uniform(0.03, 0.2)
        x, y = width * rng.random(), height * rng.random()
        layer = number * _LAYERS // 18
        for ring in range(4):
            reach = radius * (1 - 0.2 * ring)
            box = (x - reach - ring * radius * 0.06, y - reach - ring * radius * 0.06)
            fill = _shade(_LAYERS - 1 - layer, 0.75 - ring / 4)
            draw.ellipse((*box, box[0] + 2 * reach, box[1] + 2 * reach), fill=fill)
    _sun(draw, width, height, rng, low=0.3)


def _towers(draw: ImageDraw.ImageDraw, width: int, height: int, rng: random.Random) -> None:
    """A skyline with a few lit windows."""
    _sun(draw, width, height, rng, low=0.3)
    for layer in range(_LAYERS):
        x = -rng.uniform(0, 0.1) * width
        while x < width:
            across = width * rng.uniform(0.05, 0.14)
            top = height * (0.25 + 0.14 * layer + rng.uniform(0, 0.2))
            fill = _shade(layer, rng.random() * 0.6)
            draw.rectangle((max(1, x), top, max(1, x + across), height), fill=fill)
            for _ in range(3 * layer):
                left, over = (
                    x + across * rng.uniform(0.1, 0.8),
                    top + height * rng.uniform(0.02, 0.3),
                )
                pane = (left, over, left + across * 0.1, over + across * 0.16)
                draw.rectangle(pane, fill=_INK - 1)
            x += across * rng.uniform(0.9, 1.3)


def _waves(draw: ImageDraw.ImageDraw, width: int, height: int, rng: random.Random) -> None:
    """A sea of swells up to the horizon."""
    _sun(draw, width, height, rng, low=0.3)
    swells = 14
    for swell in range(swells):
        depth = swell / (swells - 1)
        base = height * (0.34 + 0.6 * depth**1.3)
        reach, phase = height * (0.006 + 0.03 * depth), rng.uniform(0, math.tau)
        cycles = rng.uniform(1.5, 4.5)
        points: list[tuple[float, float]] = [(width + 1, height), (1, height)]
        for step in range(81):
            lift = abs(math.sin(step / 80 * math.pi * cycles + phase))
            points.append((1 + step / 80 * width, base - lift * reach))
        draw.polygon(points, fill=_SKY + int(depth * (_LAYERS * _SHADES - 1)))


_SCENES: tuple[Callable[[ImageDraw.ImageDraw, int, int, random.Random], None], ...] = (
    _ridges,
    _orbs,
    _towers,
    _waves,
)


def _write_caption(
    canvas: Image.Image, draw: ImageDraw.ImageDraw, prompt: str, footer: str
) -> None:
    """Prompt and footer on a dark panel in the lower part of the image."""
    width, height = canvas.width - 1, canvas.height
    short = min(width, height)
    margin, padding = short // 14, short // 32
    inner = width - 2 * (margin + padding)
    small = max(1, short // 44)
    if inner < small:
        return
    size, lines = fit(
        prompt,
        width=inner,
        height=int(height * 0.7),
        largest=max(1, short // 24),
        smallest=max(1, short // 100),
    )
    body = math.ceil(len(lines) * size * LINE_HEIGHT)
    foot = math.ceil(small * LINE_HEIGHT * 1.5)
    top = max(0, height - margin - 2 * padding - body - foot)
    panel = (margin + 1, top, width - margin, height - margin)
    draw.rounded_rectangle(panel, radius=padding, fill=_INK)
    left = 1 + margin + padding
    _write(canvas, lines, (left, top + padding, inner, body), size=size)
    foot_box = (left, top + padding + body + small // 2, inner, foot)
    _write(canvas, [footer], foot_box, size=small)


def _write_watermark(canvas: Image.Image) -> None:
    size = max(1, min(canvas.width - 1, canvas.height) // 36)
    width, height = width_of(_WATERMARK, size), math.ceil(size * LINE_HEIGHT)
    left = max(1, canvas.width - width - size // 2)
    top = max(0, canvas.height - height - size // 4)
    box = (max(1, left - size // 2), top, canvas.width, canvas.height)
    ImageDraw.Draw(canvas).rectangle(box, fill=_INK)
    _write(canvas, [_WATERMARK], (left, top, width, height), size=size)


def _write(
    canvas: Image.Image, lines: list[str], box: tuple[int, int, int, int], *, size: int
) -> None:
    """Lines as light ink on dark paper, into a box of left, top, width and height."""
    left, top, width, height = box
    mask = text_mask(lines, size=size, width=width, height=height)
    canvas.paste(mask.point(_TO_RAMP), (left, top))


def _png(scanlines: bytes, width: int, height: int, palette: bytes) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 3, 0, 0, 0)
    return b"".join(
        (
            _PNG_SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"PLTE", palette),
            _chunk(b"IDAT", zlib.compress(scanlines, 0)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(data, zlib.crc32(kind))
    return b"".join((struct.pack(">I", len(data)), kind, data, struct.pack(">I", checksum)))


def _encoded(picture: Image.Image, palette: bytes, fmt: Format) -> bytes:
    picture.putpalette(palette)
    out = BytesIO()
    quality = {"webp": 80, "jpeg": 88}[fmt]
    picture.convert("RGB").save(out, format=fmt.upper(), quality=quality)
    return out.getvalue()
