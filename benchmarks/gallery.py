"""What the gallery of 5,000 images costs a browser, against a page with every card in it.

Run it as ``python benchmarks/gallery.py``; ``--images`` takes another number, ``--rounds`` says how
often each page is opened. Both pages show the same images, prompts and captions, and filter them by
size. The other one is what a static gallery usually is: one element per card, pictures that load
lazily, layout and painting skipped out of view (``content-visibility``), a filter that hides cards.
Both are opened from disk in headless Chromium, in turns; medians and their ratios are printed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import tempfile
import time
from datetime import UTC, datetime
from decimal import Decimal
from html import escape
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

from PIL import Image
from playwright.sync_api import sync_playwright

from wan_pipeline.report.gallery import GalleryReport, GallerySummary, write_gallery
from wan_pipeline.report.items import GalleryRow, ImageQuality

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SIZES = ((1280, 1280), (1104, 1472), (1472, 1104), (960, 1696), (1696, 960))
PICTURES = 25  # different ones; every image has a file of its own all the same
FLAGS = ("near_duplicate", "blank", "wrong_size")
WORDS = (
    "red",
    "paper",
    "kite",
    "above",
    "pale",
    "desert",
    "dunes",
    "sunrise",
    "soft",
    "wide",
    "sky",
)
PLAIN = """<!doctype html><meta charset="utf-8"><title>plain</title><style>
main {{ display: grid; grid-template-columns: repeat(auto-fill, minmax(240px, 1fr)); gap: 16px; }}
article {{ content-visibility: auto; contain-intrinsic-size: auto 280px auto 360px; }}
img {{ width: 100%; height: auto; }} [hidden] {{ display: none; }}</style>
<select id="size"><option value="">all</option>{options}</select><output id="count"></output>
<main>{cards}</main><script>
const cards = [...document.querySelectorAll("article")];
document.getElementById("size").addEventListener("change", (event) => {{
  const wanted = event.target.value;
  let shown = 0;
  for (const card of cards) {{
    card.hidden = Boolean(wanted) && card.dataset.size !== wanted;
    shown += !card.hidden;
  }}
  document.getElementById("count").textContent = `${{shown}} of ${{cards.length}}`;
}});</script>"""
CARD = """<article data-size="{size}"><a href="{href}"><img src="{thumb}" width="{width}"
height="{height}" alt="" loading="lazy" decoding="async"></a><p>{prompt}</p>
<p><span>{seed}</span> <span>{size}</span> <span>${cost}</span></p></article>"""
TO_FRAME = "new Promise((done) => requestAnimationFrame(() => setTimeout(done, 0)))"
CLICK = {
    "the gallery": "document.querySelector('[aria-label=size] input').click()",
    "every card": """const size = document.getElementById('size');
      size.selectedIndex = size.value ? 0 : 1; size.dispatchEvent(new Event('change'))""",
}


def stored(data: Path, number: int) -> list[GalleryRow]:
    """Rows of as many images, each with a thumbnail file of its own."""
    random, pictures = Random(7), data / "pictures"
    pictures.mkdir(parents=True)
    for place in range(PICTURES):
        width, height = SIZES[place % len(SIZES)]
        noise = Image.frombytes("RGB", (8, 8), random.randbytes(192))
        small = noise.resize((320, round(320 * height / width)), Image.Resampling.BICUBIC)
        small.save(pictures / f"{place}.jpg", quality=82)
    return [_row(data, place, random) for place in range(number)]


def _row(data: Path, place: int, random: Random) -> GalleryRow:
    width, height = SIZES[place % len(SIZES)]
    image_id = random.randbytes(32).hex()
    thumb = data / "thumbs" / image_id[:2] / f"{image_id}.jpg"
    thumb.parent.mkdir(parents=True, exist_ok=True)
    os.link(data / "pictures" / f"{place % PICTURES}.jpg", thumb)
    return GalleryRow(
        request_id=random.randbytes(32).hex(),
        image_id=image_id,
        prompt_id=f"p{place // 4:05}",
        prompt=f"{place // 4}: " + " ".join(Random(place // 4).choices(WORDS, k=18)),
        negative_prompt="blurry, text, watermark",
        size=f"{width}*{height}",
        width=width,
        height=height,
        seed=random.randrange(2**31),
        seed_source="derived",
        n=1,
        image_index=0,
        cost_usd=Decimal("0.03"),
        path=f"images/{image_id[:2]}/{image_id}.png",
        thumb=thumb.relative_to(data).as_posix(),
        size_matches=True,
        prompt_columns={"style": WORDS[place // 4 % 9], "season": WORDS[place // 4 % 4]},
        replica=place % 4,
        model="wan25_t2i_preview_intl",
        task_id=random.randbytes(16).hex(),
        run_id=f"run {place // 1000}",
        latency_s=31.5,
        format="png",
        bytes=1_900_000 + place,
        created_at=datetime(2026, 11, 24, tzinfo=UTC),
        quality=ImageQuality(flags=[FLAGS[place % 3]] if place % 11 == 0 else []),
    )


def gallery(rows: list[GalleryRow], data: Path) -> GalleryReport:
    """Write the gallery."""
    summary = GallerySummary(
        prompt_set="many",
        profile="none",
        images=len(rows),
        requests=len(rows),
        failed={},
        unknown=0,
        missing=0,
        cost_usd=sum((row.cost_usd for row in rows), Decimal(0)),
        shown_usd=sum((row.cost_usd for row in rows), Decimal(0)),
        created=datetime(2026, 11, 24, tzinfo=UTC),
    )
    return write_gallery(rows, out_dir=data / "gallery" / "many", data_root=data, summary=summary)


def plain(rows: list[GalleryRow], data: Path) -> Path:
    """Write the page with every card in it."""
    cards = "".join(
        CARD.format(
            size=row.size,
            href=f"../../{row.path}",
            thumb=f"../../{row.thumb}",
            width=320,
            height=round(320 * row.height / row.width),
            prompt=escape(row.prompt),
            seed=row.seed,
            cost=row.cost_usd,
        )
        for row in rows
    )
    options = "".join(f"<option>{width}*{height}</option>" for width, height in SIZES)
    path = data / "gallery" / "many" / "plain.html"
    path.write_text(PLAIN.format(options=options, cards=cards), "utf-8")
    return path


def measure(browser: Browser, name: str, url: str) -> dict[str, float]:
    """Open a page in a new window, choose a size, take it back, and scroll to the end."""
    context = browser.new_context(viewport={"width": 1440, "height": 900})
    page = context.new_page()
    begun = time.perf_counter()
    page.goto(url, wait_until="domcontentloaded")
    page.evaluate(TO_FRAME)
    usable = (time.perf_counter() - begun) * 1000
    page.wait_for_function(  # an expression would be eval(), which the page's policy forbids
        "() => performance.getEntriesByName('first-contentful-paint').length > 0"
    )
    figures = {
        "first paint, ms": page.evaluate(
            "performance.getEntriesByName('first-contentful-paint')[0].startTime"
        ),
        "usable, ms": usable,
        "elements": page.evaluate("document.querySelectorAll('*').length"),
        "choose a size, ms": _timed(page, CLICK[name]),
        "take it back, ms": _timed(page, CLICK[name]),
        "to the end, ms": _timed(page, "scrollTo(0, document.documentElement.scrollHeight)"),
        "script memory, MB": page.evaluate("performance.memory.usedJSHeapSize / 1e6"),
    }
    context.close()
    return figures


def _timed(page: Page, action: str) -> float:
    """Milliseconds until the browser has drawn what follows from an action."""
    return page.evaluate(
        f"(async () => {{ const begun = performance.now(); {action}; await {TO_FRAME};"
        " return performance.now() - begun; })()"
    )


def main() -> None:
    """Build both pages, open them in turns, and print medians with their ratio."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=7)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        data = Path(folder)
        rows = stored(data, asked.images)
        begun = time.perf_counter()
        report = gallery(rows, data)
        took = time.perf_counter() - begun
        pages = {"the gallery": report.path, "every card": plain(rows, data)}
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--enable-precise-memory-info"],
        )
        found: dict[str, list[dict[str, float]]] = {name: [] for name in pages}
        for _ in range(asked.rounds):
            for name, path in pages.items():
                found[name].append(measure(browser, name, path.as_uri()))
        browser.close()
        sizes = {name: path.stat().st_size / 1e6 for name, path in pages.items()}
    show(found, sizes)
    print(
        f"{asked.images} images, median of {asked.rounds}; the gallery was written in {took:.2f} s"
    )


def show(found: dict[str, list[dict[str, float]]], sizes: dict[str, float]) -> None:
    """Print a line per figure."""
    names = list(found)
    rows: dict[str, Any] = {"page, MB": sizes}
    for figure in found[names[0]][0]:
        rows[figure] = {
            name: statistics.median(each[figure] for each in found[name]) for name in names
        }
    print(f"{'':20}" + "".join(f"{name:>14}" for name in names) + f"{'ratio':>9}")
    for figure, values in rows.items():
        ours, other = (values[name] for name in names)
        print(f"{figure:20}{ours:14,.1f}{other:14,.1f}{other / ours:8.1f}x")


if __name__ == "__main__":
    main()
