"""Walk a JPEG file marker by marker (ITU-T T.81, annex B).

JPEG carries no checksums: this proves that the picture is whole, from SOI to EOI, and says how
large it is. Decoding does not belong here.
"""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from wan_pipeline.dataset.damage import DamagedImageError, DamageReason, require_sane_size

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["JPEG_SIGNATURE", "inspect_jpeg", "jpeg_header"]

JPEG_SIGNATURE = b"\xff\xd8\xff"

_SOI, _EOI, _SOS = 0xD8, 0xD9, 0xDA
# Every start-of-frame marker; C4, C8 and CC in their range are tables and reserved.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_FRAME_HEADER = 6
# In entropy-coded data FF is followed by 00 or a restart marker; anything else ends the scan.
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


def inspect_jpeg(data: bytes) -> tuple[int, int]:
    """Prove that `data` is one whole JPEG file and return its width and height in pixels.

    Args:
        data: the file, starting with `JPEG_SIGNATURE`.

    Returns:
        Width and height in pixels, before any EXIF rotation.

    Raises:
        DamagedImageError: any check failed.
    """
    size: tuple[int, int] | None = None
    has_scan = False
    position = 2
    while True:
        marker, position = _read_marker(data, position)
        if marker == _EOI:
            break
        if marker in _STANDALONE:
            continue
        body_end = _segment_end(data, position)
        if marker in _FRAMES:
            if size is not None:
                raise DamagedImageError(DamageReason.INCONSISTENT, "two frames in one file")
            size = _frame_size(data[position + 2 : body_end])
        position = body_end
        if marker == _SOS:
            if size is None:
                raise DamagedImageError(DamageReason.INCONSISTENT, "a scan before its frame")
            position = _scan_end(data, position)
            has_scan = True
    if size is None or not has_scan:
        raise DamagedImageError(DamageReason.INCONSISTENT, "no image data (frame and scan)")
    return size


def jpeg_header(data: bytes) -> Iterator[tuple[int, int, int]]:
    """The segments before the first scan: marker, where its FF is, where its body ends.

    Args:
        data: the file, starting with `JPEG_SIGNATURE`.

    Raises:
        DamagedImageError: a segment is cut or not where one must be.
    """
    position = 2
    while True:
        start = position
        marker, position = _read_marker(data, position)
        if marker in (_SOS, _EOI):
            return
        if marker not in _STANDALONE:
            position = _segment_end(data, position)
        yield marker, start, position


def _read_marker(data: bytes, position: int) -> tuple[int, int]:
    """The marker at `position`, behind any fill bytes, and the position after it."""
    if data[position : position + 1] not in (b"\xff", b""):
        raise DamagedImageError(DamageReason.INCONSISTENT, f"no marker at byte {position}")
    while data[position : position + 1] == b"\xff":
        position += 1
    if position >= len(data):
        raise DamagedImageError(DamageReason.TRUNCATED, "ends before the end marker")
    marker = data[position]
    if marker in (0x00, _SOI):
        raise DamagedImageError(
            DamageReason.INCONSISTENT, f"marker {marker:02X} at byte {position} is out of place"
        )
    return marker, position + 1


def _segment_end(data: bytes, position: int) -> int:
    """Where the segment whose length field is at `position` ends."""
    if position + 2 > len(data):
        raise DamagedImageError(DamageReason.TRUNCATED, f"ends inside a marker at byte {position}")
    (length,) = struct.unpack_from(">H", data, position)
    if length < 2:
        raise DamagedImageError(
            DamageReason.INCONSISTENT, f"a segment of {length} bytes at byte {position}"
        )
    if position + length > len(data):
        raise DamagedImageError(DamageReason.TRUNCATED, f"ends inside a segment at byte {position}")
    return position + length


def _frame_size(body: bytes) -> tuple[int, int]:
    """Width and height from a start-of-frame segment."""
    if len(body) < _FRAME_HEADER or len(body) != _FRAME_HEADER + 3 * body[5]:
        raise DamagedImageError(DamageReason.INCONSISTENT, "a malformed frame header")
    height, width = struct.unpack_from(">HH", body, 1)
    require_sane_size(width, height)
    return width, height


def _scan_end(data: bytes, position: int) -> int:
    """Where the entropy-coded data that begins at `position` gives way to a marker."""
    found = _NEXT_MARKER.search(data, position)
    if found is None:
        raise DamagedImageError(DamageReason.TRUNCATED, "ends inside the image data")
    return found.start()
