"""`inspect_image`: whole files pass, every cut or altered one is named for what it is."""

from __future__ import annotations

import hashlib
import io
import pickle
import struct
import zlib
from contextlib import suppress
from functools import cache
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from wan_pipeline.dataset.keeper import ImageKeeper
from wan_pipeline.dataset.store import ImageStore
from wan_pipeline.dataset.verify import (
    DamagedImageError,
    DamageReason,
    ImageFacts,
    inspect_image,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WIDTH, HEIGHT = 48, 31


@cache
def encoded(fmt: str, mode: str = "RGB", options: str = "") -> bytes:
    """A small picture with content, encoded by Pillow."""
    noise = Image.frombytes("L", (WIDTH, HEIGHT), Random(1).randbytes(WIDTH * HEIGHT))
    picture = Image.merge(
        "RGB", [noise, noise.rotate(180), Image.linear_gradient("L").resize((WIDTH, HEIGHT))]
    )
    if mode == "RGBA":
        picture.putalpha(noise)
    buffer = io.BytesIO()
    arguments: dict[str, Any] = dict.fromkeys(options.split(), True)
    picture.convert(mode).save(buffer, fmt, **arguments)
    return buffer.getvalue()


WHOLE = {
    "png": encoded("PNG"),
    "png with alpha": encoded("PNG", "RGBA"),
    "png grey": encoded("PNG", "L"),
    "png palette": encoded("PNG", "P"),
    "png one bit": encoded("PNG", "1"),
    "png 16 bit": encoded("PNG", "I;16") if "I;16" in Image.MODES else encoded("PNG", "I"),
    "webp lossy": encoded("WEBP"),
    "webp lossy with alpha": encoded("WEBP", "RGBA"),
    "webp lossless": encoded("WEBP", "RGB", "lossless"),
    "webp lossless with alpha": encoded("WEBP", "RGBA", "lossless"),
    "jpeg baseline": encoded("JPEG"),
    "jpeg progressive": encoded("JPEG", "RGB", "progressive optimize"),
    "jpeg grey": encoded("JPEG", "L"),
}
names = st.sampled_from(sorted(WHOLE))
png_names = st.sampled_from(sorted(name for name in WHOLE if name.startswith("png")))


def reason_of(data: bytes, *, deep: bool = False) -> DamageReason:
    """Why `data` is refused; fails when it is not."""
    with pytest.raises(DamagedImageError) as caught:
        inspect_image(data, deep=deep)
    return caught.value.reason


def chunk(kind: bytes, body: bytes) -> bytes:
    """A PNG chunk with a right CRC."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(*chunks: bytes) -> bytes:
    """A PNG file of these chunks."""
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def header(width: int = 2, height: int = 2, *rest: int) -> bytes:
    """An IHDR chunk, 8-bit RGB unless told otherwise."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *(rest or (8, 2, 0, 0, 0))))


PIXELS = zlib.compress(bytes(2 * (1 + 2 * 3)))
IDAT, IEND = chunk(b"IDAT", PIXELS), chunk(b"IEND", b"")


@pytest.mark.parametrize("name", sorted(WHOLE))
@pytest.mark.parametrize("deep", [False, True])
def test_whole_files_are_accepted(name: str, *, deep: bool) -> None:
    """Every kind of file an encoder makes passes, with its format and size."""
    facts = inspect_image(WHOLE[name], deep=deep)
    assert facts == ImageFacts(
        format=name.partition(" ")[0],  # pyright: ignore[reportArgumentType]
        width=WIDTH,
        height=HEIGHT,
    )


def test_interlaced_png_passes_the_deep_check() -> None:
    """The seven passes of Adam7 add up to the bytes that the encoder wrote."""
    # Pillow writes no interlaced PNG, so this one is made by hand: 5x3 pixels, 8-bit grey.
    widths = [1, 1, 2, 1, 3, 2, 5]
    rows = [1, 1, 0, 1, 1, 2, 1]  # pass 3 begins below the picture
    raw = sum(count * (1 + width) for count, width in zip(rows, widths, strict=True))
    data = png(header(5, 3, 8, 0, 0, 0, 1), chunk(b"IDAT", zlib.compress(bytes(raw))), IEND)
    facts = inspect_image(data, deep=True)
    assert (facts.width, facts.height) == (5, 3)
    short = png(header(5, 3, 8, 0, 0, 0, 1), chunk(b"IDAT", zlib.compress(bytes(raw - 1))), IEND)
    assert reason_of(short, deep=True) is DamageReason.INCONSISTENT
    with Image.open(io.BytesIO(data)) as image:
        image.load()  # the other reader agrees that the hand-made file is whole


def test_animated_webp_has_the_size_of_its_canvas() -> None:
    """An animation is one whole file too."""
    buffer = io.BytesIO()
    frames = [Image.new("RGB", (WIDTH, HEIGHT), colour) for colour in ("red", "blue")]
    frames[0].save(buffer, "WEBP", save_all=True, append_images=frames[1:])
    facts = inspect_image(buffer.getvalue())
    assert (facts.width, facts.height) == (WIDTH, HEIGHT)


def test_metadata_in_the_file_is_walked_over() -> None:
    """Text chunks, EXIF with an embedded end marker and ICC profiles do not confuse the walk."""
    picture = Image.new("RGB", (WIDTH, HEIGHT))
    text = PngImagePlugin.PngInfo()
    text.add_text("prompt", "IEND IDAT", zip=True)
    exif = Image.Exif()
    exif[0x010E] = "a caption \x7f"
    for fmt in ("PNG", "JPEG", "WEBP"):
        buffer = io.BytesIO()
        extra = {"pnginfo": text} if fmt == "PNG" else {}
        picture.save(buffer, fmt, exif=exif, icc_profile=b"\xff\xd9" * 40, **extra)
        facts = inspect_image(buffer.getvalue())
        assert (facts.width, facts.height) == (WIDTH, HEIGHT)


@given(name=names, data=st.data())
def test_every_cut_is_refused(name: str, data: st.DataObject) -> None:
    """No prefix of a file passes as the file."""
    whole = WHOLE[name]
    length = data.draw(st.integers(0, len(whole) - 1))
    expected = {DamageReason.EMPTY if length == 0 else DamageReason.TRUNCATED}
    assert reason_of(whole[:length]) in expected


@given(name=names, extra=st.binary(min_size=1, max_size=64))
@example(name="png", extra=b"\n")
@example(name="jpeg baseline", extra=b"\xff\xd9")
def test_bytes_after_the_end_change_nothing(name: str, extra: bytes) -> None:
    """The picture before them is whole and was paid for; another download brings them again."""
    assert inspect_image(WHOLE[name] + extra, deep=True) == inspect_image(WHOLE[name])


@pytest.mark.parametrize("name", ["png", "jpeg baseline", "webp lossy"])
def test_an_image_with_bytes_after_its_end_is_stored_as_received(name: str, tmp_path: Path) -> None:
    """Not a byte less: its name is the hash of what came."""
    received = WHOLE[name] + b"\nserved by cache 7"
    keeper = ImageKeeper(ImageStore(tmp_path))
    keeper.check(received)
    kept = keeper.keep(received)
    assert (tmp_path / kept.path).read_bytes() == received
    assert kept.image_id == hashlib.sha256(received).hexdigest()
    assert (kept.width, kept.height) == (WIDTH, HEIGHT)


@given(name=png_names, data=st.data())
def test_every_flipped_byte_of_a_png_is_refused(name: str, data: st.DataObject) -> None:
    """Each byte of a PNG is under its signature, a length or a CRC."""
    altered = bytearray(WHOLE[name])
    at = data.draw(st.integers(0, len(altered) - 1))
    altered[at] ^= data.draw(st.integers(1, 255))
    with pytest.raises(DamagedImageError):
        inspect_image(bytes(altered))


@given(
    prefix=st.sampled_from(
        [b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"RIFF\x20\0\0\0WEBPVP8X", png(header())]
    ),
    body=st.binary(max_size=200),
    deep=st.booleans(),
)
def test_random_bytes_are_refused_in_one_way_only(
    prefix: bytes, body: bytes, *, deep: bool
) -> None:
    """Whatever a host sends, the answer is facts or `DamagedImageError`."""
    with pytest.raises(DamagedImageError):
        inspect_image(prefix + body, deep=deep)


@given(name=names, data=st.data(), deep=st.booleans())
def test_altered_files_never_raise_anything_else(
    name: str, data: st.DataObject, *, deep: bool
) -> None:
    """A file overwritten in the middle is accepted or refused, never a crash."""
    whole = WHOLE[name]
    at = data.draw(st.integers(0, len(whole)))
    patch = data.draw(st.binary(max_size=8))
    altered = whole[:at] + patch + whole[at + len(patch) :]
    with suppress(DamagedImageError):
        assert inspect_image(altered, deep=deep).width > 0


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", DamageReason.EMPTY),
        (b"<!DOCTYPE html><title>502 Bad Gateway</title>", DamageReason.NOT_AN_IMAGE),
        (b'{"error": {"message": "expired"}}', DamageReason.NOT_AN_IMAGE),
        (b"GIF89a\x01\0\x01\0", DamageReason.NOT_AN_IMAGE),
        (b"\x89PNG\r\n", DamageReason.TRUNCATED),
        (b"RIFF\x10\0", DamageReason.TRUNCATED),
        (png(header(), IDAT), DamageReason.TRUNCATED),
        (png(header(), IDAT, IEND[:-1]), DamageReason.TRUNCATED),
        (png(header(), IDAT[:-1] + b"\0", IEND), DamageReason.BAD_CRC),
        (png(IDAT, header(), IEND), DamageReason.INCONSISTENT),
        (png(header(), header(), IDAT, IEND), DamageReason.INCONSISTENT),
        (png(header(), IEND), DamageReason.INCONSISTENT),
        (png(header(), chunk(b"IDAT", b""), IEND), DamageReason.INCONSISTENT),
        (png(header(), IDAT, chunk(b"tEXt", b"a\0b"), IDAT, IEND), DamageReason.INCONSISTENT),
        (png(header(), IDAT, chunk(b"IEND", b"x")), DamageReason.INCONSISTENT),
        (png(header(2, 2, 8, 3, 0, 0, 0), IDAT, IEND), DamageReason.INCONSISTENT),
        (png(header(2, 2, 4, 2, 0, 0, 0), IDAT, IEND), DamageReason.INCONSISTENT),
        (png(header(2, 2, 8, 2, 1, 0, 0), IDAT, IEND), DamageReason.INCONSISTENT),
        (png(header(0, 2), IDAT, IEND), DamageReason.INCONSISTENT),
        (png(header(2, 16385), IDAT, IEND), DamageReason.INCONSISTENT),
        (png(header(), chunk(b"ID\0T", b""), IDAT, IEND), DamageReason.INCONSISTENT),
    ],
)
def test_damage_is_named(data: bytes, reason: DamageReason) -> None:
    """Each defect is counted under its own word."""
    assert reason_of(data) is reason


@pytest.mark.parametrize(
    "spoil",
    [
        lambda stream: stream[:-6],  # ends early
        lambda stream: b"\x78\x9c" + b"\xff" * len(stream),  # no deflate stream
        lambda stream: zlib.compress(zlib.decompress(stream) + b"\0"),  # one byte too many
        lambda stream: zlib.compress(bytes(50_000_000)),  # a bomb
    ],
    ids=["short", "garbage", "long", "bomb"],
)
def test_bad_pixels_under_a_right_crc_need_the_deep_check(spoil: Callable[[bytes], bytes]) -> None:
    """Only inflating finds them; the default walk, far cheaper, lets them pass."""
    data = png(header(), chunk(b"IDAT", spoil(PIXELS)), IEND)
    assert inspect_image(data).width == 2
    assert reason_of(data, deep=True) is DamageReason.INCONSISTENT


def test_webp_cut_between_two_chunks_is_refused() -> None:
    """Every chunk that is left is whole; only the container's length tells of the missing one."""
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "a caption"
    Image.new("RGB", (WIDTH, HEIGHT)).save(buffer, "WEBP", exif=exif)
    data = buffer.getvalue()
    assert reason_of(data[: data.rindex(b"EXIF")]) is DamageReason.TRUNCATED


def test_canvas_and_image_of_a_webp_must_agree() -> None:
    """A WebP whose canvas was altered is caught without a checksum."""
    data = bytearray(WHOLE["webp lossy with alpha"])
    assert data[12:16] == b"VP8X"
    data[24] ^= 1
    assert reason_of(bytes(data)) is DamageReason.INCONSISTENT


def test_error_survives_a_process_pool() -> None:
    """Reason and detail are there on the other side of a pickle."""
    error = DamagedImageError(DamageReason.BAD_CRC, "chunk IDAT at byte 33")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.reason, copy.detail, str(copy)) == (error.reason, error.detail, str(error))


def test_foreign_bytes_cannot_reach_the_terminal() -> None:
    """Escape codes of a hostile host are shown as text."""
    with pytest.raises(DamagedImageError) as caught:
        inspect_image(b"\x1b[2J\x1b]0;owned\x07")
    assert str(caught.value).isprintable()
