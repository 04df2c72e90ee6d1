"""Near duplicates: every pair that comparing each with each finds, and no list without end."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.dataset.quality import hamming
from wan_pipeline.dataset.quality.hamming import MAX_DISTANCE, pairs_within
from wan_pipeline.dataset.quality.near import LISTED_OF_ONE_HASH, ImagePair, near_duplicates

# A few hashes, each with some bits turned: as near to each other as real ones get.
CLUSTERED = st.lists(
    st.tuples(
        st.sampled_from([0, 2**64 - 1, 0x0123456789ABCDEF, 0xF0F0F0F00F0F0F0F]),
        st.lists(st.integers(0, 63), max_size=5),
    ),
    max_size=40,
).map(lambda made: [_turned(value, bits) for value, bits in made])
ANY = st.lists(st.integers(0, 2**64 - 1), max_size=30)


def _turned(value: int, bits: list[int]) -> int:
    for bit in bits:
        value ^= 1 << bit
    return value


def each_with_each(hashes: list[int], distance: int) -> list[ImagePair]:
    """The pairs, by the definition."""
    found = [
        (one, other, (hashes[one] ^ hashes[other]).bit_count())
        for one, other in combinations(range(len(hashes)), 2)
    ]
    return sorted(
        (pair for pair in found if pair[2] <= distance), key=lambda pair: (pair[2], *pair[:2])
    )


def groups_of(count: int, pairs: list[ImagePair]) -> list[int]:
    """The smallest position that each hangs together with, -1 for none."""
    groups = list(range(count))
    for _ in range(count):
        for one, other, _bits in pairs:
            groups[one] = groups[other] = min(groups[one], groups[other])
    paired = {position for pair in pairs for position in pair[:2]}
    return [group if position in paired else -1 for position, group in enumerate(groups)]


@given(hashes=CLUSTERED | ANY, distance=st.integers(0, 9))
def test_they_are_what_comparing_each_with_each_finds(hashes: list[int], distance: int) -> None:
    """Pairs, counts, groups and the total."""
    expected = each_with_each(hashes, distance)
    found = near_duplicates(np.array(hashes, dtype=np.uint64), distance=distance)
    assert found.pairs == expected
    assert found.total == len(expected)
    counts = [sum(place in pair[:2] for pair in expected) for place in range(len(hashes))]
    assert found.counts.tolist() == counts
    assert found.groups.tolist() == groups_of(len(hashes), expected)


@pytest.mark.parametrize("agreeing", range(5))
@pytest.mark.parametrize("distance", [1, 4, 7, MAX_DISTANCE])
def test_any_cut_into_blocks_finds_the_same(
    agreeing: int, distance: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """How many blocks must agree is a matter of speed only, and each pair comes once."""
    rng = np.random.default_rng(distance)
    values = np.repeat(rng.integers(0, 2**64, 8, dtype=np.uint64), 12)
    for _ in range(6):
        values ^= np.uint64(1) << rng.integers(0, 64, len(values)).astype(np.uint64)
    values = np.unique(values)
    few = agreeing if distance < 9 else min(agreeing, 1)  # choices grow with both
    monkeypatch.setattr(hamming, "_cheapest", lambda count, distance: few)
    found = [
        (int(one), int(other), int(bits))
        for pairs in pairs_within(values, distance)
        for one, other, bits in zip(pairs.first, pairs.second, pairs.distance, strict=True)
    ]
    assert len(found) == len(set(found))
    expected = each_with_each(values.tolist(), distance)
    assert sorted(found) == sorted(expected)


def test_a_distance_beyond_reason_is_refused() -> None:
    """Half of all bits differ by chance."""
    with pytest.raises(ValueError, match="not 0 to 16"):
        near_duplicates(np.zeros(2, np.uint64), distance=17)


def test_a_million_blank_images_are_one_group_and_a_short_list() -> None:
    """Counted exactly, listed by their first, and no memory for half a trillion pairs."""
    count = 1_000_000
    found = near_duplicates(np.zeros(count, np.uint64), distance=4)
    assert found.total == count * (count - 1) // 2
    assert (found.counts == count - 1).all()
    assert (found.groups == 0).all()
    assert len(found.pairs) == LISTED_OF_ONE_HASH * (LISTED_OF_ONE_HASH - 1) // 2


def test_a_full_list_holds_the_nearest() -> None:
    """The rest is counted."""
    rng = np.random.default_rng(1)
    bits = np.uint64(1) << rng.integers(0, 64, (400, 2)).astype(np.uint64)
    hashes = bits[:, 0] ^ bits[:, 1]
    everything = near_duplicates(hashes, distance=4, max_listed=10**6)
    short = near_duplicates(hashes, distance=4, max_listed=50)
    assert short.total == everything.total > 50
    assert len(short.pairs) == 50
    assert [pair[2] for pair in short.pairs] == [pair[2] for pair in everything.pairs[:50]]
    assert near_duplicates(hashes, distance=4, max_listed=50).pairs == short.pairs
