"""From one release to another: what came, went, was made anew, moved, and what it cost."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.dataset.release.diff import ReleaseDiff, diff_releases
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.split import SplitRatios
from wan_pipeline.ledger import schema
from wan_pipeline_tests.dataset.release.toys import KITES
from wan_pipeline_tests.dataset.release.workshop import Workshop, tiny_png

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.dataset.release.conftest import Released


def compare(releases: Path, before: str, after: str) -> ReleaseDiff:
    """Open and compare."""
    return diff_releases(open_release(releases, before), open_release(releases, after))


def test_a_release_does_not_differ_from_itself(released: Released) -> None:
    """Nothing is told."""
    same = compare(released.releases, "toys@v2", "toys")
    assert not same.differs
    assert (same.same_content, same.unchanged) == (True, 8)
    assert same.bought_usd == same.dropped_usd == 0


def test_a_set_more_is_images_added_and_money(released: Released) -> None:
    """And the other way round: removed, and no longer paid for."""
    more = compare(released.releases, "toys@v1", "toys@v2")
    assert {(row.prompt_set, row.before is None) for row in more.added} == {("trams", True)}
    assert (len(more.added), len(more.removed), more.unchanged) == (2, 0, 6)
    assert (more.cost_before_usd, more.cost_after_usd) == (Decimal("0.15"), Decimal("0.21"))
    assert (more.bought_usd, more.dropped_usd) == (Decimal("0.06"), 0)
    less = compare(released.releases, "toys@v2", "toys@v1")
    assert (len(less.added), len(less.removed)) == (0, 2)
    assert {row.after for row in less.removed} == {None}
    assert (less.bought_usd, less.dropped_usd) == (0, Decimal("0.06"))


def test_a_request_bought_again_is_an_image_made_anew(tmp_path: Path) -> None:
    """Same request and index, other bytes, another purchase; the rest is as it was."""
    with Workshop(tmp_path) as workshop:
        workshop.build("kites", KITES)
        workshop.release("toys", "kites")
        workshop.build(
            "kites",
            KITES,
            attempt=2,
            leave=lambda row: row.prompt_id != "kite",
            paint=lambda _, index: tiny_png(f"another {index}"),
        )
        workshop.release("toys", "kites")
        anew = compare(workshop.layout.releases, "toys@v1", "toys@v2")
    assert [(row.prompt_id, row.image_index) for row in anew.regenerated] == [
        ("kite", 0),
        ("kite", 1),
    ]
    assert all(row.before and row.after and row.before != row.after for row in anew.regenerated)
    assert {(row.former_request_id, row.changed) for row in anew.regenerated} == {(None, ())}
    assert (anew.added, anew.removed, anew.unchanged, anew.columns) == ((), (), 4, ())
    assert (anew.bought_usd, anew.dropped_usd) == (Decimal("0.06"), Decimal("0.06"))


def test_changes_of_columns_are_told_with_examples(tmp_path: Path) -> None:
    """A prompt's own column, a cost, a flag: of images that are the same."""
    with Workshop(tmp_path) as workshop:
        workshop.build("kites", KITES)
        workshop.release("toys", "kites")
        workshop.change(
            sa.update(schema.purchases).where(schema.purchases.c.n == 2).values(discount="half")
        )
        workshop.build("kites", KITES.replace("0071", "0072"))
        workshop.judge("kites")
        workshop.release("toys", "kites")
        found = compare(workshop.layout.releases, "toys@v1", "toys@v2")
    assert {each.column: each.rows for each in found.columns} == {
        "discount": 2,
        "prompt_columns": 2,
        "quality_flags": 6,
    }
    examples = {each.column: each.examples for each in found.columns}
    prompt_set, prompt_id, _, before, after = examples["prompt_columns"][0]
    assert (prompt_set, prompt_id) == ("kites", "kite")
    assert (before, after) == ('{"sku":"0071"}', '{"sku":"0072"}')
    assert examples["discount"][0][3:] == (None, "half")
    assert len(examples["quality_flags"]) == 3
    assert not found.same_content
    assert found.unchanged == 6


def test_prompts_that_change_sides_are_told(workshop: Workshop) -> None:
    """Each prompt once, however many images it has."""
    workshop.release("toys", "kites")
    workshop.release("toys", "kites", ratios=SplitRatios(train="0", validation="0", test="1"))
    found = compare(workshop.layout.releases, "toys@v1", "toys@v2")
    assert {prompt for prompt, _, _ in found.moved_prompts} == {"kite", "tea", "twin-1", "twin-2"}
    assert {after for _, _, after in found.moved_prompts} == {"test"}
    assert found.columns == ()


@pytest.mark.parametrize(
    ("old", "new", "columns", "images"),
    [
        ("A red kite", "A red kite at night", ("prompt",), 2),
        ("kite,2,1,1,0071", "kite,2,5,1,0071", ("seed",), 2),
        ("茶屋,1,7,2,x", "茶屋 at night,1,8,2,x", ("prompt", "seed"), 2),
    ],
)
def test_an_edited_prompt_is_made_anew_and_why(
    workshop: Workshop, old: str, new: str, columns: tuple[str, ...], images: int
) -> None:
    """The same prompt id with another request: not one that went and one that came."""
    workshop.release("toys", "kites")
    workshop.build("kites", KITES.replace(old, new))
    workshop.release("toys", "kites")
    found = compare(workshop.layout.releases, "toys@v1", "toys@v2")
    assert (found.added, found.removed, found.columns) == ((), (), ())
    assert (len(found.regenerated), found.unchanged) == (images, 6 - images)
    assert {row.changed for row in found.regenerated} == {columns}
    for row in found.regenerated:
        assert row.former_request_id not in (None, row.request_id)
        assert None not in (row.before, row.after)
        assert row.before != row.after
    assert found.bought_usd == found.dropped_usd == Decimal("0.06")
    assert found.cost_before_usd == found.cost_after_usd


def test_more_images_of_a_request_are_made_anew_and_added(workshop: Workshop) -> None:
    """What was there before is the same place; what came to it was not."""
    workshop.release("toys", "kites")
    workshop.build("kites", KITES.replace("A red kite,2", "A red kite,3"))
    workshop.release("toys", "kites")
    found = compare(workshop.layout.releases, "toys@v1", "toys@v2")
    assert [row.image_index for row in found.regenerated] == [0, 1]
    assert {row.changed for row in found.regenerated} == {("n",)}
    assert [(row.prompt_id, row.image_index) for row in found.added] == [("kite", 2)]
    assert (found.bought_usd, found.dropped_usd) == (Decimal("0.09"), Decimal("0.06"))


def test_the_same_image_of_a_changed_request_is_unchanged(tmp_path: Path) -> None:
    """Its other columns tell what changed, the request among them."""
    with Workshop(tmp_path) as workshop:
        for csv in (KITES, KITES.replace("A red kite", "One red kite")):
            workshop.build("kites", csv, paint=lambda row, at: tiny_png(f"{row.prompt_id} {at}"))
            workshop.release("toys", "kites")
        found = compare(workshop.layout.releases, "toys@v1", "toys@v2")
    assert (found.added, found.removed, found.regenerated) == ((), (), ())
    assert {"prompt", "request_id"} <= {each.column for each in found.columns}


def test_prompts_without_ids_are_matched_where_one_is_left(tmp_path: Path) -> None:
    """Sizes of one text share its derived id: one edited is made anew, two are anybody's guess."""
    sizes = ["1280*1280", "1104*1472", "1472*1104", "960*1696"]
    with Workshop(tmp_path) as workshop:
        for kept in ([0, 1], [0, 2], [3, 1]):
            rows = "".join(f"a kite,{sizes[at]},7\n" for at in kept)
            workshop.build("kites", f"prompt,size,seed\n{rows}")
            workshop.release("toys", "kites")
        one = compare(workshop.layout.releases, "toys@v1", "toys@v2")
        two = compare(workshop.layout.releases, "toys@v2", "toys@v3")
    assert (one.unchanged, one.added, one.removed) == (1, (), ())
    assert [row.changed for row in one.regenerated] == [("size",)]
    assert (len(two.added), len(two.removed), two.regenerated, two.unchanged) == (2, 2, (), 0)
