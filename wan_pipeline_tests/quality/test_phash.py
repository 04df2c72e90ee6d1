"""The perceptual hash: the bits of the `imagehash` package, alike everywhere, near for copies."""

from __future__ import annotations

from random import Random

import imagehash
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from wan_pipeline.dataset.quality.phash import from_hex, perceptual_hash, to_hex
from wan_pipeline_tests.quality.pictures import scene

KNOWN = ["8961ddb9985a26ab", "a99087c9ebc1696d", "a1c6c8a0651b7f6d"]
SIZES = ((160, 120), (96, 200), (33, 31), (400, 90))


@pytest.mark.parametrize("number", range(24))
def test_it_is_the_hash_of_imagehash(number: int) -> None:
    """Whole numbers instead of floats, and the same 64 bits."""
    luma = scene(number, SIZES[number % len(SIZES)]).convert("L")
    assert to_hex(perceptual_hash(luma)) == str(imagehash.phash(luma))


@given(st.binary(min_size=32 * 32, max_size=32 * 32))
def test_also_of_noise(pixels: bytes) -> None:
    """Pictures without any structure have frequencies near their median, too."""
    luma = Image.frombytes("L", (32, 32), pixels)
    assert to_hex(perceptual_hash(luma)) == str(imagehash.phash(luma))


@pytest.mark.parametrize(
    ("level", "expected"), [(0, 0), (1, 1 << 63), (128, 1 << 63), (255, 1 << 63)]
)
def test_a_plain_picture_has_a_plain_hash(level: int, expected: int) -> None:
    """Its frequencies are exactly zero, not rounding errors that another machine has not."""
    assert perceptual_hash(Image.new("L", (123, 77), level)) == expected


def test_known_hashes_never_change() -> None:
    """What is stored must stay comparable: a change here is another column."""
    noise = [Image.frombytes("L", (64, 48), Random(n).randbytes(64 * 48)) for n in range(3)]
    assert [to_hex(perceptual_hash(image)) for image in noise] == KNOWN


def test_copies_are_near_and_others_far() -> None:
    """Scaled, brightened and noisy copies stay within 4 bits; other scenes do not come near."""
    hashes = [perceptual_hash(scene(number).convert("L")) for number in range(20)]
    for number, own in enumerate(hashes):
        image = scene(number).convert("L")
        grain = np.random.default_rng(number).normal(0, 6, (120, 160))
        noisy = Image.fromarray(np.clip(np.asarray(image) + grain, 0, 255).astype(np.uint8))
        for copy in (image.resize((80, 60)), image.resize((400, 300)), noisy):
            assert (own ^ perceptual_hash(copy)).bit_count() <= 4
        others = [other for index, other in enumerate(hashes) if index != number]
        assert min((own ^ other).bit_count() for other in others) > 4


@given(st.integers(0, 2**64 - 1))
def test_hex_and_back(phash: int) -> None:
    """Always 16 digits."""
    assert from_hex(to_hex(phash)) == phash
    assert len(to_hex(phash)) == 16
