"""The gallery's views, keys and colours, and five thousand images in it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from playwright.sync_api import Browser, Page, expect

from wan_pipeline_tests.browser.gallery_fixture import (
    PROMPTS,
    opened,
    thousands,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.report.items import GalleryRow

pytestmark = pytest.mark.browser

MANY = 5000
BACKGROUND = "getComputedStyle(document.body).backgroundColor"
FOCUSED = "document.activeElement.closest('.card')?.ariaPosInSet ?? document.activeElement.id"


@pytest.fixture
def page(browser: Browser, gallery_url: str) -> Iterator[Page]:
    """Open the gallery."""
    with opened(browser, gallery_url, height=1000) as shown:
        yield shown


def test_a_prompts_pictures_stand_side_by_side(page: Page) -> None:
    """By size and seed, with what was not stored at the end, and what it comes to above."""
    page.get_by_role("button", name="By prompt").click()
    expect(page.locator("#count")).to_have_text("18 of 18 images · 1 not here · 3 prompts")
    head = page.locator(".section-head").first
    expect(head.locator("h2")).to_have_text(PROMPTS[0])
    expect(head).to_contain_text("6 images · 7 seeds · 1 not here · p-0")
    seeds = page.locator(".card .facts span:first-child").all_text_contents()
    assert seeds[:7] == ["1050", "1030", "1010", "1000", "1020", "1040", "7"]
    tops = page.locator(".card").evaluate_all(
        "all => all.map((e) => e.getBoundingClientRect().top)"
    )
    assert tops[0] == tops[1]
    head.get_by_role("link", name="only these").click()
    expect(page.locator(".section-head")).to_have_count(1)
    expect(page.get_by_role("button", name="Remove prompt: p-0")).to_be_visible()


def test_images_that_look_alike_stand_in_groups(page: Page) -> None:
    """Across prompts, with how near they are; the large view leads there."""
    page.get_by_role("button", name="Near duplicates").click()
    expect(page.locator("#count")).to_have_text("3 of 18 images · 1 group")
    expect(page.locator(".section-head")).to_contain_text("3 images that look alike")
    expect(page.locator(".section-head")).to_contain_text("across 3 prompts")
    expect(page.locator(".section-head")).to_contain_text("differ in 0 bits of 64")
    assert set(page.locator(".card .prompt").all_text_contents()) == set(PROMPTS)
    page.get_by_role("button", name="Images", exact=True).click()
    page.locator(".picture").first.click()
    page.get_by_role("button", name="Show the 2 images that look like it").click()
    expect(page.locator("#viewer")).to_be_hidden()
    expect(page.locator(".card")).to_have_count(3)


@pytest.mark.parametrize("width", [320, 390])
def test_rows_fill_a_narrow_screen(page: Page, width: int) -> None:
    """By prompt and in groups, with the whole of each badge to be read."""
    page.set_viewport_size({"width": width, "height": 1000})
    for view in ("By prompt", "Near duplicates"):
        page.get_by_role("button", name=view, exact=True).click()
        page.wait_for_function(f"() => document.documentElement.clientWidth === {width}")
        left_over = page.evaluate(
            """() => {
              const right = document.querySelector('#grid').getBoundingClientRect().right;
              const rows = Map.groupBy(
                [...document.querySelectorAll('.card')].map((e) => e.getBoundingClientRect()),
                (box) => Math.round(box.top),
              );
              return [...rows.values()].map((row) => right - Math.max(...row.map((b) => b.right)));
            }"""
        )
        assert min(abs(each) for each in left_over) < 1, (view, left_over)
        cut = page.locator(".mark").evaluate_all(
            "all => all.filter((e) => e.scrollWidth > e.clientWidth + 1).length"
        )
        assert cut == 0


def test_siblings_are_a_click_away_in_the_large_view(page: Page) -> None:
    """Other pictures of the prompt, and all of them side by side."""
    page.locator(".picture").first.click()
    siblings = page.locator(".sibling")
    expect(siblings).to_have_count(7)
    expect(page.locator(".sibling[aria-current]")).to_have_count(1)
    page.get_by_role("button", name="failed").click()
    expect(page.locator("#viewer-reason")).to_have_text(
        "failed: the provider refused it: change the prompt"
    )
    page.get_by_role("button", name="Compare 7 pictures of this prompt").click()
    expect(page.locator(".section-head")).to_have_count(1)


def test_everything_can_be_done_by_keyboard(page: Page) -> None:
    """Find, move in both directions, open, close, change the view, and look the keys up."""
    page.keyboard.press("ArrowRight")
    assert page.evaluate(FOCUSED) == "1"
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowDown")
    below = page.evaluate(FOCUSED)
    assert int(below) > 3
    page.keyboard.press("ArrowUp")
    assert page.evaluate(FOCUSED) == "2"
    page.keyboard.press("End")
    assert page.evaluate(FOCUSED) == "19"
    expect(page.locator(".picture:focus")).to_be_in_viewport()
    page.keyboard.press("Home")
    page.keyboard.press("Enter")
    expect(page.locator("#viewer-place")).to_have_text("1 of 19")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Escape")
    assert page.evaluate(FOCUSED) == "2"
    page.keyboard.press("2")
    expect(page.locator(".section-head").first).to_be_visible()
    page.keyboard.press("1")
    page.keyboard.press("/")
    page.keyboard.type("fox")
    page.keyboard.press("Enter")
    assert page.evaluate(FOCUSED) == "1"
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#keys")).to_be_hidden()
    page.keyboard.press("Escape")
    expect(page.locator("#count")).to_have_text("18 of 18 images · 1 not here")
    page.keyboard.press("f")
    expect(page.locator("#filter")).to_be_focused()


def test_colours_follow_the_system_or_the_switch(browser: Browser, gallery_url: str) -> None:
    """Dark where the system is; a choice on the page goes before, and is kept."""
    with opened(browser, gallery_url, scheme="dark") as page:
        dark = page.evaluate(BACKGROUND)
        page.get_by_role("button", name="Colours").click()
        expect(page.get_by_role("button", name="Colours: light")).to_be_visible()
        light = page.evaluate(BACKGROUND)
        assert light != dark
        page.reload()
        assert page.evaluate(BACKGROUND) == light
        page.get_by_role("button", name="Colours").click()
        assert page.evaluate(BACKGROUND) == dark


def test_a_phone_has_everything(browser: Browser, gallery_url: str) -> None:
    """The facets unfold, the large view fits, and nothing is wider than the screen."""
    with opened(browser, gallery_url, width=320, height=640) as page:
        expect(page.locator("#facets")).to_be_hidden()
        page.get_by_role("button", name="Filters").click()
        page.locator("#facets").get_by_label("768×2700").click()
        expect(page.get_by_role("button", name="Filters (1)")).to_be_visible()
        page.get_by_role("button", name="Filters (1)").click()
        expect(page.locator("#facets")).to_be_hidden()
        page.locator(".picture").first.click()
        expect(page.locator("#close")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") == 320


def test_paper_has_no_controls(page: Page) -> None:
    """And no card is cut in two or lies on another."""
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    expect(page.locator("#bar")).to_be_hidden()
    expect(page.locator("#facets")).to_be_hidden()
    expect(page.locator(".card")).to_have_count(19)
    below = page.locator(".card").evaluate_all(
        """all => all.map((card) => card.querySelector('.caption').getBoundingClientRect().top
          - card.querySelector('.picture').getBoundingClientRect().bottom)"""
    )
    assert [round(each) for each in below] == [0] * 19


def test_five_thousand_images_are_a_few_elements(
    browser: Browser, stored: tuple[list[GalleryRow], Path]
) -> None:
    """Drawn as they come into view, down to the last one; choosing still takes one click."""
    few, data = stored
    url = written(thousands(few, MANY), data)
    with opened(browser, url, title="animals · 5,000 images") as page:
        expect(page.locator("#count")).to_have_text("5,000 of 5,000 images")
        cards = page.locator(".card")
        seen: set[str] = set()
        for _ in range(12):
            page.mouse.wheel(0, 900)
            page.evaluate("new Promise((done) => requestAnimationFrame(() => done()))")
            seen.update(cards.evaluate_all("all => all.map((e) => e.ariaPosInSet)"))
            assert cards.count() < 100
        assert len(seen) > 60
        page.evaluate("scrollTo(0, document.documentElement.scrollHeight)")
        last = page.locator(f".card[aria-posinset='{MANY}']")
        expect(last).to_be_in_viewport()
        expect(last).to_contain_text(f"Prompt {(MANY - 1) // 4}")
        last.locator(".picture").focus()
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(FOCUSED) == str(MANY - 1)
        seed = page.get_by_role("textbox", name="seed")
        seed.fill("5000")
        seed.press("Enter")
        expect(page.get_by_text("No image has 5000.")).to_be_visible()
        seed.fill(" 4321 ")
        seed.press("Enter")
        expect(page.locator("#count")).to_have_text("1 of 5,000 images")
        assert page.url == f"{url}#seed=4321"
        page.get_by_role("button", name="Remove seed: 4321").click()
        places = page.get_by_role("group", name="place", exact=True)
        names = places.locator("label:visible .value-name")
        expect(names).to_have_text([str(number) for number in range(8)])
        places.get_by_role("button", name="32 more").click()
        expect(names).to_have_text([str(number) for number in range(40)])
        place = page.get_by_role("group", name="place", exact=True)
        place.get_by_role("checkbox").first.click()
        expect(page.locator("#count")).to_have_text("128 of 5,000 images")
        assert cards.count() < 100
        page.get_by_role("button", name="By prompt").click()
        expect(page.locator("#count")).to_have_text("128 of 5,000 images · 32 prompts")
