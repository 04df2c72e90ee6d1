"""The contact sheet: a bounded Markdown table that no caption can break."""

from __future__ import annotations

import base64
import io
import re
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt
from PIL import Image

from wan_pipeline.report.contact_sheet import ContactItem, contact_sheet

if TYPE_CHECKING:
    from pathlib import Path

PICTURE = re.compile(r"!\[\]\(data:image/jpeg;base64,([A-Za-z0-9+/=]+)\)")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Return a plain picture."""
    path = tmp_path / "a.png"
    Image.new("RGB", (1280, 960), (90, 140, 200)).save(path)
    return path


def rendered(sheet: str) -> str:
    """Return the sheet as HTML, by a CommonMark reader with tables and raw HTML switched on."""
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(sheet)


def test_grid_has_four_columns_and_the_pictures_inside(picture: Path) -> None:
    """Six images make two rows; each picture is a JPEG of at most 96 pixels."""
    sheet = contact_sheet([ContactItem(image_path=picture, caption="a cat")] * 6)
    html = rendered(sheet)
    assert (html.count("<tr>"), html.count("<td>"), html.count("<img")) == (3, 8, 6)
    for encoded in PICTURE.findall(sheet):
        with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
            assert (image.format, image.size) == ("JPEG", (96, 72))


def test_worst_case_fits_the_bound(tmp_path: Path) -> None:
    """Sixteen pictures of pure noise, with captions of nothing but markup, stay below 50 kB."""
    path = tmp_path / "noise.png"
    noise = np.random.default_rng(1).integers(0, 256, (1280, 1280, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    sheet = contact_sheet([ContactItem(image_path=path, caption="|" * 2000)] * 40)
    assert len(sheet.encode()) < 50_000
    assert len(PICTURE.findall(sheet)) == 16


def test_small_bound_shows_fewer(picture: Path) -> None:
    """When nothing smaller fits, images are dropped from the end, down to none."""
    items = [ContactItem(image_path=picture, caption="cat")] * 16
    few = contact_sheet(items, max_bytes=4_000)
    assert 0 < len(PICTURE.findall(few)) < 16
    assert len(few.encode()) <= 4_000
    assert contact_sheet(items, max_bytes=10) == ""


def test_nothing_to_show_is_empty() -> None:
    """No image, no table."""
    assert contact_sheet([]) == ""


def test_undecodable_image_keeps_its_place(tmp_path: Path, picture: Path) -> None:
    """The cell says that the picture cannot be shown, beside those that can."""
    (tmp_path / "bad.png").write_bytes(b"<html>")
    sheet = contact_sheet(
        [
            ContactItem(image_path=tmp_path / "bad.png", caption="lost"),
            ContactItem(image_path=picture, caption="kept"),
        ]
    )
    assert "cannot be shown" in sheet
    assert len(PICTURE.findall(sheet)) == 1


@pytest.mark.parametrize(
    "caption",
    [
        "</script><img src=x onerror=alert(1)>",
        "a | b | c",
        "[click](javascript:alert(1))",
        "![x](http://evil.example/x.png)",
        "line\n\n# heading\r\n- list",
        "`code` **bold** _it_ ~~no~~ <b>",
        "\\| \\",
        "| --- |",
        "&lt;b&gt; &#60;",
        "水墨画 \u202e rtl \x00\x1b[31m",
    ],
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
@given(tail=st.text(max_size=60))
def test_captions_are_text_only(picture: Path, caption: str, tail: str) -> None:
    """A prompt stays inside its cell and makes no element, whatever it contains."""
    html = rendered(contact_sheet([ContactItem(image_path=picture, caption=caption + tail)] * 2))
    assert set(re.findall(r"<(\w+)", html)) == {"table", "thead", "tbody", "tr", "th", "td", "img"}
    assert (html.count("<tr>"), html.count("<td>"), html.count("<img")) == (2, 2, 2)
    assert "http://evil" not in "".join(re.findall(r'(?:src|href)="([^"]*)"', html))
