"""Marks read back from files that somebody else has written since, or of no good will."""

from __future__ import annotations

import io
import struct
import subprocess
import zlib
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image, PngImagePlugin

from wan_pipeline.dataset.provenance.marking import Mark, mark
from wan_pipeline.dataset.provenance.packet import OURS, new_packet
from wan_pipeline.dataset.provenance.reading import MAX_PACKETS, FoundMark, read_mark
from wan_pipeline_tests.release_fixture import FORMATS, picture

if TYPE_CHECKING:
    from pathlib import Path

SAID = Mark(
    model="wan2.5-t2i-preview",
    prompt_sha256="a" * 64,
    release="toys@v12",
    image_id="b" * 64,
    request_id="c" * 64,
)
FOUND = FoundMark(image_id="b" * 64, request_id="c" * 64, release="toys@v12")


def marked(fmt: str) -> bytes:
    """A picture with our mark."""
    data = mark(picture(3, fmt), SAID)
    assert data is not None
    return data


def found_in(data: bytes, tmp_path: Path) -> FoundMark | None:
    """Read from a file."""
    path = tmp_path / "file"
    path.write_bytes(data)
    return read_mark(path)


def saved_anew(data: bytes, fmt: str) -> bytes:
    """What a picture program makes of it: other pixels, the metadata kept."""
    image, buffer = Image.open(io.BytesIO(data)), io.BytesIO()
    packet = image.info["xmp"]
    options: dict[str, Any] = {"xmp": packet}
    if fmt == "png":
        words = PngImagePlugin.PngInfo()
        words.add_itxt("Comment", "another program")
        words.add_itxt("XML:com.adobe.xmp", packet.decode(), zip=True)
        options = {"pnginfo": words}
    image.rotate(90).save(buffer, fmt, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("fmt", FORMATS)
def test_ids_are_read_from_every_format(fmt: str, tmp_path: Path) -> None:
    """As we write them, and after another program has saved the picture anew."""
    data = marked(fmt)
    assert found_in(data, tmp_path) == FOUND
    again = saved_anew(data, fmt)
    assert again != data
    assert found_in(again, tmp_path) == FOUND
    assert found_in(picture(3, fmt), tmp_path) is None


@pytest.mark.exiftool
@pytest.mark.parametrize("fmt", FORMATS)
def test_ids_are_read_after_exiftool(fmt: str, tmp_path: Path) -> None:
    """It writes the packet in its own words."""
    path = tmp_path / f"picture.{fmt}"
    path.write_bytes(marked(fmt))
    command = ["exiftool", "-q", "-overwrite_original", "-XMP-dc:Title=mine", str(path)]
    subprocess.run(command, check=True, timeout=60)
    assert b"mine" in path.read_bytes()
    assert read_mark(path) == FOUND


@pytest.mark.parametrize(
    ("wrong", "kept"),
    [
        ({"image_id": "../../etc/passwd"}, ("request_id", "release")),
        ({"image_id": "b" * 63}, ("request_id", "release")),
        ({"request_id": "c" * 65}, ("image_id", "release")),
        ({"release": "toys"}, ("image_id", "request_id")),
        ({"release": "../toys@v1"}, ("image_id", "request_id")),
        ({"release": "toys@v1\n\x1b[2J"}, ("image_id", "request_id")),
    ],
)
def test_what_is_no_id_is_left_out(
    wrong: dict[str, str], kept: tuple[str, ...], tmp_path: Path
) -> None:
    """A file may say anything."""
    values = {name: getattr(SAID, name) for name in Mark.__dataclass_fields__}
    data = mark(picture(3, "png"), Mark(**{**values, **wrong}))
    assert data is not None
    expected = {name: getattr(FOUND, name) if name in kept else None for name in ID_FIELDS}
    assert found_in(data, tmp_path) == FoundMark(**expected)


ID_FIELDS = ("image_id", "request_id", "release")


def test_capital_digits_are_the_same_id(tmp_path: Path) -> None:
    """Some programs write them so."""
    data = marked("jpeg").replace(b"b" * 64, b"B" * 64)
    assert found_in(data, tmp_path) == FOUND


def chunk(kind: bytes, body: bytes) -> bytes:
    """A chunk of a PNG file."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def xmp_chunk(packet: bytes, *, compressed: bool = False) -> bytes:
    """One that holds XMP."""
    text = zlib.compress(packet, 9) if compressed else packet
    flag = b"\1\0" if compressed else b"\0\0"
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0" + flag + b"\0\0" + text)


PNG = b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a diary",
        PNG,
        PNG + b"\xff\xff\xff\xffiTXtXML:com.adobe.xmp\0",
        PNG + chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
        PNG + xmp_chunk(b"<x"),
        PNG + xmp_chunk(b" " * (1 << 25), compressed=True) + xmp_chunk(b"no"),
        PNG + chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0no zlib"),
        PNG + xmp_chunk(b"<x/>") * (MAX_PACKETS + 1) + xmp_chunk(new_packet(SAID)),
        PNG + xmp_chunk(b'<!DOCTYPE a [<!ENTITY b "c">]>' + new_packet(SAID)[60:]),
        b"\xff\xd8\xff\xe1\x00\x00",
        b"\xff\xd8\xff\xe1\xff\xffhttp://ns.adobe.com/xap/1.0/\0",
        b"\xff\xd8" + b"\xff" * 50_000,
        b"RIFF\xff\xff\xff\xffWEBPXMP \xff\xff\xff\xff",
        b"RIFF\0\0\0\0WEBP" + b"junk\0\0\0\0" * 20_000,
    ],
)
def test_odd_files_are_given_up(data: bytes, tmp_path: Path) -> None:
    """Without an error, and within bounds."""
    assert found_in(data, tmp_path) is None


def test_a_packet_that_is_not_ours_does_not_hide_ours(tmp_path: Path) -> None:
    """The first that names an image counts, wherever the pixels are."""
    foreign = new_packet(SAID).replace(OURS.encode(), b"http://example.com/")
    data = PNG + xmp_chunk(foreign) + chunk(b"IDAT", b"") + xmp_chunk(new_packet(SAID))
    assert found_in(data, tmp_path) == FOUND
