"""XMP in WebP: an 'XMP ' chunk behind the image data, announced in the VP8X header (RFC 9649).

A file in the simple form has no such header; it gets one, and its bitstream stays as it is.
"""

from __future__ import annotations

import struct

from wan_pipeline.dataset.provenance.slot import Slot
from wan_pipeline.dataset.webp import inspect_webp, riff_length, webp_chunks

__all__ = ["MAX_PACKET", "embed", "find", "has_manifest"]

MAX_PACKET = 1 << 24
"""Bytes of the largest packet written; the format's own limit is far above."""

_RIFF_HEADER = 12
_HAS_ALPHA, _HAS_XMP = 0x10, 0x04
_VP8L_ALPHA_BIT = 1 << 28
_XMP, _MANIFEST = b"XMP ", b"C2PA"
_BEFORE_XMP = (b"VP8 ", b"VP8L", b"ANMF", b"EXIF")


def find(data: bytes) -> Slot | None:
    """The first XMP chunk."""
    for kind, start, body in _placed(data):
        if kind == _XMP:
            return Slot(start=start, end=_end(start, body), packet=bytes(body))
    return None


def embed(data: bytes, packet: bytes, slot: Slot | None) -> bytes:
    """The file with `packet` in the place of `slot`, or behind image and EXIF.

    Bytes behind the container stay behind it.
    """
    stop = riff_length(data)
    data, behind = data[:stop], data[stop:]
    if slot:
        start, end = slot.start, slot.end
    else:
        start = end = max(_end(at, body) for kind, at, body in _placed(data) if kind in _BEFORE_XMP)
        first = find(data)
        if first is not None:  # readers take the first and may ignore others
            start = end = min(first.start, start)
    rest = data[_RIFF_HEADER:start] + _chunk(_XMP, packet) + data[end:]
    kind, _, body = next(_placed(data))
    header = bytes(body) if kind == b"VP8X" else _extended_header(data)
    flagged = bytes([header[0] | _HAS_XMP]) + header[1:]
    if kind == b"VP8X":
        rest = rest[len(_chunk(kind, header)) :]
    payload = b"WEBP" + _chunk(b"VP8X", flagged) + rest
    return b"RIFF" + struct.pack("<I", len(payload)) + payload + behind


def has_manifest(data: bytes) -> bool:
    """Whether there is a C2PA chunk."""
    return any(kind == _MANIFEST for kind, _ in webp_chunks(data))


def _placed(data: bytes):  # noqa: ANN202  a generator of (type, position, body)
    """Every chunk with its place."""
    position = _RIFF_HEADER
    for kind, body in webp_chunks(data):
        yield kind, position, body
        position = _end(position, body)


def _end(start: int, body: memoryview) -> int:
    return start + 8 + len(body) + len(body) % 2


def _chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


def _extended_header(data: bytes) -> bytes:
    """The VP8X body of a file in the simple form."""
    width, height = inspect_webp(data)
    flags = 0
    for kind, body in webp_chunks(data):
        if kind == b"VP8L" and struct.unpack_from("<I", body, 1)[0] & _VP8L_ALPHA_BIT:
            flags |= _HAS_ALPHA
    edges = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return bytes([flags, 0, 0, 0]) + edges
