"""Walk a PNG file chunk by chunk (PNG specification, third edition).

Checks structure and CRCs without decoding a pixel, which costs a hundredth of a decode and finds
what decoders forgive: a cut last chunk, a wrong CRC. What follows the end is no part of the
picture and is let be. Colours, metadata and pixels do not belong here.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import groupby

from wan_pipeline.dataset.damage import DamagedImageError, DamageReason, require_sane_size

__all__ = ["PNG_SIGNATURE", "inspect_png", "png_chunks"]

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

_CHUNK_OVERHEAD = 12  # length, type and CRC, four bytes each
_IHDR_LENGTH = 13
_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PALETTE = 3
# Adam7: x start, y start, x step, y step of each pass.
_ADAM7 = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_INFLATE_STEP = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    """The fields of IHDR that decide how many bytes the pixels take."""

    width: int
    height: int
    bits_per_pixel: int
    colour_type: int
    interlaced: bool

    @property
    def raw_length(self) -> int:
        """Bytes of filtered scanlines that the IDAT stream must inflate to."""
        passes = _ADAM7 if self.interlaced else ((0, 0, 1, 1),)
        total = 0
        for x_start, y_start, x_step, y_step in passes:
            columns = -(-(self.width - x_start) // x_step)
            rows = -(-(self.height - y_start) // y_step)
            if columns > 0 and rows > 0:
                total += rows * (1 + (columns * self.bits_per_pixel + 7) // 8)
        return total


def inspect_png(data: bytes, *, deep: bool = False) -> tuple[int, int]:
    """Prove that `data` is one whole PNG and return its width and height in pixels.

    Args:
        data: the file, starting with `PNG_SIGNATURE`.
        deep: also inflate the pixels and compare their length with what the header implies. Finds
            bad data under a right CRC, at 20 to 60 times the cost (measured).

    Returns:
        Width and height in pixels.

    Raises:
        DamagedImageError: any check failed.
    """
    chunks = png_chunks(data)
    header = _parse_header(*chunks[0])
    _require_order([kind for kind, _ in chunks], palette=header.colour_type == _PALETTE)
    idat = [body for kind, body in chunks if kind == b"IDAT"]
    if not any(idat):
        raise DamagedImageError(DamageReason.INCONSISTENT, "no pixel data (IDAT)")
    if deep:
        _require_full_inflate(idat, header.raw_length)
    return header.width, header.height


def png_chunks(data: bytes) -> list[tuple[bytes, memoryview]]:
    """Return type and body of every chunk; the last is an empty IEND, whatever may follow it.

    Args:
        data: the file, starting with `PNG_SIGNATURE`.

    Raises:
        DamagedImageError: a chunk is cut or its CRC is wrong.
    """
    view = memoryview(data)
    chunks: list[tuple[bytes, memoryview]] = []
    position, kind = len(PNG_SIGNATURE), b""
    while kind != b"IEND":
        kind, body = _read_chunk(view, position)
        chunks.append((kind, body))
        position += _CHUNK_OVERHEAD + len(body)
    if chunks[-1][1]:
        raise DamagedImageError(DamageReason.INCONSISTENT, "the IEND chunk is not empty")
    return chunks


def _require_order(kinds: list[bytes], *, palette: bool) -> None:
    """Refuse a second header, scattered pixel data, and a palette image without its palette."""
    if kinds.count(b"IHDR") > 1:
        raise DamagedImageError(DamageReason.INCONSISTENT, "a second IHDR chunk")
    runs = [kind for kind, _ in groupby(kinds)]
    if runs.count(b"IDAT") > 1:
        raise DamagedImageError(DamageReason.INCONSISTENT, "IDAT chunks are not in a row")
    if palette and b"PLTE" not in kinds:
        raise DamagedImageError(DamageReason.INCONSISTENT, "palette image without a PLTE chunk")


def _read_chunk(view: memoryview, position: int) -> tuple[bytes, memoryview]:
    """Type and body of the chunk at `position`, its length and CRC checked."""
    available = len(view) - position - _CHUNK_OVERHEAD
    if available < 0:
        raise DamagedImageError(DamageReason.TRUNCATED, f"ends inside a chunk at byte {position}")
    length, kind = struct.unpack_from(">I4s", view, position)
    if not kind.isalpha():
        raise DamagedImageError(DamageReason.INCONSISTENT, f"no chunk type at byte {position + 4}")
    if length > available:
        raise DamagedImageError(
            DamageReason.TRUNCATED,
            f"chunk {kind.decode('ascii')} at byte {position} wants {length} bytes,"
            f" {available} are there",
        )
    body_end = position + 8 + length
    (stated,) = struct.unpack_from(">I", view, body_end)
    if zlib.crc32(view[position + 4 : body_end]) != stated:
        raise DamagedImageError(
            DamageReason.BAD_CRC, f"chunk {kind.decode('ascii')} at byte {position}"
        )
    return kind, view[position + 8 : body_end]


def _parse_header(kind: bytes, body: memoryview) -> _Header:
    """Read IHDR, which must be the first chunk, and refuse what the specification forbids."""
    if kind != b"IHDR" or len(body) != _IHDR_LENGTH:
        raise DamagedImageError(DamageReason.INCONSISTENT, "the first chunk is not a whole IHDR")
    width, height, depth, colour, compression, filtering, interlace = struct.unpack(
        ">IIBBBBB", body
    )
    require_sane_size(width, height)
    known = depth in _DEPTHS.get(colour, ()) and interlace in (0, 1)
    if not known or compression or filtering:
        raise DamagedImageError(
            DamageReason.INCONSISTENT,
            f"IHDR combines colour type {colour}, bit depth {depth}, compression {compression},"
            f" filter {filtering}, interlace {interlace}",
        )
    return _Header(
        width=width,
        height=height,
        bits_per_pixel=depth * _CHANNELS[colour],
        colour_type=colour,
        interlaced=interlace == 1,
    )


def _require_full_inflate(idat: list[memoryview], expected: int) -> None:
    """Inflate the pixel stream in bounded steps; it must end exactly at `expected` bytes."""
    inflater = zlib.decompressobj()
    total = 0
    try:
        for body in idat:
            total += len(inflater.decompress(body, _INFLATE_STEP))
            while inflater.unconsumed_tail and total <= expected:
                total += len(inflater.decompress(inflater.unconsumed_tail, _INFLATE_STEP))
            if total > expected:
                break
        else:
            # What zlib still holds back is at most one window, so this stays bounded too.
            total += len(inflater.flush())
    except zlib.error as error:
        raise DamagedImageError(
            DamageReason.INCONSISTENT, f"the pixel data does not inflate ({error})"
        ) from error
    if total != expected or not inflater.eof:
        raise DamagedImageError(
            DamageReason.INCONSISTENT,
            f"the pixel data inflates to {'at least ' if total > expected else ''}{total} bytes,"
            f" the header implies {expected}",
        )
