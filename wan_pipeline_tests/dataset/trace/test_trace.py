"""From anything to everything that belongs to it."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.dataset.trace.errors import (
    NothingFoundError,
    UnclearTraceError,
)
from wan_pipeline.dataset.trace.story import FoundBy
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline_tests.dataset.release.toys import KITES
from wan_pipeline_tests.dataset.release.workshop import Workshop, tiny_png
from wan_pipeline_tests.dataset.trace.conftest import of, rows

if TYPE_CHECKING:
    from pathlib import Path


def test_from_an_image_to_its_prompt_row_task_events_and_cost(shop: Workshop) -> None:
    """By its file, its id, or the beginning of that; the same story."""
    row = rows(shop, "tea")[0]
    image_id = str(row["image_id"])
    stories = [
        of(shop, asked)
        for asked in (shop.layout.root / str(row["path"]), image_id, image_id[:10].upper())
    ]
    assert {each.kind for each in stories} == {"image"}
    assert len({str(each.requests) for each in stories}) == 1
    assert stories[0].image_ids == [image_id]
    (story,) = stories[0].requests
    (prompt,) = story.prompts
    assert (prompt.prompt_set, prompt.prompt_id, prompt.row) == ("kites", "tea", 2)
    assert prompt.file == str(shop.layout.prompts_dir / "kites.csv")
    assert (prompt.columns, prompt.seed_source) == ('{"sku":"x"}', "given")
    assert story.request_id == row["request_id"]
    assert story.request["prompt"] == "清晨的山中茶屋"
    assert [each.task_id for each in story.purchases] == [row["task_id"]]
    assert [each.to_state for each in story.events] == ["intent", "submitted", "stored"]
    assert story.cost_usd == stories[0].cost_usd == Decimal("0.03")
    assert [each.image_id for each in story.images] == [image_id]
    assert {(each.release, each.image_id) for each in story.releases} == {
        ("toys@v1", image_id),
        ("toys@v2", image_id),
    }


def test_from_a_prompt_to_its_requests_images_and_releases(shop: Workshop) -> None:
    """In every set that has the id; what was never bought is told as such."""
    found = of(shop, "kite")
    assert found.kind == "prompt"
    bought, never = sorted(found.requests, key=lambda each: not each.purchases)
    assert [each.attempt for each in bought.purchases] == [1, 2]
    assert bought.cost_usd == Decimal("0.12")
    assert [(each.attempt, each.image_index) for each in bought.images] == [
        (1, 0),
        (1, 1),
        (2, 0),
        (2, 1),
    ]
    of_release = {each.release: each.image_id for each in bought.releases}
    assert of_release.keys() == {"toys@v1", "toys@v2"}
    assert of_release["toys@v1"] != of_release["toys@v2"]
    assert never.prompts[0].prompt_set == "trams"
    assert (never.images, never.releases, never.cost_usd) == ([], [], 0)
    assert never.request["prompt"] == "A blue kite"


def test_a_request_that_prompts_share_names_them_all(shop: Workshop) -> None:
    """One purchase, two rows."""
    request_id = str(rows(shop, "twin-1")[0]["request_id"])
    (story,) = of(shop, request_id[:8]).requests
    assert [each.prompt_id for each in story.prompts] == ["twin-1", "twin-2"]
    assert len(story.purchases) == 1
    assert len(story.releases) == 4


def test_from_a_task(shop: Workshop) -> None:
    """By its whole id, as the provider's console shows it."""
    row = rows(shop, "tram", "trams")[0]
    found = of(shop, row["task_id"])
    assert (found.kind, len(found.requests)) == ("task", 1)
    assert found.requests[0].request_id == row["request_id"]


@pytest.mark.parametrize(
    "word", ["nobody", "abcdef0123", "ab", "", "x" * 5000, "a\0b", "kite%", "_____", "\udcff"]
)
def test_what_is_not_known_is_said_with_what_was_looked_at(shop: Workshop, word: str) -> None:
    """And what can be given."""
    with pytest.raises(NothingFoundError) as refused:
        of(shop, word)
    assert "image" in str(refused.value)
    if word == "nobody":
        assert "2 planned prompt sets, 2 releases" in str(refused.value)


def test_a_prompts_whole_text_leads_to_it(shop: Workshop) -> None:
    """Exactly as it was sent; a part of it does not."""
    found = of(shop, "清晨的山中茶屋")
    assert (found.kind, found.found_by) == ("prompt", FoundBy.PROMPT_TEXT)
    assert {each.prompts[0].prompt_id for each in found.requests} == {"tea"}
    assert len(found.requests) == 2
    shared = of(shop, "a lighthouse")
    assert [each.prompt_id for each in shared.requests[0].prompts] == ["twin-1", "twin-2"]
    assert of(shop, "kite").found_by is FoundBy.ID
    with pytest.raises(NothingFoundError, match="a whole prompt id or text"):
        of(shop, "a lighthous")


def test_a_prompt_named_like_a_file_is_found_all_the_same(
    shop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the file is no known image."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tram").write_text("a diary")
    assert of(shop, "tram").kind == "prompt"


def test_a_word_with_several_meanings_is_not_guessed(tmp_path: Path) -> None:
    """A prompt may be named like the beginning of a request."""
    with Workshop(tmp_path) as shop:
        shop.build("kites", KITES)
        request_id = rows(shop, "tea")[0]["request_id"]
        shop.build("more", f"prompt_id,prompt\n{str(request_id)[:8]},a tram\n")
        with pytest.raises(UnclearTraceError, match=r"may be prompt .*, or request "):
            of(shop, str(request_id)[:8])
        assert of(shop, request_id).kind == "request"


def test_a_row_that_is_gone_is_known_from_the_release(tmp_path: Path) -> None:
    """The prompt file moved on; the ledger and the release did not."""
    with Workshop(tmp_path) as shop:
        shop.build("kites", KITES)
        shop.release("toys", "kites")
        row = rows(shop, "tea")[0]
        (shop.layout.tables("kites") / REQUESTS_FILE).unlink()
        (story,) = of(shop, row["image_id"]).requests
        assert [(each.prompt_id, each.row, each.file) for each in story.prompts] == [
            ("tea", None, None)
        ]
        events = shop.layout.releases / "toys/v1/events.parquet"
        events.chmod(0o644)
        events.write_bytes(b"x")
        found = of(shop, row["image_id"])
        assert found.requests[0].releases == []
        assert any("events.parquet" in problem for problem in found.problems)


def test_a_reproduction_is_told_after_the_datasets_own_purchase(tmp_path: Path) -> None:
    """With the images that only it brought."""
    with Workshop(tmp_path) as made:
        made.build(
            "kites",
            KITES,
            attempt=-1,
            leave=lambda row: row.prompt_id != "kite",
            paint=lambda _, index: tiny_png(f"drifted {index}"),
        )
        made.build("kites", KITES)
        (story,) = of(made, "kite").requests
        assert [each.attempt for each in story.purchases] == [1, -1]
        assert [(each.attempt, each.image_index) for each in story.images] == [
            (1, 0),
            (1, 1),
            (-1, 0),
            (-1, 1),
        ]
        (found,) = of(made, story.images[-1].image_id).requests
        assert found.request_id == story.request_id
