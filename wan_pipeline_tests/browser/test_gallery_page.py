"""The gallery in a real browser, opened from disk: it looks, filters and enlarges."""

from __future__ import annotations

import hashlib
import shutil
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageDraw
from playwright.sync_api import Browser, Page, expect, sync_playwright

from wan_pipeline.report.gallery import AbsentRequest, GalleryRow, GallerySummary, write_gallery
from wan_pipeline.report.thumbnails import ensure_thumbnail

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.browser

SIZES = ("1280*1280", "1104*1472", "1472*1104", "960*1696", "1696*960", "768*2700")
PROMPTS = (
    "A red fox asleep in fresh snow",
    "</script><img src=x onerror=\"document.title='owned'\">",
    "水墨画风格的山峦与云海",
)
ARGUMENTS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def rows(data: Path) -> list[GalleryRow]:
    """Store one image for each size and prompt, and return their rows."""
    made: list[GalleryRow] = []
    for number, size in enumerate(SIZES):
        width, height = (int(edge) for edge in size.split("*"))
        image = Image.new("RGB", (width, height), (40 * number, 90, 220 - 30 * number))
        ImageDraw.Draw(image).ellipse((80, 80, width - 80, height - 80), fill=(240, 200, 90))
        image_id = hashlib.sha256(image.tobytes()).hexdigest()
        path = data / "images" / f"{image_id}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path, compress_level=1)
        thumb = ensure_thumbnail(path, data / "thumbs", image_id)
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
                seed_source="derived",
                n=1,
                image_index=0,
                cost_usd=Decimal("0.03"),
                path=path.relative_to(data).as_posix(),
                thumb=thumb.relative_to(data).as_posix(),
                size_matches=True,
                prompt_columns={"category": "Animals" if index == 0 else PROMPTS[1]},
            )
            for index, prompt in enumerate(PROMPTS)
        ]
    return made


@pytest.fixture(scope="module")
def gallery_url(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the file URL of a gallery of 18 images, one request absent."""
    data = tmp_path_factory.mktemp("data")
    images = rows(data)
    absent = AbsentRequest(
        request_id="f" * 64,
        prompt_id="p-9",
        prompt="a forbidden thing",
        state="failed",
        reason="the provider refused it: change the prompt",
    )
    summary = GallerySummary(
        prompt_set="animals",
        profile="a-profile",
        images=len(images),
        requests=len(images) + 1,
        failed={"moderation": 1},
        unknown=0,
        missing=0,
        cost_usd=Decimal("0.54"),
        created=datetime(2026, 11, 2, 3, 4, tzinfo=UTC),
        absent=[absent],
    )
    return write_gallery(
        images, out_dir=data / "gallery" / "animals", data_root=data, summary=summary
    ).path.as_uri()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Run the system's Chromium."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=list(ARGUMENTS)
        )
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Browser, gallery_url: str) -> Iterator[Page]:
    """Open the gallery; afterwards nothing may have been complained about or fetched."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    complaints: list[str] = []
    foreign: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("requestfailed", lambda request: complaints.append(request.url))
    opened.on(
        "request",
        lambda request: None if request.url.startswith("file:") else foreign.append(request.url),
    )
    opened.goto(gallery_url)
    yield opened
    title = opened.title()
    context.close()
    assert title == "animals · 18 images"
    assert [url for url in foreign if not url.startswith("data:")] == []
    assert complaints == []


def visible_prompts(page: Page) -> list[str]:
    """Return the prompts on the cards that are shown."""
    return page.locator(".card:visible .prompt").all_text_contents()


def test_every_image_is_shown_and_loads(page: Page, tmp_path: Path) -> None:
    """All cards are there, hostile prompts as text, and the pictures in view are painted."""
    expect(page.locator(".card:visible")).to_have_count(18)
    assert set(visible_prompts(page)) == set(PROMPTS)
    page.wait_for_function(
        "[...document.images].some((image) => image.complete && image.naturalWidth === 320)"
    )
    screenshot = page.screenshot(path=tmp_path / "gallery.png")
    with Image.open(tmp_path / "gallery.png") as image:
        assert image.size == (1280, 900)
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 100
    assert screenshot


def test_filter_narrows_at_once_and_says_how_many(page: Page) -> None:
    """Words from prompt, size and further columns combine; Escape brings everything back."""
    page.keyboard.press("/")
    page.keyboard.type("FOX")
    expect(page.locator("#count")).to_have_text("6 of 18")
    assert set(visible_prompts(page)) == {PROMPTS[0]}
    page.keyboard.type(" 768*2700 animals")
    expect(page.locator("#count")).to_have_text("1 of 18")
    page.keyboard.press("Escape")
    expect(page.locator(".card:visible")).to_have_count(18)
    page.locator("#filter").fill("山峦")
    expect(page.locator("#count")).to_have_text("6 of 18")
    page.locator("#size").select_option("1696×960")
    expect(page.locator(".card:visible")).to_have_count(1)


def test_filter_without_match_offers_the_way_back(page: Page) -> None:
    """An empty result explains itself."""
    page.locator("#filter").fill("no such thing")
    expect(page.locator(".card:visible")).to_have_count(0)
    page.get_by_role("button", name="Clear the filter").click()
    expect(page.locator(".card:visible")).to_have_count(18)


def test_click_enlarges_and_keys_move_on(page: Page) -> None:
    """The large view has the full image and every field; arrows stay within the filter."""
    page.locator("#filter").fill("fox")
    page.locator(".card:visible .picture").first.click()
    viewer = page.locator("#viewer")
    expect(viewer).to_be_visible()
    expect(page.locator("#viewer-place")).to_have_text("1 of 6")
    for text in (PROMPTS[0], "1000 (derived)", "1280×1280", "$0.03", "blurry", "Animals"):
        expect(viewer).to_contain_text(text)
    page.wait_for_function("document.getElementById('viewer-image').naturalWidth === 1280")
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#viewer-place")).to_have_text("6 of 6")
    expect(viewer).to_contain_text("768×2700")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(page.locator("#viewer-place")).to_have_text("2 of 6")
    link = page.locator("#viewer-open").get_attribute("href")
    assert link is not None
    assert link.endswith(".png")
    page.keyboard.press("Escape")
    expect(viewer).to_be_hidden()
    expect(page.locator(".card:visible .picture").nth(1)).to_be_focused()


def test_hostile_text_is_text_in_the_large_view(page: Page) -> None:
    """Prompt and columns are set as text: no element appears, no script runs."""
    page.locator("#filter").fill("onerror 1280*1280 script")
    page.locator(".card:visible", has_text="</script>").first.locator(".picture").click()
    expect(page.locator("#viewer-prompt")).to_have_text(PROMPTS[1])
    expect(page.locator("#viewer-fields dd", has_text="onerror")).to_have_text(PROMPTS[1])
    expect(page.locator("#viewer .panel img")).to_have_count(0)


@pytest.mark.parametrize("width", [360, 400, 800, 1280, 1920])
def test_cards_neither_overlap_nor_overflow(page: Page, width: int) -> None:
    """At any width the page has no sideways scroll and every card its own place."""
    page.set_viewport_size({"width": width, "height": 900})
    page.wait_for_function(
        "width => document.documentElement.clientWidth === width"
        " && document.documentElement.scrollWidth <= width",
        arg=width,
    )
    overlaps = page.evaluate(
        """() => {
          const boxes = [...document.querySelectorAll('.card')].map(c => c.getBoundingClientRect());
          const hit = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
            && a.top < b.bottom - 1 && b.top < a.bottom - 1;
          return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => hit(a, b))).length;
        }"""
    )
    assert overlaps == 0


def test_absent_requests_unfold(page: Page) -> None:
    """What is not on the page is one click away, with its reason."""
    expect(page.get_by_text("a forbidden thing")).to_be_hidden()
    page.locator("details summary").click()
    expect(page.get_by_text("the provider refused it: change the prompt")).to_be_visible()


def test_page_works_without_scripts(browser: Browser, gallery_url: str) -> None:
    """With scripts off, every card is there and links to its image."""
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(gallery_url)
    expect(plain.locator(".card:visible")).to_have_count(18)
    plain.locator(".picture").first.click()
    assert plain.url.endswith(".png")
    context.close()
