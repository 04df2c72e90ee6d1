"""Walk a WebP file chunk by chunk (RIFF container, RFC 9649).

WebP carries no checksums: this proves that the file is whole and says how large the image is, not
that every bit is right. Decoding does not belong here.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from wan_pipeline.dataset.damage import DamagedImageError, DamageReason, require_sane_size

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["inspect_webp", "is_webp", "riff_length", "webp_chunks"]

_RIFF_HEADER = 12
_CHUNK_HEADER = 8
_VP8_HEADER = 10
_VP8L_HEADER = 5
_VP8X_HEADER = 10
_VP8_START_CODE = b"\x9d\x01\x2a"
_VP8L_SIGNATURE = 0x2F
_EDGE_MASK = 0x3FFF  # both bitstreams store an edge in 14 bits


def is_webp(data: bytes) -> bool:
    """Whether `data` begins like a WebP file."""
    return data[:4] == b"RIFF" and data[8:_RIFF_HEADER] == b"WEBP"


def inspect_webp(data: bytes) -> tuple[int, int]:
    """Prove that `data` is one whole WebP file and return its width and height in pixels.

    Args:
        data: the file, for which `is_webp` holds.

    Returns:
        Width and height in pixels; of the canvas where the file has one.

    Raises:
        DamagedImageError: any check failed.
    """
    canvas: tuple[int, int] | None = None
    still: tuple[int, int] | None = None
    animated = False
    for index, (kind, body) in enumerate(webp_chunks(data)):
        if kind == b"VP8X" and index == 0:
            canvas = _canvas_size(body)
        elif kind in (b"VP8 ", b"VP8L"):
            if still is not None:
                raise DamagedImageError(DamageReason.INCONSISTENT, "two images in one file")
            still = _lossy_size(body) if kind == b"VP8 " else _lossless_size(body)
        elif kind == b"ANMF":
            animated = True
    size = canvas or still
    if size is None or (still is None and not animated):
        raise DamagedImageError(DamageReason.INCONSISTENT, "no image data (VP8, VP8L or ANMF)")
    if still is not None and still != size:
        raise DamagedImageError(
            DamageReason.INCONSISTENT,
            f"the canvas is {size[0]}x{size[1]}, the image in it {still[0]}x{still[1]}",
        )
    require_sane_size(*size)
    return size


def webp_chunks(data: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Type and body, without padding, of every chunk in the container.

    Args:
        data: the file, for which `is_webp` holds.

    Raises:
        DamagedImageError: the container or a chunk in it is cut.
    """
    data = data[: riff_length(data)]
    position = _RIFF_HEADER
    while position < len(data):
        kind, body = _read_chunk(data, position)
        yield kind, body
        position += _CHUNK_HEADER + len(body) + len(body) % 2


def riff_length(data: bytes) -> int:
    """Where the container ends by its own word; what follows is no part of the picture.

    Args:
        data: the file, for which `is_webp` holds.

    Raises:
        DamagedImageError: the file ends before.
    """
    (payload,) = struct.unpack_from("<I", data, 4)
    stated = payload + 8
    if stated > len(data):
        raise DamagedImageError(
            DamageReason.TRUNCATED, f"the header promises {stated} bytes, {len(data)} are there"
        )
    return stated


def _read_chunk(data: bytes, position: int) -> tuple[bytes, memoryview]:
    """Type and body of the chunk at `position`, which must lie inside the file with its padding."""
    available = len(data) - position - _CHUNK_HEADER
    if available < 0:
        raise DamagedImageError(DamageReason.TRUNCATED, f"ends inside a chunk at byte {position}")
    kind, length = struct.unpack_from("<4sI", data, position)
    if length + length % 2 > available:
        raise DamagedImageError(
            DamageReason.TRUNCATED,
            f"chunk {kind!r} at byte {position} wants {length} bytes, {available} are there",
        )
    start = position + _CHUNK_HEADER
    return kind, memoryview(data)[start : start + length]


def _canvas_size(body: memoryview) -> tuple[int, int]:
    """Size from VP8X: two 24-bit numbers, each one less than the edge."""
    if len(body) < _VP8X_HEADER:
        raise DamagedImageError(DamageReason.INCONSISTENT, "the VP8X chunk is too short")
    width = int.from_bytes(body[4:7], "little") + 1
    return width, int.from_bytes(body[7:10], "little") + 1


def _lossy_size(body: memoryview) -> tuple[int, int]:
    """Size from the key frame header of a VP8 bitstream (RFC 6386, section 9.1)."""
    if len(body) < _VP8_HEADER or bytes(body[3:6]) != _VP8_START_CODE or body[0] & 1:
        raise DamagedImageError(DamageReason.INCONSISTENT, "the VP8 chunk holds no key frame")
    first_partition = int.from_bytes(body[:3], "little") >> 5
    if _VP8_HEADER + first_partition > len(body):
        raise DamagedImageError(
            DamageReason.INCONSISTENT, "the VP8 bitstream is shorter than its own header says"
        )
    width, height = struct.unpack_from("<HH", body, 6)
    return width & _EDGE_MASK, height & _EDGE_MASK


def _lossless_size(body: memoryview) -> tuple[int, int]:
    """Size from the header of a VP8L bitstream (RFC 9649, section 3.4)."""
    if len(body) <= _VP8L_HEADER or body[0] != _VP8L_SIGNATURE:
        raise DamagedImageError(DamageReason.INCONSISTENT, "the VP8L chunk holds no bitstream")
    (bits,) = struct.unpack_from("<I", body, 1)
    return (bits & _EDGE_MASK) + 1, (bits >> 14 & _EDGE_MASK) + 1
