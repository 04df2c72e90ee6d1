"""Images: exact size, same bytes for the same arguments, any text, and a weight like real ones."""

from __future__ import annotations

import time
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from wan_pipeline.emulator.lettering import covered, fit, text_mask, width_of
from wan_pipeline.emulator.painter import paint

PRESETS = [(1280, 1280), (1104, 1472), (1472, 1104), (960, 1696), (1696, 960), (768, 2700)]
PROMPT = "一只橘猫坐在窗台上看着雨中的城市 / A red kite over dunes"


def decoded(data: bytes) -> Image.Image:
    """An image, fully decoded."""
    with Image.open(BytesIO(data)) as image:
        image.load()
        return image.convert("RGB")


# Half a surrogate pair is no character, but a JSON body can carry it.
_ANY_TEXT = st.text(
    alphabet=st.one_of(
        st.characters(exclude_categories=()), st.sampled_from("\x00\x1b\n\t \ud800\u202e山猫é😀")
    ),
    max_size=300,
)


@settings(max_examples=60, deadline=None)
@given(
    prompt=_ANY_TEXT,
    seed=st.integers(0, 2_147_483_647),
    index=st.integers(0, 7),
    width=st.integers(1, 300),
    height=st.integers(1, 300),
    watermark=st.booleans(),
)
def test_any_text_is_painted_at_exactly_the_size(
    prompt: str, seed: int, index: int, width: int, height: int, *, watermark: bool
) -> None:
    """No text, seed or size raises; the picture decodes and has the size asked for."""
    data = paint(prompt, seed, index, width=width, height=height, watermark=watermark)
    assert decoded(data).size == (width, height)
    assert data == paint(prompt, seed, index, width=width, height=height, watermark=watermark)


@pytest.mark.parametrize(("width", "height"), PRESETS)
def test_a_preset_weighs_like_a_real_image(width: int, height: int) -> None:
    """One to a little over two megabytes at the sizes of the API page."""
    data = paint(PROMPT, 7, 0, width=width, height=height)
    assert 1_000_000 < len(data) < 2_200_000
    assert decoded(data).size == (width, height)


def test_prompt_seed_index_and_watermark_change_the_picture() -> None:
    """Nothing that is shown leaves the bytes as they were."""
    pictures = {
        paint(PROMPT, 7, 0, width=320, height=320),
        paint("another", 7, 0, width=320, height=320),
        paint(PROMPT, 8, 0, width=320, height=320),
        paint(PROMPT, 7, 1, width=320, height=320),
        paint(PROMPT, 7, 0, width=320, height=320, watermark=True),
    }
    assert len(pictures) == 5


def test_the_watermark_is_in_the_lower_right_corner() -> None:
    """Only that corner differs from the picture without one."""
    plain = decoded(paint(PROMPT, 7, 0, width=1280, height=1280))
    marked = decoded(paint(PROMPT, 7, 0, width=1280, height=1280, watermark=True))
    changed = [
        (x, y)
        for y in range(0, 1280, 4)
        for x in range(0, 1280, 4)
        if plain.getpixel((x, y)) != marked.getpixel((x, y))
    ]
    assert changed
    assert min(x for x, _ in changed) > 960
    assert min(y for _, y in changed) > 1200


def test_the_prompt_is_written_on_the_picture() -> None:
    """The caption holds both paper and ink; a longer prompt gets a larger panel."""
    paper = (18, 18, 22)
    short = decoded(paint("kite", 7, 0, width=640, height=640))
    long = decoded(paint("kite " * 60, 7, 0, width=640, height=640))

    def area(picture: Image.Image) -> int:
        return sum(
            picture.getpixel((x, y)) == paper for x in range(0, 640, 4) for y in range(0, 640, 4)
        )

    assert 0 < area(short) < area(long)
    assert (250, 250, 250) in {colour for _, colour in short.getcolors(1 << 20) or []}


def test_every_listed_character_has_a_glyph() -> None:
    """The list and the font agree: no listed character is drawn as the missing glyph."""
    missing = text_mask(["\uffff"], size=40, width=60, height=60).tobytes()
    listed = [chr(code) for code in range(33, 0x10000) if covered(chr(code))]
    assert len(listed) > 1200
    blank = [
        character
        for character in listed
        if text_mask([character], size=40, width=60, height=60).tobytes() == missing
    ]
    assert blank == []


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("kite", "kite"),
        ("山上", "山上"),
        ("a\tb\r\u00a0c", "a b  c"),
        ("😀", "U+1F600"),
        ("\x00\x1b", "U+0000U+001B"),
        ("\ud800", "U+D800"),
        ("한", "U+D55C"),
    ],
)
def test_what_the_font_lacks_is_written_as_code_point(text: str, drawn: str) -> None:
    """Emoji, control characters, half characters and foreign scripts are spelled out."""
    _, lines = fit(text, width=1000, height=100, largest=20, smallest=10)
    assert lines == [drawn]


@settings(deadline=None)
@given(text=_ANY_TEXT, width=st.integers(60, 400), height=st.integers(20, 200))
def test_lines_stay_within_their_box(text: str, width: int, height: int) -> None:
    """At the size that was chosen, no line is wider and no block is higher than the box."""
    size, lines = fit(text, width=width, height=height, largest=20, smallest=8)
    assert 8 <= size <= 20
    assert len(lines) <= max(1, height // (size * 1.35))
    assert all(width_of(line.removesuffix("…"), size) <= width + 1 for line in lines)


def test_a_full_prompt_is_shown_to_its_last_character() -> None:
    """Two thousand characters fit on the smallest width that the provider offers."""
    _, lines = fit("山" * 2000, width=600, height=1800, largest=32, smallest=7)
    assert "".join(lines) == "山" * 2000


@pytest.mark.parametrize("fmt", ["webp", "jpeg"])
def test_other_encodings_show_the_same_picture(fmt: str) -> None:
    """WebP and JPEG differ from the PNG by compression only."""
    options = {"width": 320, "height": 240}
    plain = decoded(paint(PROMPT, 7, 0, **options))
    other = decoded(paint(PROMPT, 7, 0, **options, fmt=fmt))  # type: ignore[arg-type]
    assert other.size == plain.size
    small = [picture.resize((8, 6)).tobytes() for picture in (plain, other)]
    assert max(abs(a - b) for a, b in zip(*small, strict=True)) < 40


def test_painting_is_cheap() -> None:
    """A picture costs far less processor time than the tenth of a second that would be felt."""
    paint(PROMPT, 0, 0, width=1280, height=1280)
    started = time.process_time()
    for seed in range(10):
        paint(PROMPT, seed, 0, width=1280, height=1280)
    assert (time.process_time() - started) / 10 < 0.1


@pytest.mark.parametrize("name", ["showcase.csv", "recipes.jsonl", "catalogue.tsv", "seasons.yaml"])
def test_the_example_sets_are_drawn_without_code_points(name: str) -> None:
    """The bundled font covers every character of the committed prompt sets."""
    path = Path(__file__).parents[2] / "data" / "prompts" / name
    text = path.read_text(encoding="utf-8")
    assert {character for character in text if not covered(character)} <= {"\n", "\r", "\t"}
