"""The gallery in a real browser, opened from disk: it looks, filters, enlarges and fits."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from PIL import Image
from playwright.sync_api import Browser, Page, expect

from wan_pipeline_tests.browser.gallery_fixture import PROMPTS, opened, written

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.report.items import GalleryRow

pytestmark = pytest.mark.browser


@pytest.fixture
def page(browser: Browser, gallery_url: str) -> Iterator[Page]:
    """Open the gallery, tall enough to draw everything."""
    with opened(browser, gallery_url, height=2000) as shown:
        yield shown


def prompts_on_cards(page: Page) -> set[str]:
    """The prompts on the cards that are shown."""
    return set(page.locator(".card .prompt").all_text_contents())


def choose(page: Page, facet: str, value: str) -> None:
    """Click a value of a facet."""
    group = page.get_by_role("group", name=facet, exact=True)
    group.get_by_role("checkbox", name=value).click()


def test_every_image_is_shown_and_loads(page: Page, tmp_path: Path) -> None:
    """All cards are there, hostile prompts as text, and the pictures in view are painted."""
    expect(page.locator(".card")).to_have_count(19)
    expect(page.locator("#count")).to_have_text("18 of 18 images · 1 not here")
    assert prompts_on_cards(page) == set(PROMPTS)
    page.wait_for_function(
        "() => [...document.images].some((image) => image.complete && image.naturalWidth === 320)"
    )
    page.screenshot(path=tmp_path / "gallery.png")
    with Image.open(tmp_path / "gallery.png") as image:
        assert image.size == (1280, 2000)
        assert len(image.convert("RGB").getcolors(1 << 24) or []) > 100
    names = page.locator(".picture").evaluate_all(
        "links => links.map((a) => a.querySelector('img')?.alt ?? a.ariaLabel)"
    )
    assert f"{PROMPTS[0]}, seed 1000" in names
    assert all(names)


def test_filter_narrows_at_once_and_says_how_many(page: Page) -> None:
    """Words from prompt, size and further columns combine; Escape brings everything back."""
    page.keyboard.press("/")
    page.keyboard.type("FOX")
    expect(page.locator("#count")).to_have_text("6 of 18 images · 1 not here")
    assert prompts_on_cards(page) == {PROMPTS[0]}
    page.keyboard.type(" 768*2700 animals")
    expect(page.locator("#count")).to_have_text("1 of 18 images")
    page.keyboard.press("Escape")
    expect(page.locator(".card")).to_have_count(19)
    page.locator("#filter").fill("山峦 task-3")
    expect(page.locator("#count")).to_have_text("1 of 18 images")


def test_facets_combine_with_each_other_and_with_words(page: Page) -> None:
    """Values of one facet add up, facets narrow each other; every count says what a click gives."""
    choose(page, "size", "1280×1280")
    expect(page.locator("#count")).to_have_text("3 of 18 images · 1 not here")
    choose(page, "size", "1696×960")
    expect(page.locator("#count")).to_have_text("6 of 18 images · 1 not here")
    choose(page, "category", "Animals")
    expect(page.locator("#count")).to_have_text("2 of 18 images · 1 not here")
    outcome = page.get_by_role("group", name="outcome", exact=True)
    expect(outcome.locator(".value-count")).to_have_text(["2", "1"])
    size = page.get_by_role("group", name="size", exact=True).locator("label")
    expect(size.filter(has_text="768×2700").locator(".value-count")).to_have_text("1")
    page.locator("#filter").fill("derived-or-not")
    expect(page.locator("#nothing")).to_be_visible()
    page.locator("#filter").fill("snow")
    choose(page, "outcome", "failed")
    expect(page.locator(".card")).to_have_count(1)
    expect(page.locator(".card")).to_contain_text("the provider refused it: change the prompt")
    page.get_by_role("button", name="Remove category: Animals").click()
    page.get_by_role("button", name="Clear all").click()
    expect(page.locator(".card")).to_have_count(19)


def test_the_address_is_the_view(page: Page, gallery_url: str) -> None:
    """What is chosen can be shared: the same address shows the same, and Back is not flooded."""
    choose(page, "category", "</script>")
    page.locator("#filter").fill("水墨画 1280*1280")
    page.get_by_role("button", name="By prompt").click()
    address = page.url
    assert address != gallery_url
    before = page.locator("#count").text_content()
    page.goto("about:blank")
    page.goto(address)
    expect(page.locator("#count")).to_have_text(before or "")
    expect(page.locator("#filter")).to_have_value("水墨画 1280*1280")
    expect(page.get_by_role("button", name="Remove category")).to_have_count(1)
    page.get_by_role("button", name="Clear all").click()
    page.get_by_role("button", name="Images", exact=True).click()
    assert page.url == gallery_url


def test_links_of_checks_lead_to_the_rows(page: Page, gallery_url: str) -> None:
    """By flag, by image, by request; a flag that no image has shows none, and says so."""
    page.goto(f"{gallery_url}#flag=near_duplicate")
    expect(page.locator(".card")).to_have_count(3)
    page.goto(f"{gallery_url}#flag=blank")
    expect(page.locator("#nothing")).to_contain_text("No image matches")
    page.goto(f"{gallery_url}#request={'f' * 64}")
    expect(page.locator(".card")).to_have_count(1)
    page.goto(f"{gallery_url}#none=flag")  # what failed has no image that could be without one
    expect(page.locator("#count")).to_have_text("15 of 18 images")
    expect(page.locator(".card")).to_have_count(15)
    page.get_by_role("button", name="Remove flags: no flag").click()
    link = page.locator(".picture").first.get_attribute("href") or ""
    page.goto(f"{gallery_url}#image={link.rpartition('/')[2][:16]}")
    expect(page.locator("#viewer")).to_be_visible()
    page.go_back()
    expect(page.locator("#viewer")).to_be_hidden()


def test_a_column_goes_by_its_name_and_what_is_not_there_is_said(
    page: Page, gallery_url: str
) -> None:
    """In an address that a person has typed; the note goes with the next choice."""
    page.goto(f"{gallery_url}#category=Animals")
    expect(page.locator("#count")).to_have_text("6 of 18 images · 1 not here")
    expect(page.locator("#strange")).to_be_hidden()
    page.goto(f"{gallery_url}#none=category")
    expect(page.get_by_role("button", name="Remove category: none")).to_be_visible()
    page.goto(f"{gallery_url}#view=duplicates&tag=x&size=1280*1280")
    said = page.locator("#strange")
    expect(said).to_contain_text("view=duplicates. Views: images, prompts, groups")
    expect(said).to_contain_text("tag=x. Filters: outcome, flag, size")
    expect(page.locator("#count")).to_have_text("3 of 18 images · 1 not here")
    choose(page, "size", "1280×1280")
    expect(said).to_be_hidden()
    page.goto(f"{gallery_url}#size=9*9")
    expect(said).to_contain_text("size=9*9. No image has it.")
    expect(page.locator("#count")).to_have_text("0 of 18 images")
    expect(page.get_by_text("seed source", exact=True)).to_be_hidden()
    page.get_by_role("button", name="Remove size: 9×9").click()
    size = page.get_by_role("group", name="size", exact=True)
    expect(size.locator("label", has_text="9×9")).to_be_hidden()
    page.goto(f"{gallery_url}#size=9*9&size=1280*1280")  # the second time, too
    expect(said).to_contain_text("size=9*9. No image has it.")
    page.goto(f"{gallery_url}#image=no-such")
    expect(said).to_contain_text("image=no-such")


def test_what_a_choice_leaves_nothing_of_is_not_offered(page: Page) -> None:
    """But for what is chosen itself, which can be taken back."""
    seeds = page.get_by_role("group", name="seed", exact=True).locator("label:visible")
    expect(seeds).to_have_count(8)
    expect(seeds.locator(".value-name").first).to_have_text("7")
    page.locator("#filter").fill("768*2700")
    expect(seeds.locator(".value-name")).to_have_text(["1050", "1051", "1052"])
    expect(page.get_by_role("button", name="more", exact=False)).to_have_count(0)
    choose(page, "seed", "1051")
    page.locator("#filter").fill("1280*1280")
    chosen = page.get_by_role("group", name="seed", exact=True).get_by_label("1051")
    expect(chosen).to_be_checked()
    expect(chosen).to_be_visible()


def test_an_original_that_is_gone_is_told(
    browser: Browser, stored: tuple[list[GalleryRow], Path]
) -> None:
    """By its path in the data folder; the next image is shown as ever."""
    images, data = stored
    gone = replace(images[0], path=f"images/{'0' * 64}.png", image_id="0" * 64)
    page = browser.new_page()
    page.goto(written([gone, images[3]], data))
    page.locator(".picture").first.click()
    reason = page.locator("#viewer-reason")
    expect(reason).to_have_text(f"The file is not there, or is no picture: {gone.path}")
    expect(page.locator("#viewer-image")).to_be_hidden()
    expect(page.get_by_role("link", name="Open the full image")).to_be_hidden()
    page.keyboard.press("ArrowRight")
    expect(reason).to_be_hidden()
    expect(page.locator("#viewer-image")).to_be_visible()
    page.close()


def test_click_enlarges_and_keys_move_on(page: Page) -> None:
    """The large view has the full image and every field; arrows stay within the filter."""
    page.locator("#filter").fill("fox task")
    page.locator(".card .picture").first.click()
    viewer = page.locator("#viewer")
    expect(viewer).to_be_visible()
    expect(page.locator("#viewer-place")).to_have_text("1 of 6")
    for text in (PROMPTS[0], "1000 (derived)", "1280×1280", "$0.03", "blurry", "Animals", "task-0"):
        expect(viewer).to_contain_text(text)
    for text in (f"{PROMPTS[0]}, in detail", "near duplicate", "0" * 64):
        expect(viewer).to_contain_text(text)
    page.wait_for_function("() => document.getElementById('viewer-image').naturalWidth === 1280")
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
    expect(page.locator(".card .picture").nth(1)).to_be_focused()


def test_ids_and_prompts_can_be_copied(page: Page) -> None:
    """From a page on disk, where browsers are strict."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.locator(".picture").first.click()
    for name, text in (("request id", "0" * 64), ("prompt", PROMPTS[0]), ("seed", "1000")):
        page.get_by_role("button", name=f"Copy {name}", exact=True).click()
        page.wait_for_function(
            "text => navigator.clipboard.readText().then((t) => t === text)", arg=text
        )
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    page.get_by_role("button", name="Copy image id", exact=True).click()
    expect(page.get_by_role("button", name="Copy image id")).to_have_text("copied")


def test_hostile_text_is_text_everywhere(page: Page, gallery_url: str) -> None:
    """Prompt, columns and addresses are set as text: no element appears, no script runs."""
    page.locator("#filter").fill("onerror 1280*1280 script")
    page.locator(".card", has_text="</script>").first.locator(".picture").click()
    expect(page.locator("#viewer-prompt")).to_have_text(PROMPTS[1])
    expect(page.locator("#viewer-fields dd", has_text="onerror").last).to_have_text(PROMPTS[1])
    expect(page.locator("#viewer-panel img:not(.sibling img)")).to_have_count(0)
    page.goto(f"{gallery_url}#size=%3Cimg%20src%3Dx%20onerror%3D%22document.title%3D1%22%3E")
    expect(page.get_by_role("button", name="Remove size: <img")).to_be_visible()
    page.goto(f"{gallery_url}#view=prompts&prompt=javascript:alert(1)&__proto__=1&col.__proto__=2")
    expect(page.locator("#nothing")).to_be_visible()


@pytest.mark.parametrize("width", [320, 400, 800, 1280, 2560])
def test_cards_neither_overlap_nor_overflow(page: Page, width: int) -> None:
    """At any width, in any view, no sideways scroll and every card its own place."""
    page.set_viewport_size({"width": width, "height": 900})
    for view in ("Images", "By prompt", "Near duplicates"):
        page.get_by_role("button", name=view, exact=True).click()
        page.wait_for_function(
            "width => document.documentElement.clientWidth === width"
            " && document.documentElement.scrollWidth <= width",
            arg=width,
        )
        overlaps = page.evaluate(
            """() => {
              const cards = [...document.querySelectorAll('#grid > *')];
              const boxes = cards.map((card) => card.getBoundingClientRect());
              const hit = (a, b) => a.left < b.right - 1 && b.left < a.right - 1
                && a.top < b.bottom - 1 && b.top < a.bottom - 1;
              return boxes.flatMap((a, i) => boxes.slice(i + 1).filter((b) => hit(a, b))).length;
            }"""
        )
        assert overlaps == 0


def test_absent_requests_unfold(page: Page) -> None:
    """What is not on the page is one click away, with its reason."""
    table = page.locator("details.absent table")
    expect(table).to_be_hidden()
    page.locator("details.absent summary").click()
    expect(table).to_contain_text("the provider refused it: change the prompt")


def test_page_works_without_scripts(browser: Browser, gallery_url: str) -> None:
    """With scripts off, the first cards are there and link to their images."""
    context = browser.new_context(java_script_enabled=False)
    plain = context.new_page()
    plain.goto(gallery_url)
    expect(plain.locator(".card:visible")).to_have_count(18)
    expect(plain.locator("#filter")).to_be_hidden()
    plain.locator(".picture").first.click()
    assert plain.url.endswith(".png")
    context.close()
