"""Thumbnails: made once, of anything Pillow reads, and never the end of a report."""

from __future__ import annotations

import io
import warnings
from random import Random
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from wan_pipeline.report.thumbnails import (
    ThumbnailError,
    ThumbnailItem,
    ensure_thumbnails,
    load_small,
)

if TYPE_CHECKING:
    from pathlib import Path

ID_A, ID_B, ID_C = "a" * 64, "b" * 64, "c" * 64


def saved(path: Path, size: tuple[int, int] = (1280, 1280), mode: str = "RGB") -> Path:
    """Save a plain picture and return its path."""
    Image.new(mode, size, 120 if mode == "L" else None).save(path)
    return path


def thumbnail(source: Path, thumbs: Path, **options: int) -> Path:
    """The thumbnail of one image that can be shown."""
    item = ThumbnailItem(image_id=ID_A, image_path=source)
    return ensure_thumbnails([item], thumbs, **options).paths[ID_A]


def problem(source: Path, thumbs: Path) -> str:
    """What is told of one image that cannot."""
    item = ThumbnailItem(image_id=ID_A, image_path=source)
    return ensure_thumbnails([item], thumbs).failed[ID_A]


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1280, 1280), (320, 320)),
        ((1696, 960), (320, 181)),
        ((768, 2700), (320, 1125)),
        ((2700, 768), (320, 91)),
        ((100, 50), (100, 50)),
    ],
)
def test_width_is_fixed_and_height_follows(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    """A tall picture is as sharp in its column as a square one; nothing is enlarged."""
    thumb = thumbnail(saved(tmp_path / "a.png", size), tmp_path / "thumbs")
    with Image.open(thumb) as image:
        assert (image.format, image.mode, image.size) == ("JPEG", "RGB", expected)


def test_thumbnail_is_named_by_the_image_and_kept(tmp_path: Path) -> None:
    """The second call reads nothing: the image may even be gone."""
    source = saved(tmp_path / "a.png")
    thumb = thumbnail(source, tmp_path / "thumbs")
    assert thumb == tmp_path / "thumbs" / "320" / "aa" / f"{ID_A}.jpg"
    source.unlink()
    assert thumbnail(source, tmp_path / "thumbs") == thumb


def test_metadata_stays_behind_and_orientation_is_applied(tmp_path: Path) -> None:
    """No EXIF and no comment in the thumbnail; a rotated image stands upright."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "a private note"
    Image.new("RGB", (400, 200)).save(tmp_path / "a.jpg", exif=exif, comment=b"a private note")
    thumb = thumbnail(tmp_path / "a.jpg", tmp_path / "thumbs", width_px=100)
    with Image.open(thumb) as image:
        assert image.size == (100, 200)
        assert not image.getexif()
        assert "comment" not in image.info
    assert b"private" not in thumb.read_bytes()


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_every_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """Grey, palette, alpha, 16-bit and CMYK pictures are all shown."""
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    Image.new(mode, (64, 64)).save(path)
    assert load_small(path, (32, 32)).mode == "RGB"


def test_transparent_is_shown_on_white(tmp_path: Path) -> None:
    """What is not there looks like paper, not like ink."""
    Image.new("RGBA", (8, 8), (0, 0, 0, 0)).save(tmp_path / "a.png")
    assert load_small(tmp_path / "a.png", (8, 8)).getpixel((0, 0)) == (255, 255, 255)


def test_bad_files_are_counted_and_the_rest_goes_on(tmp_path: Path) -> None:
    """Damaged, missing and foreign entries are named by image id; good ones are painted."""
    damaged = tmp_path / "damaged.png"
    damaged.write_bytes(saved(tmp_path / "a.png").read_bytes()[:60])
    items = [
        ThumbnailItem(image_id=ID_A, image_path=tmp_path / "a.png"),
        ThumbnailItem(image_id=ID_A, image_path=tmp_path / "a.png"),
        ThumbnailItem(image_id=ID_B, image_path=damaged),
        ThumbnailItem(image_id=ID_C, image_path=tmp_path / "gone.png"),
        ThumbnailItem(image_id="../../evil", image_path=tmp_path / "a.png"),
    ]
    report = ensure_thumbnails(items, tmp_path / "thumbs")
    assert set(report.paths) == {ID_A}
    assert set(report.failed) == {ID_B, ID_C, "../../evil"}
    assert "damaged.png" in report.failed[ID_B]
    assert report.made == 1
    assert ensure_thumbnails(items, tmp_path / "thumbs").made == 0
    files = [path.name for path in (tmp_path / "thumbs").rglob("*") if path.is_file()]
    assert files == [f"{ID_A}.jpg"]


def test_decompression_bombs_are_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pillow's pixel limit holds, between the warning and the error too."""
    source = saved(tmp_path / "a.png", (60, 60))
    for limit, action in ((3000, "ignore"), (3000, "error"), (1000, "ignore")):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter(action)  # outside of tests Pillow's warning stops nothing
            assert "a.png" in problem(source, tmp_path / "thumbs")


def test_refusing_disk_is_told(tmp_path: Path) -> None:
    """A thumbs folder that cannot be made is named with what to do."""
    (tmp_path / "thumbs").write_text("a file where the folder should be")
    assert "writable" in problem(saved(tmp_path / "a.png"), tmp_path / "thumbs")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(fmt=st.sampled_from(["PNG", "WEBP", "JPEG"]), data=st.data())
def test_altered_files_raise_only_thumbnail_errors(
    tmp_path: Path, fmt: str, data: st.DataObject
) -> None:
    """Whatever a decoder trips over, the report sees one kind of error or a picture."""
    buffer = io.BytesIO()
    Image.frombytes("RGB", (40, 30), Random(1).randbytes(40 * 30 * 3)).save(buffer, fmt)
    altered = bytearray(buffer.getvalue())
    at = data.draw(st.integers(0, len(altered) - 1))
    altered[at : at + 8] = data.draw(st.binary(min_size=1, max_size=8))
    path = tmp_path / "altered"
    path.write_bytes(altered)
    try:
        small = load_small(path, (20, 20))
    except ThumbnailError:
        return
    assert small.width <= 20
