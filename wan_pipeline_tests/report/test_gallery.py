"""The gallery page: everything on it, nothing executed, nothing fetched, every link alive."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from wan_pipeline.report import gallery
from wan_pipeline.report.gallery import write_gallery
from wan_pipeline.report.items import AbsentRequest, ImageQuality
from wan_pipeline_tests.report.gallery_page import ROW, SUMMARY, Page, written

if TYPE_CHECKING:
    from pathlib import Path

HOSTILE = (
    "</script><img src=x onerror=alert(1)>",
    "</SCRIPT ><script>alert(1)</script>",
    '"><svg onload=alert(1)>',
    "' onmouseover='alert(1)",
    "<!--<script>",
    "{{ 7 * 7 }} {% raw %}",
    "&lt;b&gt; \u2028 \u2029 \x00 \ud800",
    "https://evil.example/x.js",
)


def test_card_shows_what_was_bought(tmp_path: Path) -> None:
    """Prompt, seed, size and cost are on the card; the rest is in the details."""
    _, page = written(tmp_path, [replace(ROW, prompt_columns={"category": "Animals", "w": 1.5})])
    text = " ".join(page.texts)
    for expected in (ROW.prompt, "42", "1280×1280", "$0.03", "animals", "a-profile", "complete"):
        assert expected in text
    (prompt,) = page.data["prompts"]
    assert prompt["negative"] == "blurry"
    assert prompt["columns"] == [["category", "Animals"], ["w", "1.5"]]
    assert page.column("image") == [ROW.image_id]
    assert page.column("seed") == ["42"]
    (image,) = page.attributes("alt")[:1]
    assert image == f"{ROW.prompt}, seed 42"


@pytest.mark.parametrize("text", HOSTILE)
def test_foreign_text_is_shown_never_run(tmp_path: Path, text: str) -> None:
    """The page of a hostile prompt has the same elements as that of a harmless one."""

    def page_of(words: str) -> Page:
        row = replace(
            ROW,
            prompt=words,
            negative_prompt=words,
            prompt_id=words,
            seed_source=words,
            size=words,
            model=words,
            actual_prompt=words,
            task_id=words,
            run_id=words,
            format=words,
            quality=ImageQuality(flags=[words], near_duplicate_group=words, phash=words),
            prompt_columns={words: words, "nested": {words: [words]}},
        )
        absent = AbsentRequest(
            request_id=words, prompt_id=words, prompt=words, state=words, reason=words
        )
        summary = replace(
            SUMMARY, prompt_set=words, profile=words, failed={words: 1}, absent=[absent]
        )
        return written(tmp_path, [row], summary)[1]

    hostile, harmless = page_of(text), page_of("harmless")
    shape = [(tag, sorted(attrs)) for tag, attrs in harmless.elements]
    assert [(tag, sorted(attrs)) for tag, attrs in hostile.elements] == shape
    shown = text.replace("\ud800", "?")
    assert [each["negative"] for each in hostile.data["prompts"]] == [shown, ""]
    assert len(hostile.scripts) == 2


def test_page_needs_nothing_from_elsewhere(tmp_path: Path) -> None:
    """No absolute URL in any link, style or script; a policy that allows only the own script."""
    source, page = written(tmp_path, [ROW] * 3)
    for link in page.attributes("src", "href", "srcset", "action", "poster"):
        parts = urlsplit(link)
        assert (parts.scheme, parts.netloc) in {("", ""), ("data", "")}, link
    assert "://" not in source
    assert "@import" not in source
    (policy,) = [
        attrs["content"]
        for tag, attrs in page.elements
        if tag == "meta" and attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert "default-src 'none'" in policy
    ((_, script),) = [entry for entry in page.scripts if entry[0] == ""]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy
    assert not [name for _, attrs in page.elements for name in attrs if name.startswith("on")]


def test_links_lead_to_the_files_from_where_the_page_is(tmp_path: Path) -> None:
    """Relative, quoted, and still right after the whole data folder has moved."""
    data = tmp_path / "data"
    names = ["images/22/a.png", "images/odd #1?/ü %20.png"]
    for name in names:
        (data / name).parent.mkdir(parents=True, exist_ok=True)
        (data / name).write_bytes(b"x")
    rows = [replace(ROW, path=name, thumb=name) for name in names]
    write_gallery(rows, out_dir=data / "g" / "set", data_root=data, summary=SUMMARY)
    moved = data.rename(tmp_path / "moved")
    page = Page((moved / "g" / "set" / "index.html").read_text("utf-8"))
    links = [link for link in page.attributes("src", "href") if not link.startswith("data:")]
    assert len(links) == 4
    for link in links:
        assert (moved / "g" / "set" / unquote(link)).read_bytes() == b"x"


def test_path_cannot_become_a_script_link(tmp_path: Path) -> None:
    """A path that looks like a URL stays a relative file name."""
    row = replace(ROW, path="javascript:alert(1)", thumb=None)
    write_gallery([row], out_dir=tmp_path, data_root=tmp_path, summary=SUMMARY)
    page = Page((tmp_path / "index.html").read_text("utf-8"))
    assert "javascript%3Aalert%281%29" in page.attributes("href")


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    """Failed, unknown and missing requests are counted and listed with their reason."""
    summary = replace(
        SUMMARY,
        failed={"moderation": 2, "timeout": 0},
        unknown=1,
        missing=3,
        absent=[
            AbsentRequest(
                request_id="f" * 64,
                prompt_id="p-2",
                prompt="a forbidden thing",
                state="failed",
                reason="the provider refused it: change the prompt",
            )
        ],
    )
    _, page = written(tmp_path, [ROW], summary)
    text = " ".join(" ".join(page.texts).split())
    for expected in (
        "Not everything is here",
        "2 failed: moderation",
        "1 unknown",
        "3 missing",
        "a forbidden thing",
        "the provider refused it",
    ):
        assert expected in text
    assert "timeout" not in text
    assert "complete" not in text


def test_an_image_short_is_not_complete_and_costs_are_told_apart(tmp_path: Path) -> None:
    """What was paid is told as in the report of the runs; what the images cost if it differs."""
    _, page = written(tmp_path, [ROW])
    assert "cost of these images" not in page.texts
    short = replace(SUMMARY, missing=1, cost_usd=Decimal("0.06"))
    _, page = written(tmp_path, [ROW], short)
    text = " ".join(" ".join(page.texts).split())
    for expected in ("1 missing image", "cost $0.06", "cost of these images $0.03"):
        assert expected in text
    assert "complete" not in text


def test_what_a_later_run_brings_is_no_failure(tmp_path: Path) -> None:
    """What is in flight or not bought is counted as such, and the page is not complete."""
    summary = replace(SUMMARY, waiting={"to buy": 2, "in flight": 1, "nothing": 0})
    _, page = written(tmp_path, [ROW], summary)
    text = " ".join(" ".join(page.texts).split())
    for expected in (
        "Not everything is here",
        "2 to buy",
        "1 in flight",
        "to buy 2",
        "in flight 1",
    ):
        assert expected in text
    for wrong in ("failed", "nothing", "complete"):
        assert wrong not in text


def test_long_list_of_absent_requests_is_cut_and_counted(tmp_path: Path) -> None:
    """A run that failed as a whole makes no endless page."""
    absent = [
        AbsentRequest(request_id=str(i), prompt_id="", prompt="", state="failed", reason="")
        for i in range(700)
    ]
    _, page = written(tmp_path, [], replace(SUMMARY, failed={"x": 700}, absent=absent))
    assert "And 200 more" in " ".join(page.texts)
    assert "No image is stored yet." in " ".join(page.texts)


def test_wrong_size_place_and_missing_preview_are_marked(tmp_path: Path) -> None:
    """A card tells when its image is not as asked for, one of several, or cannot be decoded."""
    row = replace(ROW, n=4, image_index=2, width=640, size_matches=False, thumb=None)
    _, page = written(tmp_path, [row])
    text = " ".join(page.texts)
    for expected in ("3/4", "640×1280", "no preview"):
        assert expected in text


def test_page_is_bounded_and_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the bound images are counted, not shown."""
    monkeypatch.setattr(gallery, "MAX_IMAGES", 3)
    report = write_gallery([ROW] * 5, out_dir=tmp_path, data_root=tmp_path, summary=SUMMARY)
    page = Page(report.path.read_text("utf-8"))
    assert (report.images, report.left_out, len(page.column("image"))) == (3, 2, 3)
    assert "2 further images" in " ".join(page.texts)


def test_same_content_is_the_same_page(tmp_path: Path) -> None:
    """Nothing on the page depends on when or how often it is written."""
    assert written(tmp_path, [ROW])[0] == written(tmp_path, [ROW])[0]


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        ("0", "$0.00"),
        ("0.030000000", "$0.03"),
        ("0.0125", "$0.0125"),
        ("1E+1", "$10.00"),
        ("12345.6", "$12,345.60"),
        ("1E-9", "$0.000000001"),
    ],
)
def test_money_is_exact_and_readable(tmp_path: Path, amount: str, shown: str) -> None:
    """No float on the way: every digit that counts, none that does not."""
    _, page = written(tmp_path, [replace(ROW, cost_usd=Decimal(amount))])
    assert page.column("cost") == [shown]
