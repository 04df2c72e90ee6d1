"""XMP in PNG: an uncompressed iTXt chunk of a fixed keyword, right behind the header.

Behind the header, because readers that stop at the pixels must find it (XMP part 3, 1.1.5).
"""

from __future__ import annotations

import struct
import zlib

from wan_pipeline.dataset.png import PNG_SIGNATURE, png_chunks
from wan_pipeline.dataset.provenance.slot import Slot

__all__ = ["KEYWORD", "MAX_PACKET", "embed", "find", "has_manifest", "text_of"]

MAX_PACKET = 1 << 24
"""Bytes of the largest packet written; the format's own limit is far above."""

KEYWORD = b"XML:com.adobe.xmp"
"""Of the iTXt chunk that holds an XMP packet."""
_PLAIN_HEADER = KEYWORD + b"\0\0\0\0\0"  # not compressed, no language, no translated keyword
_AFTER_IHDR = len(PNG_SIGNATURE) + 12 + 13
_MANIFEST = b"caBX"


def find(data: bytes) -> Slot | None:
    """The first XMP chunk."""
    position = len(PNG_SIGNATURE)
    for kind, body in png_chunks(data):
        end = position + 12 + len(body)
        if kind == b"iTXt" and bytes(body[: len(KEYWORD) + 1]) == KEYWORD + b"\0":
            return Slot(start=position, end=end, packet=text_of(bytes(body)))
        position = end
    return None


def embed(data: bytes, packet: bytes, slot: Slot | None) -> bytes:
    """The file with `packet` in the place of `slot`, or behind the header."""
    body = b"iTXt" + _PLAIN_HEADER + packet
    chunk = struct.pack(">I", len(body) - 4) + body + struct.pack(">I", zlib.crc32(body))
    start, end = (slot.start, slot.end) if slot else (_AFTER_IHDR, _AFTER_IHDR)
    return data[:start] + chunk + data[end:]


def has_manifest(data: bytes) -> bool:
    """Whether there is a C2PA chunk."""
    return any(kind == _MANIFEST for kind, _ in png_chunks(data))


def text_of(body: bytes, *, at_most: int = MAX_PACKET) -> bytes:
    """The text of an iTXt chunk of our keyword; empty when it cannot be had in `at_most` bytes."""
    flags = body[len(KEYWORD) + 1 :]
    # compressed?, method, then language and translated keyword, each ended by a zero
    parts = flags[2:].split(b"\0", 2)
    if len(flags) < 2 or len(parts) < 3:
        return b""
    if not flags[0]:
        return parts[2]
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(parts[2], at_most)
    except zlib.error:
        return b""
    return text if inflater.eof else b""
