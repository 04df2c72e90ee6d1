"""XMP in JPEG: an APP1 segment of a fixed name, behind JFIF and EXIF (XMP part 3, 1.1.3).

Segments of extended XMP, which hold what one segment cannot, are other segments and stay as they
are: the packet that we extend goes on naming them.
"""

from __future__ import annotations

import struct

from wan_pipeline.dataset.jpeg import jpeg_header
from wan_pipeline.dataset.provenance.slot import Slot

__all__ = ["MAX_PACKET", "NAME", "embed", "find", "has_manifest"]

NAME = b"http://ns.adobe.com/xap/1.0/\0"
"""What an APP1 segment with an XMP packet begins with."""

_EXIF = b"Exif\0"
_APP0, _APP1, _APP11 = 0xE0, 0xE1, 0xEB
_MANIFEST = b"c2pa"  # in the box description at the segment's beginning
_WITHIN = 64

MAX_PACKET = 0xFFFF - 2 - len(NAME)
"""Bytes of a packet that fits into one segment."""


def find(data: bytes) -> Slot | None:
    """The first XMP segment."""
    for marker, start, end in jpeg_header(data):
        body = _body(data, start, end)
        if marker == _APP1 and body.startswith(NAME):
            return Slot(start=start, end=end, packet=body[len(NAME) :])
    return None


def embed(data: bytes, packet: bytes, slot: Slot | None) -> bytes:
    """The file with `packet` in the place of `slot`, or behind JFIF and EXIF."""
    start = end = 2
    if slot:
        start, end = slot.start, slot.end
    else:
        for marker, at, segment_end in jpeg_header(data):
            exif = marker == _APP1 and _body(data, at, segment_end).startswith(_EXIF)
            if marker != _APP0 and not exif:
                break
            start = end = segment_end
    segment = b"\xff\xe1" + struct.pack(">H", 2 + len(NAME) + len(packet)) + NAME + packet
    return data[:start] + segment + data[end:]


def has_manifest(data: bytes) -> bool:
    """Whether there is a C2PA segment."""
    return any(
        marker == _APP11 and _MANIFEST in _body(data, start, end)[:_WITHIN]
        for marker, start, end in jpeg_header(data)
    )


def _body(data: bytes, start: int, end: int) -> bytes:
    """What a segment holds behind fill bytes, marker and length."""
    return data[start:end].lstrip(b"\xff")[3:]
