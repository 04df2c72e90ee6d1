"""`mark`: what it adds, and that nothing else of the file changes."""

from __future__ import annotations

import io
import re
import struct
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wan_pipeline.dataset.jpeg import jpeg_header
from wan_pipeline.dataset.png import png_chunks
from wan_pipeline.dataset.provenance import marking
from wan_pipeline.dataset.provenance.in_png import find
from wan_pipeline.dataset.provenance.marking import Mark
from wan_pipeline.dataset.verify import DamagedImageError, inspect_image
from wan_pipeline.dataset.webp import webp_chunks
from wan_pipeline_tests.dataset.test_verify import WHOLE, chunk
from wan_pipeline_tests.exiftool import exiftool

MARK = Mark(
    model="wan2.5-t2i-preview",
    prompt_sha256="a" * 64,
    release="showcase@v1",
    image_id="b" * 64,
    request_id="c" * 64,
)
SOURCE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
SAID = {
    "XMP-iptcExt:DigitalSourceType": SOURCE,
    "XMP-iptcExt:AISystemUsed": MARK.model,
    "XMP-wan:Model": MARK.model,
    "XMP-wan:PromptSha256": MARK.prompt_sha256,
    "XMP-wan:Release": MARK.release,
    "XMP-wan:ImageId": MARK.image_id,
    "XMP-wan:RequestId": MARK.request_id,
}
AIGC = '{"Label":"1","ContentProducer":"Alibaba","ProduceID":"x&amp;y"}'
RDF = 'xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"'
IPTC = 'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"'
PROVIDERS = (
    f"<?xml version='1.0'?><x:xmpmeta xmlns:x='adobe:ns:meta/'><rdf:RDF {RDF}><rdf:Description"
    f" rdf:about='uuid:1' xmlns:TC260='http://www.tc260.org.cn/ns/AIGC/1.0/'><TC260:AIGC>{AIGC}"
    "</TC260:AIGC></rdf:Description><!-- theirs --></rdf:RDF></x:xmpmeta>   \n"
)
COMPOSITE = "http://cv.iptc.org/newscodes/digitalsourcetype/composite"


def mark(data: bytes, said: Mark) -> bytes:
    """Mark a file that nobody has signed."""
    marked = marking.mark(data, said)
    assert marked is not None
    return marked


def packet(body: str, attributes: str = "") -> str:
    """A provider's packet."""
    return f"<rdf:RDF {RDF}><rdf:Description {IPTC} {attributes}>{body}</rdf:Description></rdf:RDF>"


def pixels(data: bytes) -> tuple[str, bytes]:
    """Mode and decoded pixels."""
    with Image.open(io.BytesIO(data)) as image:
        return image.mode, image.tobytes()


def image_data(data: bytes) -> list[bytes]:
    """The compressed image data, as it lies in the file."""
    found = inspect_image(data).format
    if found == "png":
        return [bytes(body) for kind, body in png_chunks(data) if kind == b"IDAT"]
    if found == "webp":
        wanted = (b"VP8 ", b"VP8L", b"ALPH")
        return [bytes(body) for kind, body in webp_chunks(data) if kind in wanted]
    *_, (_, _, end) = jpeg_header(data)
    return [data[end:]]


def png_with(*chunks: bytes) -> bytes:
    """A PNG with chunks of the provider's before its pixels."""
    whole = WHOLE["png"]
    return whole[:33] + b"".join(chunks) + whole[33:]


def itxt(text: bytes, *, compressed: bool = False) -> bytes:
    """An XMP chunk."""
    body = zlib.compress(text) if compressed else text
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0" + bytes([compressed]) + b"\0\0\0" + body)


def with_packet(fmt: str, text: str) -> bytes:
    """An image with a packet, written by Pillow where it can."""
    if fmt == "PNG":
        return png_with(itxt(text.encode()))
    buffer = io.BytesIO()
    with Image.open(io.BytesIO(WHOLE["png"])) as image:
        image.save(buffer, fmt, xmp=text.encode())
    return buffer.getvalue()


@pytest.mark.parametrize("name", sorted(WHOLE))
def test_pixels_stay_as_they_are(name: str) -> None:
    """The compressed image data byte for byte, and what a decoder makes of it."""
    data = WHOLE[name]
    marked = mark(data, MARK)
    assert inspect_image(marked, deep=True) == inspect_image(data)
    assert image_data(marked) == image_data(data) != [b""]
    assert pixels(marked) == pixels(data)
    assert marked == mark(data, MARK)


@pytest.mark.exiftool
@pytest.mark.parametrize("name", ["png", "webp lossy", "webp lossless with alpha", "jpeg baseline"])
def test_exiftool_reads_the_mark(name: str) -> None:
    """A reader that is not ours finds every property and nothing to complain about."""
    found = exiftool(mark(WHOLE[name], MARK))
    assert {name: found.get(name) for name in SAID} == SAID
    assert found["ExifTool:Validate"] == "OK"


@pytest.mark.exiftool
@pytest.mark.parametrize("fmt", ["PNG", "WEBP", "JPEG"])
def test_a_providers_packet_is_extended(fmt: str) -> None:
    """Its bytes stay, ours are added, and there is still one packet."""
    theirs = with_packet(fmt, PROVIDERS)
    marked = mark(theirs, MARK)
    head, tail = PROVIDERS.encode().split(b"</rdf:RDF>")
    assert head in marked
    assert b"</rdf:RDF>" + tail in marked
    found = exiftool(marked)
    assert {name: found.get(name) for name in SAID} == SAID
    before = exiftool(theirs)
    assert any("Alibaba" in str(value) for value in before.values())
    assert {name: found.get(name) for name in before} == before


def test_foreign_chunks_stay() -> None:
    """A label in a chunk of its own, whatever its keyword, byte for byte and in its place."""
    foreign = [
        chunk(b"tEXt", b"AIGC\0" + AIGC.encode()),
        chunk(b"pHYs", struct.pack(">IIB", 1, 1, 1)),
    ]
    marked = mark(png_with(*foreign), MARK)
    kept = [kind for kind, _ in png_chunks(marked)]
    assert kept[:4] == [b"IHDR", b"iTXt", b"tEXt", b"pHYs"]
    assert b"".join(foreign) in marked


def test_exif_and_icc_stay() -> None:
    """In WebP and JPEG they have places of their own."""
    exif = Image.Exif()
    exif[0x010E] = AIGC
    with Image.open(io.BytesIO(WHOLE["png"])) as image:
        for fmt in ("WEBP", "JPEG"):
            buffer = io.BytesIO()
            image.save(buffer, fmt, exif=exif, icc_profile=b"profile" * 9)
            with Image.open(io.BytesIO(mark(buffer.getvalue(), MARK))) as marked:
                assert marked.getexif()[0x010E] == AIGC
                assert marked.info["icc_profile"] == b"profile" * 9


@pytest.mark.exiftool
@pytest.mark.parametrize(
    "theirs",
    [
        packet(f"<Iptc4xmpExt:DigitalSourceType>{COMPOSITE}</Iptc4xmpExt:DigitalSourceType>"),
        packet(f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{COMPOSITE}"/>'),
        packet("", f"Iptc4xmpExt:DigitalSourceType='{COMPOSITE}' rdf:about='' "),
        packet(
            "", f"Iptc4xmpExt:DigitalSourceType='{COMPOSITE}' Iptc4xmpExt:Note='\"&lt;'"
        ).replace("></rdf:Description>", "/>"),
    ],
)
def test_another_source_type_is_replaced_and_kept(theirs: str) -> None:
    """A file has one; what the provider said is not lost."""
    found = exiftool(mark(png_with(itxt(theirs.encode())), MARK))
    assert found["XMP-iptcExt:DigitalSourceType"] == SOURCE
    assert found["XMP-wan:FormerDigitalSourceType"] == COMPOSITE
    assert found["ExifTool:Validate"] == "OK"


@pytest.mark.exiftool
def test_the_providers_model_name_stays() -> None:
    """It may know better which one it was; ours is in our own property."""
    theirs = packet("<Iptc4xmpExt:AISystemUsed>Wan 2.5.1</Iptc4xmpExt:AISystemUsed>")
    found = exiftool(mark(png_with(itxt(theirs.encode(), compressed=True)), MARK))
    assert found["XMP-iptcExt:AISystemUsed"] == "Wan 2.5.1"
    assert found["XMP-wan:Model"] == MARK.model


def test_marking_again_says_the_new_thing_once() -> None:
    """Our own properties are replaced, not repeated."""
    other = Mark(**{**{n: getattr(MARK, n) for n in MARK.__slots__}, "release": "other@v2"})
    again = mark(mark(WHOLE["png"], MARK), other)
    assert again.count(b"<wan:release>") == again.count(b"<wan:release>other@v2<") == 1
    assert b"former" not in again


@pytest.mark.parametrize(
    "theirs",
    [
        b"",
        b"no XML",
        b"\xff\xfe",
        b"<rdf:RDF",
        b"<a>" * 100,
        PROVIDERS.encode() + b"\0",
        b"<!DOCTYPE a [<!ENTITY b 'c'>]>" + PROVIDERS.encode().partition(b"?>")[2],
        PROVIDERS.encode().replace(b"rdf:RDF", b"rdf:ODF"),
        f"<rdf:RDF {RDF}/>".encode(),
        b" " * (1 << 20) + packet("").encode(),
    ],
)
def test_what_cannot_be_extended_is_kept_behind_ours(theirs: bytes) -> None:
    """Readers take the first packet; a label in what is no packet is not lost either."""
    marked = mark(png_with(itxt(theirs)), MARK)
    assert itxt(theirs) in marked
    slot = find(marked)
    assert slot is not None
    assert MARK.release.encode() in slot.packet


def test_a_full_jpeg_segment_is_kept_behind_ours() -> None:
    """64 KB are all that one segment holds."""
    theirs = packet(f"<dc:a xmlns:dc='b'>{'x' * 65_000}</dc:a>")
    data = with_packet("JPEG", theirs)
    marked = mark(data, MARK)
    assert inspect_image(marked) == inspect_image(data)
    assert marked.index(MARK.release.encode()) < marked.index(theirs.encode())


def test_a_damaged_webp_packet_is_kept_behind_ours() -> None:
    """The format lets readers ignore all but the first."""
    marked = mark(with_packet("WEBP", "no XML"), MARK)
    kinds = [kind for kind, _ in webp_chunks(marked)]
    assert kinds == [b"VP8X", b"VP8 ", b"XMP ", b"XMP "]
    assert marked.index(MARK.release.encode()) < marked.index(b"no XML")


@pytest.mark.parametrize("container", ["png", "jpeg baseline", "webp lossy"])
def test_bytes_behind_the_end_stay_behind_it(container: str) -> None:
    """They are no part of the picture, and none of the packet."""
    behind = b"\nserved by cache 7"
    assert mark(WHOLE[container] + behind, MARK) == mark(WHOLE[container], MARK) + behind


@pytest.mark.parametrize(
    "signed",
    [
        png_with(chunk(b"caBX", b"manifest")),
        WHOLE["jpeg baseline"][:2]
        + b"\xff\xeb\0\x16JP\0\1\0\0\0\1\0\0\0\x20jumbc2pa"
        + WHOLE["jpeg baseline"][2:],
    ],
)
def test_a_signed_file_is_left_alone(signed: bytes) -> None:
    """One added byte would break what somebody signed."""
    assert marking.mark(signed, MARK) is None


def test_words_of_others_are_escaped() -> None:
    """A model's name is the user's to choose."""
    odd = Mark(**{**{n: getattr(MARK, n) for n in MARK.__slots__}, "model": "<a>&\x00\ud800é"})
    slot = find(mark(WHOLE["png"], odd))
    assert slot is not None
    assert "&lt;a&gt;&amp;\ufffd\ufffdé".encode() in slot.packet


def test_damaged_bytes_are_refused() -> None:
    """An export of them would look like a good file."""
    with pytest.raises(DamagedImageError, match="truncated"):
        mark(WHOLE["png"][:-1], MARK)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")), st.sampled_from(["'", '"']))
def test_any_text_of_a_provider_stays(text: str, quote: str) -> None:
    """What is well-formed is extended, byte for byte; what is not is kept as it is."""
    escaped = re.sub("[&<]", "", text).replace(quote, "")
    theirs = packet(text, f"a={quote}{escaped}{quote}").encode()
    marked = mark(png_with(itxt(theirs)), MARK)
    assert theirs.partition(b"</rdf:RDF>")[0] in marked
    inspect_image(marked)
