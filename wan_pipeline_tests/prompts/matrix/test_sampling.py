"""Samples: the same on every machine, and what a change of the file changes."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.prompts.matrix.sampling import sample_combinations, sample_values
from wan_pipeline_tests.prompts.matrix.helpers import made

if TYPE_CHECKING:
    from pathlib import Path
    from random import Random

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=5)
values = st.lists(texts, min_size=1, max_size=6, unique=True)
axes = st.dictionaries(st.sampled_from("abcd"), values, min_size=1, max_size=3)
seeds = st.integers(0, 2**40)


def drawn(axes: dict[str, list[str]], k: int, seed: int = 0) -> list[tuple[tuple[str, str], ...]]:
    """A sample of combinations, each as sorted pairs."""
    found = sample_combinations(axes, k=k, seed=seed)
    return [tuple(sorted(each.items())) for each in found]


@given(axes, st.integers(1, 250), seeds)
def test_a_sample_has_k_different_combinations(
    axes: dict[str, list[str]], k: int, seed: int
) -> None:
    """Or all when there are no more; each value is of its axis."""
    found = drawn(axes, k, seed)
    assert len(set(found)) == len(found) == min(k, math.prod(map(len, axes.values())))
    assert all(value in axes[axis] for each in found for axis, value in each)


@given(axes, st.integers(1, 30), seeds, st.randoms())
def test_the_order_in_the_file_changes_nothing(
    axes: dict[str, list[str]], k: int, seed: int, random: Random
) -> None:
    """Neither of axes nor of values."""
    names = random.sample(sorted(axes), len(axes))
    shuffled = {axis: random.sample(axes[axis], len(axes[axis])) for axis in names}
    assert set(drawn(axes, k, seed)) == set(drawn(shuffled, k, seed))


@given(axes, st.integers(1, 30), st.integers(1, 30), seeds)
def test_a_larger_sample_keeps_the_smaller_one(
    axes: dict[str, list[str]], k: int, more: int, seed: int
) -> None:
    """What was bought stays in the set."""
    assert set(drawn(axes, k, seed)) <= set(drawn(axes, k + more, seed))


@given(values, texts, st.integers(1, 6), seeds)
def test_a_value_more_replaces_at_most_one(
    values: list[str], added: str, k: int, seed: int
) -> None:
    """Of the drawn values of its axis."""
    before = set(sample_values(values, k=k, seed=seed, axis="a"))
    after = set(sample_values([*dict.fromkeys([*values, added])], k=k, seed=seed, axis="a"))
    assert len(before) == min(k, len(values))
    assert len(before - after) <= 1
    assert after - before <= {added}


def test_an_axis_draws_alone(tmp_path: Path) -> None:
    """Whatever else changes in the file: values, axes and templates beside it."""
    hue = "  hue: {sample: 3, from: [red, blue, green, grey, pink, teal]}\n"
    alone = made(tmp_path, f"axes:\n{hue}templates: {{t: '{{hue}}'}}")
    text = (
        f"axes:\n  city: {{sample: 1, from: [Rome, Oslo]}}\n{hue}"
        "templates: {other: 'x {city}', renamed: {prompt: '{hue}', size: 1:1}}"
    )
    assert made(tmp_path, text)[1:] == alone
    other = made(tmp_path, f"sample_seed: 1\naxes:\n{hue}templates: {{t: '{{hue}}'}}")
    assert other != alone
    own = hue.replace("}\n", ", sample_seed: 1}\n")
    assert made(tmp_path, f"axes:\n{own}templates: {{t: '{{hue}}'}}") == other


def test_in_a_sample_of_combinations_an_axis_draws_alone_too() -> None:
    """A value more takes its share of the draws of its axis; the other axes draw what they drew."""
    hues, cities = [f"hue {i}" for i in range(50)], [f"city {i}" for i in range(50)]
    draws = 200
    before = list(sample_combinations({"hue": hues, "city": cities}, k=draws, seed=0))
    after = list(sample_combinations({"hue": [*hues, "new"], "city": cities}, k=draws, seed=0))
    # Repeats do not count, so a draw may have moved by a few places.
    kept = {tuple(each.items()) for each in before} & {tuple(each.items()) for each in after}
    assert len(kept) > draws * 0.9
    assert Counter(each["hue"] for each in after)["new"] > 0
    cities_before, cities_after = (Counter(e["city"] for e in x) for x in (before, after))
    assert (cities_before - cities_after).total() < draws * 0.05
    with_third = sample_combinations(
        {"hue": hues, "city": cities, "sky": ["clear", "grey"]}, k=draws, seed=0
    )
    pairs = {(each["hue"], each["city"]) for each in with_third}
    assert len(pairs & {(each["hue"], each["city"]) for each in before}) > draws * 0.9


def test_draws_are_even() -> None:
    """Every value gets its share; with 20 values, the most and the least frequent are near."""
    axes = {axis: [f"{axis} {i}" for i in range(20)] for axis in "abcde"}
    found = list(sample_combinations(axes, k=4000, seed=3))
    for axis in axes:
        shares = Counter(each[axis] for each in found)
        assert len(shares) == 20
        # Mean 200, standard deviation 13.8: five of them.
        assert 130 < min(shares.values()) <= max(shares.values()) < 270
    pairs = Counter((each["a"], each["b"]) for each in found)
    assert len(pairs) > 390  # of 400, each expected ten times: axes do not move together


@pytest.mark.parametrize("k", [98, 99, 100, 101])
def test_nearly_all_of_few(k: int) -> None:
    """Where chance alone would take long to find the last ones."""
    axes = {axis: [str(i) for i in range(10)] for axis in "ab"}
    assert len(set(drawn(axes, k))) == min(k, 100)


def test_a_sample_out_of_more_than_anyone_could_make(tmp_path: Path) -> None:
    """10**26 combinations, of which nine are made."""
    names = [f"v{i}" for i in range(26)]
    text = {
        "axes": {name: {"sweep": [str(i) for i in range(10)]} for name in names},
        "templates": {"t": {"prompt": "".join(f"{{{n}}}" for n in names), "sample": 9}},
    }
    assert len(set(made(tmp_path, text))) == 9


def test_what_is_drawn_is_pinned() -> None:
    """A change of this test buys samples of everybody's sets anew."""
    colours = ["red", "orange", "yellow", "green", "blue", "indigo", "violet"]
    drawn_colours = sample_values(colours, k=3, seed=7, axis="hue")
    assert drawn_colours == ("yellow", "green", "violet")
    axes = {"hue": colours, "city": ["Rome", "Oslo", "Kyoto", "Lima"]}
    found = sample_combinations(axes, k=4, seed=7)
    assert [f"{each['hue']} {each['city']}" for each in found] == [
        "indigo Lima",
        "blue Kyoto",
        "green Lima",
        "red Oslo",
    ]
