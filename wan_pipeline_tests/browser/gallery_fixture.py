"""Galleries of made-up images, and a page that complains about nothing and fetches nothing."""

from __future__ import annotations

import hashlib
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw

from wan_pipeline.report.gallery import GallerySummary, write_gallery
from wan_pipeline.report.items import AbsentRequest, GalleryRow, ImageQuality, Outcome
from wan_pipeline.report.thumbnails import ThumbnailItem, ensure_thumbnails

if TYPE_CHECKING:
    from collections.abc import Generator, Sequence
    from pathlib import Path

    from playwright.sync_api import Browser, Page

__all__ = ["PROMPTS", "SIZES", "opened", "rows", "small_gallery", "thousands", "written"]

SIZES = ("1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960", "768*2700")
PROMPTS = (
    "A red fox asleep in fresh snow",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "水墨画风格的山峦与云海",
)
COST = Decimal("0.03")


def rows(data: Path) -> list[GalleryRow]:
    """One image for each size, in a row for each prompt; those of the first size look alike."""
    made: list[GalleryRow] = []
    for number, size in enumerate(SIZES):
        width, height = (int(edge) for edge in size.split("*"))
        image = Image.new("RGB", (width, height), (40 * number, 90, 220 - 30 * number))
        ImageDraw.Draw(image).ellipse((80, 80, width - 80, height - 80), fill=(240, 200, 90))
        image_id = hashlib.sha256(image.tobytes()).hexdigest()
        path = data / "images" / f"{image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, compress_level=1)
        item = ThumbnailItem(image_id=image_id, image_path=path)
        thumb = ensure_thumbnails([item], data / "thumbs").paths[image_id]
        alike = ImageQuality(
            flags=["near_duplicate"], near_duplicates=2, near_duplicate_group=image_id, nearest=0
        )
        made += [
            GalleryRow(
                request_id=f"{number}{index}" * 32,
                image_id=image_id,
                prompt_id=f"p-{index}",
                prompt=prompt,
                negative_prompt="blurry",
                size=size,
                width=width,
                height=height,
                seed=1000 + 10 * number + index,
                seed_source="given" if index else "derived",
                n=1,
                image_index=0,
                cost_usd=COST,
                path=path.relative_to(data).as_posix(),
                thumb=thumb.relative_to(data).as_posix(),
                size_matches=True,
                prompt_columns={"category": "Animals" if index == 0 else PROMPTS[1]},
                task_id=f"task-{number}-{index}",
                actual_prompt=f"{prompt}, in detail",
                quality=alike if number == 0 else ImageQuality(),
            )
            for index, prompt in enumerate(PROMPTS)
        ]
    return made


def thousands(few: Sequence[GalleryRow], number: int) -> list[GalleryRow]:
    """As many rows as are wanted, of the same six images: a browser reads six files."""
    return [
        replace(
            few[place % len(few)],
            request_id=f"{place:064x}",
            prompt_id=f"p-{place // 4:05}",
            prompt=f"Prompt {place // 4}: {PROMPTS[place // 4 % 3]}",
            seed=place,
            prompt_columns={"place": f"{place // 4 % 40}", "url": f"u{place // 4}"},
        )
        for place in range(number)
    ]


def written(images: Sequence[GalleryRow], data: Path, absent: Sequence[AbsentRequest] = ()) -> str:
    """Write a gallery of these images; returns its file URL."""
    summary = GallerySummary(
        prompt_set="animals",
        profile="a-profile",
        images=len(images),
        requests=len(images) + len(absent),
        failed={"moderation": len(absent)},
        unknown=0,
        missing=0,
        cost_usd=COST * len(images),
        shown_usd=COST * len(images),
        created=datetime(2026, 11, 2, 3, 4, tzinfo=UTC),
        absent=absent,
    )
    folder = data / "gallery" / str(len(images))
    return write_gallery(images, out_dir=folder, data_root=data, summary=summary).path.as_uri()


def small_gallery(images: Sequence[GalleryRow], data: Path) -> str:
    """A gallery of 18 images, one request of the first prompt absent; its file URL."""
    absent = AbsentRequest(
        request_id="f" * 64,
        prompt_id=images[0].prompt_id,
        prompt=images[0].prompt,
        negative_prompt=images[0].negative_prompt,
        state="failed",
        reason="the provider refused it: change the prompt",
        outcome=Outcome.FAILED,
        size=SIZES[0],
        seed=7,
        seed_source="derived",
        prompt_columns=images[0].prompt_columns,
    )
    return written(images, data, [absent])


@contextmanager
def opened(
    browser: Browser,
    url: str,
    *,
    width: int = 1280,
    height: int = 900,
    scheme: str = "light",
    title: str = "animals · 18 images",
) -> Generator[Page]:
    """Open a page; afterwards nothing may have been complained about or fetched."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if scheme == "dark" else "light",
    )
    page = context.new_page()
    complaints: list[str] = []
    foreign: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("requestfailed", lambda request: complaints.append(request.url))
    page.on(
        "request",
        lambda request: None if request.url.startswith("file:") else foreign.append(request.url),
    )
    page.goto(url)
    yield page
    ended = page.title()
    context.close()
    assert ended == title
    assert [url for url in foreign if not url.startswith("data:")] == []
    assert complaints == []
