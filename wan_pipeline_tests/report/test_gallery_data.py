"""The data of the gallery's page: every item once, whole, in few bytes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from wan_pipeline.report import gallery
from wan_pipeline.report.items import AbsentRequest, ImageQuality, Outcome
from wan_pipeline_tests.report.gallery_page import ROW, SUMMARY, written

if TYPE_CHECKING:
    from pathlib import Path


def test_only_the_first_images_are_elements(tmp_path: Path) -> None:
    """The others are data: one line says so to who has scripts off, and bytes stay few."""
    rows = [
        replace(ROW, image_id=f"{number:064x}", path=f"images/{number:064x}.png")
        for number in range(1000)
    ]
    source, page = written(tmp_path, rows)
    assert page.count("article", "card") == gallery.FIRST
    assert f"the first {gallery.FIRST} of 1,000 images" in " ".join(page.texts)
    assert (len(source) - len(written(tmp_path, rows[:500])[0])) / 500 < 200
    links = [
        link.replace(" ", image)
        for link, image in zip(page.column("path"), page.column("image"), strict=True)
    ]
    assert links == [f"../../{row.path}" for row in rows]


def test_requests_without_image_are_items_too(tmp_path: Path) -> None:
    """With what was asked for, so that they stand beside the images of their prompt."""
    absent = AbsentRequest(
        request_id="f" * 64,
        prompt_id=ROW.prompt_id,
        prompt=ROW.prompt,
        negative_prompt=ROW.negative_prompt,
        state="planned",
        reason="not bought yet",
        outcome=Outcome.TO_BUY,
        size="1696*960",
        seed=7,
    )
    _, page = written(tmp_path, [ROW], replace(SUMMARY, absent=[absent]))
    assert page.column("prompt") == [0, 0]
    assert page.column("outcome") == ["stored", "to_buy"]
    assert page.column("image") == [ROW.image_id, None]
    assert page.column("reason") == [None, "not bought yet"]


def test_what_was_measured_is_told(tmp_path: Path) -> None:
    """Flags, groups and hashes, where there are any."""
    quality = ImageQuality(
        flags=["blank", "near_duplicate"],
        near_duplicates=2,
        near_duplicate_group="g",
        nearest=3,
        phash="0" * 16,
        contrast=1.234,
    )
    _, page = written(tmp_path, [replace(ROW, quality=quality), ROW])
    assert page.column("flags") == ["blank near_duplicate", None]
    assert page.column("group") == ["g", None]
    assert page.column("nearest") == [3, None]
    assert page.column("contrast") == [1.2, None]
