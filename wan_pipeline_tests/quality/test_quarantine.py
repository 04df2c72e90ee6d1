"""The quarantine page: a section per flag that checks can link to, and nothing that can run."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import unquote

import pytest
from PIL import Image

from wan_pipeline.dataset.quality.flags import Flag, RequestFlag, Thresholds
from wan_pipeline.dataset.quality.outcomes import RequestOutcome, RequestOutcomes
from wan_pipeline.layout import DataLayout
from wan_pipeline.report import quarantine as quarantine_module
from wan_pipeline.report.quarantine import Quarantine, write_quarantine
from wan_pipeline_tests.quality.pictures import MadeSet, scene

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

HOSTILE = "</style><script>alert(1)</script> \ud800"
FORBIDDEN = RequestOutcome(
    prompt_id="c-forbidden",
    request_id="ab" * 32,
    prompt=HOSTILE,
    n=1,
    images_stored=0,
    attempt=1,
    state="failed",
    reason="110001: input may contain sensitive information",
    next_step="change the row's prompt",
    error_kind="moderation",
    error_code="110001",
    error_message="input may contain sensitive information",
    flags=[RequestFlag.MODERATION_FAILED, RequestFlag.NEVER_PRODUCED],
)
SHORT = RequestOutcome(
    prompt_id="d-half",
    request_id="cd" * 32,
    prompt="a half moon",
    n=2,
    images_stored=1,
    attempt=1,
    state="stored",
    reason="its task brought fewer images than it asked for: 1 of 2",
    next_step="",
    error_kind=None,
    error_code=None,
    error_message=None,
    flags=[RequestFlag.FEWER_THAN_N],
)


@pytest.fixture
def made(tmp_path: Path) -> MadeSet:
    """A set with something of everything; its name needs quoting in a link."""
    made = MadeSet(DataLayout(tmp_path, "emulator"), "ma de#1")
    made.add(scene(1), prompt=HOSTILE.replace("\ud800", ""))
    made.add(scene(1).resize((80, 60)))
    made.add(Image.new("RGB", (64, 64), "teal"))
    made.add(scene(2), size="1280*1280")
    gone = made.add(scene(3))
    (made.layout.root / "images" / gone[:2] / f"{gone}.png").unlink()
    made.add(Image.new("RGB", (90, 64), (90, 90, 94)), watermark=True)
    return made


def page_of(made: MadeSet, *others: MadeSet, outcomes: Sequence[RequestOutcome] = ()) -> str:
    """Judge the sets and write the page of the first."""
    for other in others:
        other.judge()
    summary = made.judge()
    path = write_quarantine(
        Quarantine(
            prompt_set=made.name,
            profile="emulator",
            created=datetime.now(UTC),
            thresholds=Thresholds(),
            summary=summary,
            outcomes=RequestOutcomes(rows=outcomes),
            elsewhere=made.compare(*others),
        ),
        layout=made.layout,
    )
    assert path == made.layout.quarantine(made.name)
    return path.read_text("utf-8")


def section(page: str, anchor: str) -> str:
    """One section of the page."""
    return page.partition(f'<section id="{anchor}">')[2].partition("</section>")[0]


def test_every_flag_has_a_section_with_its_images(made: MadeSet) -> None:
    """With the reason, and links to the files that are there."""
    page = page_of(made)
    for flag in Flag:
        assert section(page, flag.value).count('class="shot"') >= 1, flag
    assert "64×64 instead" not in section(page, "wrong_size")
    assert "160×120 instead of 1280×1280" in section(page, "wrong_size")
    assert "contrast 0.00" in section(page, "blank")
    assert "No such file" in section(page, "undecodable")
    assert "no picture" in section(page, "undecodable")
    folder = made.layout.quarantine(made.name).parent
    for link in re.findall(r'src="([^"]+)"', page):
        assert (folder / unquote(link)).resolve().is_file(), link


def test_requests_and_images_lead_to_the_gallery(made: MadeSet) -> None:
    """To the request there, by a link that the moved folder keeps; those of other sets do not."""
    other = MadeSet(made.layout, "other")
    other.add(scene(1).resize((120, 90)))
    page = page_of(made, other, outcomes=[FORBIDDEN])
    gallery = "../gallery/ma%20de%231/index.html"
    assert f'<a class="quiet" href="{gallery}">Gallery</a>' in page
    linked = rf'<a href="{re.escape(gallery)}#request=([0-9a-f]+)"><code title="\1">'
    assert re.findall(linked, section(page, "never_produced")) == [FORBIDDEN.request_id]
    for flag in Flag:
        shown = section(page, flag.value)
        assert len(re.findall(linked, shown)) == shown.count('class="shot"'), flag
    shown = section(page, "elsewhere")
    assert 2 * len(re.findall(linked, shown)) == shown.count('class="shot"') > 0


def test_a_clean_set_says_so_and_keeps_its_anchors(tmp_path: Path) -> None:
    """A check's link leads somewhere even when nothing is flagged."""
    made = MadeSet(DataLayout(tmp_path, "emulator"), "clean")
    made.add(scene(1))
    page = page_of(made)
    assert "nothing is flagged" in page
    for anchor in (*Flag, *RequestFlag, "elsewhere"):
        assert "None." in section(page, anchor), anchor


def test_a_set_with_flagged_requests_only_is_not_clean(tmp_path: Path) -> None:
    """They count at the top of the page, and in its title."""
    made = MadeSet(DataLayout(tmp_path, "emulator"), "clean")
    made.add(scene(1))
    page = page_of(made, outcomes=[SHORT])
    assert "nothing is flagged" not in page
    assert "1 flagged</title>" in page
    assert '<div class="figure-bad"><dt>flagged requests</dt><dd>1</dd></div>' in page


def test_flagged_requests_are_listed(made: MadeSet) -> None:
    """Each under its flags, with the reason, and the table that has all of them."""
    page = page_of(made, outcomes=[FORBIDDEN, SHORT])
    assert "110001: input may contain sensitive" in section(page, "moderation_failed")
    assert "c-forbidden" in section(page, "never_produced")
    fewer = section(page, "fewer_than_n")
    assert "1 of 2" in fewer
    assert "brought fewer images" in fewer
    assert "c-forbidden" not in fewer
    assert "nothing is flagged" not in page
    assert "<code>quality/outcomes/ma de#1.parquet</code>" in page


def test_nothing_that_a_user_or_provider_wrote_runs(made: MadeSet) -> None:
    """Escaped, and the page allows no script at all."""
    page = page_of(made, outcomes=[FORBIDDEN])
    assert "<script" not in page
    assert "default-src 'none'" in page
    assert "script-src" not in page
    assert "http:" not in page
    assert "https:" not in page


def test_images_of_other_sets_stand_beside_ours(made: MadeSet) -> None:
    """Each pair with the other set's name."""
    other = MadeSet(made.layout, "other")
    other.add(scene(2).resize((80, 60)))
    shown = section(page_of(made, other), "elsewhere")
    assert shown.count('class="shot"') == 2
    assert "this set, and other" in shown


def test_long_lists_are_cut_and_counted(made: MadeSet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page stays small; the tables have everything."""
    monkeypatch.setattr(quarantine_module, "_MOST_CARDS", 2)
    monkeypatch.setattr(quarantine_module, "_MOST_OF_GROUP", 3)
    for edge in range(40, 45):
        made.add(Image.new("RGB", (edge, 40), "white"))
    page = page_of(made)
    assert section(page, "blank").count('class="shot"') == 2
    assert "And 5 more images" in section(page, "blank")
    assert "And 4 more of this group" in section(page, "near_duplicate")


def test_long_lists_of_requests_are_cut_and_counted(
    made: MadeSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Likewise."""
    monkeypatch.setattr(quarantine_module, "_MOST_REQUESTS", 2)
    shown = section(page_of(made, outcomes=[SHORT] * 5), "fewer_than_n")
    assert shown.count("a half moon") == 2
    assert "And 3 more requests, in the table named at the end" in shown
