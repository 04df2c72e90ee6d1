"""Measuring files: whatever format they have, bounded, and never an exception that stops a set."""

from __future__ import annotations

import hashlib
import warnings
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from wan_pipeline.dataset.pixels import UndecodableError
from wan_pipeline.dataset.quality.labels import Label, labels_in
from wan_pipeline.dataset.quality.measure import Measurement, measure_file
from wan_pipeline_tests.quality.pictures import encoded, scene

if TYPE_CHECKING:
    from pathlib import Path

NEAR = 4
C2PA_STORE = b"jumb...jumd" + bytes.fromhex("6332706100110010800000aa00389b71") + b"c2pa"


def measured(path: Path, data: bytes) -> Measurement:
    """Measure bytes as a stored file."""
    path.write_bytes(data)
    return measure_file(path, hashlib.sha256(data).hexdigest())


def distance(one: Measurement, other: Measurement) -> int:
    """Bits in which two differ."""
    return (one.phash ^ other.phash).bit_count()


def sixteen_bit(image: Image.Image) -> Image.Image:
    """The picture in grey of 16 bits, with something in the lower eight."""
    grey = np.asarray(image.convert("L")).astype(np.uint16)
    return Image.fromarray(grey * 256 + 77)


@pytest.mark.parametrize(
    "data",
    [
        encoded(scene(1), "JPEG", quality=85),
        encoded(scene(1), "WEBP", quality=85),
        encoded(scene(1).convert("P", palette=Image.Palette.ADAPTIVE)),
        encoded(scene(1).convert("L")),
        encoded(scene(1).convert("RGBA")),
        encoded(scene(1).convert("LA")),
        encoded(sixteen_bit(scene(1))),
        encoded(scene(1).convert("CMYK"), "JPEG"),
        encoded(scene(1), "WEBP", save_all=True, append_images=[scene(2)], lossless=True),
    ],
    ids=["jpeg", "webp", "palette", "grey", "alpha", "grey-alpha", "16-bit", "cmyk", "animated"],
)
def test_one_picture_in_any_format_is_one_hash(tmp_path: Path, data: bytes) -> None:
    """Of an animation the first picture counts, of 16 bits the upper eight."""
    plain = measured(tmp_path / "plain.png", encoded(scene(1)))
    other = measured(tmp_path / "other", data)
    assert distance(plain, other) <= NEAR
    assert other.contrast == pytest.approx(plain.contrast, rel=0.05)


def test_exif_rotation_is_applied(tmp_path: Path) -> None:
    """A picture stored on its side and one stored upright look the same."""
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = scene(1).transpose(Image.Transpose.ROTATE_90)
    upright = measured(tmp_path / "a.jpg", encoded(scene(1), "JPEG", quality=95))
    on_its_side = measured(tmp_path / "b.jpg", encoded(turned, "JPEG", quality=95, exif=exif))
    assert distance(upright, on_its_side) <= NEAR


def test_what_is_transparent_is_paper(tmp_path: Path) -> None:
    """Nothing to see is blank, whatever colour lies underneath."""
    hidden = scene(1).convert("RGBA")
    hidden.putalpha(0)
    assert measured(tmp_path / "a.png", encoded(hidden)).contrast == 0


@pytest.mark.parametrize(
    ("image", "low", "high"),
    [
        (Image.new("RGB", (64, 64), "white"), 0, 0),
        (Image.new("RGB", (64, 64), (3, 200, 90)), 0, 0),
        (Image.linear_gradient("L"), 73, 75),
        (Image.effect_noise((128, 128), 2), 1, 3),
        (Image.merge("L", [Image.new("L", (2, 2))]), 0, 0),
    ],
    ids=["white", "green", "gradient", "noise", "tiny"],
)
def test_contrast_is_the_deviation_of_luma(
    tmp_path: Path, image: Image.Image, low: float, high: float
) -> None:
    """Between 0 and 127.5."""
    assert low <= measured(tmp_path / "a.png", encoded(image)).contrast <= high


def test_the_corner_is_looked_at_by_itself(tmp_path: Path) -> None:
    """A quarter of the width and a twelfth of the height, where the provider writes its text."""
    image = Image.new("RGB", (240, 240), "navy")
    plain = measured(tmp_path / "a.png", encoded(image))
    image.paste("white", (190, 225, 230, 235))
    written = measured(tmp_path / "b.png", encoded(image))
    assert plain.corner_contrast == 0
    assert written.corner_contrast > 20


def test_a_file_that_is_not_what_its_name_says_is_not_measured(tmp_path: Path) -> None:
    """A measurement is kept for ever under the id, so it must be of those bytes."""
    path = tmp_path / "a.png"
    path.write_bytes(encoded(scene(1)))
    with pytest.raises(UndecodableError, match="other bytes"):
        measure_file(path, "0" * 64)
    with pytest.raises(UndecodableError, match="No such file"):
        measure_file(tmp_path / "gone.png", "0" * 64)


def test_bombs_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither those that Pillow refuses nor those it only warns of."""
    data = encoded(Image.new("RGB", (60, 60)))
    for limit in (3000, 1000):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with pytest.raises(UndecodableError):
                measured(tmp_path / "a.png", data)


def test_the_same_fault_has_the_same_words(tmp_path: Path) -> None:
    """They are in a table whose bytes must not differ from run to run."""
    said = set[str]()
    for data in (b"<html>", b"<html>"):
        with pytest.raises(UndecodableError) as caught:
            measured(tmp_path / "a.png", data)
        said.add(str(caught.value))
    assert len(said) == 1
    assert "0x" not in said.pop()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(fmt=st.sampled_from(["PNG", "WEBP", "JPEG"]), data=st.data())
def test_altered_files_are_measured_or_undecodable(
    tmp_path: Path, fmt: str, data: st.DataObject
) -> None:
    """Whatever a decoder trips over, there is one kind of error."""
    whole = encoded(Image.frombytes("RGB", (40, 30), Random(1).randbytes(40 * 30 * 3)), fmt)
    at = data.draw(st.integers(0, len(whole) - 1))
    altered = whole[:at] + data.draw(st.binary(min_size=1, max_size=8)) + whole[at + 8 :]
    try:
        found = measured(tmp_path / "altered", altered)
    except UndecodableError:
        return
    assert 0 <= found.phash < 2**64


@pytest.mark.parametrize(
    ("appended", "expected"),
    [
        (b"", ()),
        (C2PA_STORE, (Label.C2PA,)),
        (b"<Iptc4xmpExt:DigitalSourceType>.../trainedAlgorithmicMedia", (Label.IPTC,)),
        (b'{"AIGC":{"Label":"1","ContentProducer":"x"}}', (Label.AIGC,)),
    ],
)
def test_labels_are_found_by_their_signatures(appended: bytes, expected: tuple[Label, ...]) -> None:
    """In the bytes, wherever a container keeps them."""
    assert labels_in(encoded(scene(1)) + appended) == expected
