"""Facets: what can be chosen, bounded whatever is in the data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.report.facets import MAX_COLUMNS, MAX_VALUES, NONE, OTHER, Facet, facets
from wan_pipeline.report.items import AbsentRequest, ImageQuality, Outcome
from wan_pipeline_tests.report.gallery_page import ROW

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.report.facets import Item


def by_key(items: Sequence[Item]) -> dict[str, Facet]:
    """The facets by their names in links."""
    return {each.key: each for each in facets(items)}


def test_a_facet_with_one_value_is_no_choice() -> None:
    """It is there for links, and not shown; the most frequent value comes first."""
    assert not by_key([ROW])["size"].shown
    wide = replace(ROW, size="1696*960")
    size = by_key([ROW, wide, wide])["size"]
    assert size.shown
    assert list(size.values) == ["1696*960", "1280*1280"]
    assert [list(codes) for codes in size.codes] == [[1], [0], [0]]


def test_outcomes_and_flags() -> None:
    """An image may have several flags; `no flag` is said of images that were measured only."""
    measured = replace(ROW, quality=ImageQuality())
    flagged = replace(ROW, quality=ImageQuality(flags=["blank", "near_duplicate"]))
    absent = AbsentRequest(
        request_id="f",
        prompt_id="p",
        prompt="x",
        state="unknown",
        reason="",
        outcome=Outcome.UNKNOWN,
    )
    moderated = replace(absent, outcome=Outcome.FAILED, flags=["moderation_failed"])
    found = by_key([measured, flagged, absent, moderated, ROW])
    assert [list(codes) for codes in found["outcome"].codes] == [[0], [0], [2], [1], [0]]
    assert list(found["flag"].values) == ["blank", "moderation_failed", "near_duplicate"]
    assert [list(codes) for codes in found["flag"].codes] == [[NONE], [0, 2], [], [1], []]


def test_only_the_most_frequent_values_are_told_apart() -> None:
    """The rest is `other`; a text too long for a choice as well."""
    runs = ["z", "z", "z", *(f"run-{each}" for each in range(2, 2 * MAX_VALUES))]
    run = by_key([replace(ROW, run_id=each) for each in runs])["run"]
    assert run.values[0] == "z"
    assert len(run.values) == MAX_VALUES
    assert sum(list(codes) == [OTHER] for codes in run.codes) == 2 * MAX_VALUES - 1 - MAX_VALUES
    rows = [replace(ROW, prompt_columns={"note": text}) for text in ("a", "a", "b" * 500)]
    note = by_key(rows)["col.note"]
    assert list(note.values) == ["a"]
    assert [list(codes) for codes in note.codes] == [[0], [0], [OTHER]]


def test_numbers_stand_in_their_order() -> None:
    """Of the user's columns too, and whichever is the most frequent."""
    seeds = [100, 9, 20, 100]
    rows = [replace(ROW, seed=each, prompt_columns={"cfg": each / 8}) for each in seeds]
    found = by_key(rows)
    assert list(found["seed"].values) == ["9", "20", "100"]
    assert list(found["col.cfg"].values) == ["1.125", "2.5", "12.5"]
    assert [list(codes) for codes in found["seed"].codes] == [[2], [0], [1], [2]]


def test_many_seeds_are_typed() -> None:
    """A list of fifty among thousands would find nobody's."""
    few, many = ([replace(ROW, seed=each) for each in range(MAX_VALUES + more)] for more in (0, 1))
    assert not by_key(few)["seed"].typed
    seed = by_key(many)["seed"]
    assert (seed.typed, seed.shown, list(seed.values), list(seed.codes)) == (True, True, [], [])


def test_a_column_with_a_value_of_its_own_in_every_row_is_no_facet() -> None:
    """Nor more columns than a page has room for; names never meet those of ours."""
    rows = [
        replace(ROW, prompt_columns={"url": f"u{number}", "size": number % 2, "none": None})
        for number in range(10 * MAX_VALUES)
    ]
    found = by_key(rows)
    assert {key for key in found if key.startswith("col.")} == {"col.size"}
    assert found["col.size"].own
    wide = {f"c{number}": number for number in range(2 * MAX_COLUMNS)}
    rows = [ROW, replace(ROW, prompt_columns=wide)]
    own = [each.label for each in facets(rows) if each.own]
    assert own == [f"c{number}" for number in range(MAX_COLUMNS)]


@given(
    st.lists(
        st.dictionaries(
            st.text(max_size=3),
            st.none() | st.booleans() | st.integers() | st.text(max_size=130) | st.lists(st.text()),
            max_size=20,
        ),
        max_size=30,
    )
)
def test_any_columns_give_bounded_facets(columns: list[dict[str, object]]) -> None:
    """Every item has a code that stands for its value, for nothing, or for `other`."""
    rows = [replace(ROW, prompt_columns=each) for each in columns]
    found = facets(rows)
    assert sum(each.own for each in found) <= MAX_COLUMNS
    for each in found:
        assert len(each.values) == len(set(each.values)) <= MAX_VALUES
        assert len(each.codes) == len(rows)
        codes = {code for codes in each.codes for code in codes}
        assert codes <= {*range(len(each.values)), NONE, OTHER}
