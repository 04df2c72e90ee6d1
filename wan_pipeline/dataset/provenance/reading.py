"""Read our marks back from a file, whoever has written it since.

The file comes from anywhere: chunks are walked by their lengths and skipped, only those that may
hold XMP are read, their number and size are bounded, and what stands in them counts only when it
has the form of an id. Whether it is true, nothing in the file can tell.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.dataset.jpeg import JPEG_SIGNATURE
from wan_pipeline.dataset.png import PNG_SIGNATURE
from wan_pipeline.dataset.provenance import in_jpeg, in_png
from wan_pipeline.dataset.provenance.packet import OURS
from wan_pipeline.dataset.provenance.splice import MAX_BYTES, UnreadablePacketError, read_packet
from wan_pipeline.dataset.release.reference import REFERENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from typing import BinaryIO

__all__ = ["FoundMark", "read_mark"]

MAX_CHUNKS = 10_000  # looked at before a file is given up
MAX_PACKETS = 8  # read before
MAX_CHUNK = MAX_BYTES + 4096  # of one that is read: the packet and what stands before it
_SHA256 = re.compile("[0-9a-f]{64}")
_WEBP_HEADER = 12
_JPEG_STANDALONE = frozenset({0x01, *range(0xD0, 0xD8)})
_JPEG_APP1, _JPEG_ENDS = 0xE1, frozenset({0xD9, 0xDA})


@dataclass(frozen=True, slots=True, kw_only=True)
class FoundMark:
    """What a file says of itself; each is None when it says nothing of the right form.

    Attributes:
        image_id: SHA-256 of the bytes as received, 64 lower-case hex digits.
        request_id: the request that brought it, likewise.
        release: the release it was exported from, ``name@vN``.
    """

    image_id: str | None
    request_id: str | None
    release: str | None


def read_mark(path: Path) -> FoundMark | None:
    """The first mark of ours in a PNG, WebP or JPEG file that names an image or a request.

    Args:
        path: any file.

    Returns:
        None when it is of no such format, or none of the packets that were looked at has one.

    Raises:
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for count, packet in enumerate(_packets(file)):
            if count == MAX_PACKETS:
                break
            mark = _mark_of(packet)
            if mark is not None:
                return mark
    return None


def _mark_of(packet: bytes) -> FoundMark | None:
    try:
        values = read_packet(packet, properties=(), namespace=OURS).values
    except UnreadablePacketError:
        return None
    image_id, request_id = (
        _of_form(values.get((OURS, name), "").lower(), _SHA256) for name in ("imageId", "requestId")
    )
    if image_id is None and request_id is None:
        return None
    release = _of_form(values.get((OURS, "release"), ""), REFERENCE)
    if release is not None and "@" not in release:
        release = None
    return FoundMark(image_id=image_id, request_id=request_id, release=release)


def _of_form(text: str, form: re.Pattern[str]) -> str | None:
    found = text.strip()
    return found if form.fullmatch(found) else None


def _packets(file: BinaryIO) -> Iterator[bytes]:
    """Every XMP packet of the file, by the signature that it begins with."""
    head = file.read(_WEBP_HEADER)
    if head.startswith(PNG_SIGNATURE):
        file.seek(len(PNG_SIGNATURE))
        yield from _of_png(file)
    elif head.startswith(JPEG_SIGNATURE):
        file.seek(2)
        yield from _of_jpeg(file)
    elif head[:4] == b"RIFF" and head[8:] == b"WEBP":
        yield from _of_webp(file)


def _of_png(file: BinaryIO) -> Iterator[bytes]:
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        length, kind = struct.unpack(">I4s", head)
        after = file.tell() + length + 4
        keyword = in_png.KEYWORD + b"\0"
        if kind == b"iTXt" and len(keyword) <= length <= MAX_CHUNK:
            begins = file.read(len(keyword))
            if begins == keyword:
                body = begins + file.read(length - len(keyword))
                yield in_png.text_of(body, at_most=MAX_BYTES)
        file.seek(after)


def _of_webp(file: BinaryIO) -> Iterator[bytes]:
    for _ in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        if kind == b"XMP " and length <= MAX_CHUNK:
            yield file.read(length)
            file.seek(length % 2, 1)
        else:
            file.seek(length + length % 2, 1)


def _of_jpeg(file: BinaryIO) -> Iterator[bytes]:
    for _ in range(MAX_CHUNKS):
        filler, marker = file.read(1), file.read(1)
        if filler != b"\xff" or not marker:
            return
        if marker == b"\xff":  # any number of fill bytes may stand before a marker
            file.seek(-1, 1)
            continue
        if marker[0] in _JPEG_STANDALONE:
            continue
        size = file.read(2)
        if marker[0] in _JPEG_ENDS or len(size) < 2:
            return
        (length,) = struct.unpack(">H", size)
        after = file.tell() + max(length - 2, 0)
        begins = file.read(len(in_jpeg.NAME)) if marker[0] == _JPEG_APP1 else b""
        if begins == in_jpeg.NAME:
            yield file.read(max(after - file.tell(), 0))
        file.seek(after)
