"""Every pair of 64-bit hashes within a Hamming distance, without comparing each with each.

Cut the bits into `distance + k` blocks: two hashes that differ in at most `distance` bits agree in
at least `k` blocks (pigeonhole principle; Manku, Jain and Das Sarma, "Detecting Near-Duplicates for
Web Crawling", WWW 2007). So for every choice of `k` blocks the hashes are sorted by those, and only
neighbours that agree in them are compared. Exact, in memory linear in the number of hashes. What
remains quadratic is what must: the pairs that exist.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, pairwise
from math import comb
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["MAX_DISTANCE", "Pairs", "pairs_within"]

MAX_DISTANCE = 16
_BITS = 64
_MOST_AGREEING = 4
# Measured: what one hash costs to sort, one pair to compare, and one pass at least, in ns.
_SORT_NS, _COMPARE_NS, _PASS_NS = 110.0, 45.0, 20_000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairs:
    """Some pairs, as positions in the array of hashes.

    Attributes:
        first: the smaller position of each pair.
        second: the larger one.
        distance: bits in which the two differ.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.integer]


def pairs_within(values: NDArray[np.uint64], distance: int) -> Iterator[Pairs]:
    """Yield every pair of hashes that differ in 1 to `distance` bits, each pair once.

    Args:
        values: distinct hashes.
        distance: 0 to `MAX_DISTANCE`.

    Yields:
        Pairs in no particular order, never more at once than there are hashes.

    Raises:
        ValueError: another distance.
    """
    if not 0 <= distance <= MAX_DISTANCE:
        raise ValueError(f"distance {distance} is not 0 to {MAX_DISTANCE}")
    if distance == 0 or len(values) < 2:
        return
    agreeing = _cheapest(len(values), distance)
    blocks = _blocks(distance + agreeing)
    for chosen in combinations(range(len(blocks)), agreeing):
        yield from _agreeing_in(values, distance, blocks, chosen)


def _cheapest(count: int, distance: int) -> int:
    """In how many blocks hashes must agree, by what the search would cost for random ones."""

    def cost(agreeing: int) -> float:
        blocks = distance + agreeing
        pairs = count * count / 2 ** (_BITS * agreeing / blocks + 1)
        return comb(blocks, agreeing) * (count * _SORT_NS + pairs * _COMPARE_NS + _PASS_NS)

    return min(range(_MOST_AGREEING + 1), key=cost)


def _blocks(count: int) -> list[tuple[int, int]]:
    """Cut 64 bits into blocks: (shift, width) of each, as even as can be."""
    edges = [_BITS * block // count for block in range(count + 1)]
    return [(low, high - low) for low, high in pairwise(edges)]


def _agreeing_in(
    values: NDArray[np.uint64],
    distance: int,
    blocks: list[tuple[int, int]],
    chosen: tuple[int, ...],
) -> Iterator[Pairs]:
    """Pairs that agree in the chosen blocks and in no other choice that comes before this one."""
    keys, order = _sorted_by(values, [blocks[block] for block in chosen])
    ordered = values[order]
    # Any block before the last chosen one in which they agreed would belong to an earlier choice.
    earlier = [
        _mask(*blocks[block])
        for block in range(chosen[-1] + 1 if chosen else 0)
        if block not in chosen
    ]
    here = np.arange(len(values) - 1)
    step = 1
    while here.size:
        here = here[keys[here] == keys[here + step]]
        differing = ordered[here] ^ ordered[here + step]
        distances = np.bitwise_count(differing)
        wanted = distances <= distance
        for mask in earlier:
            wanted &= (differing & mask) != 0
        if wanted.any():
            one, other = order[here[wanted]], order[here[wanted] + step]
            yield Pairs(
                first=np.minimum(one, other),
                second=np.maximum(one, other),
                distance=distances[wanted],
            )
        step += 1
        here = here[here < len(values) - step]


def _sorted_by(
    values: NDArray[np.uint64], blocks: list[tuple[int, int]]
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The blocks' bits of every hash in order, and the positions they come from.

    Key and position share one number, so that a plain sort does, which is several times faster
    than one that returns positions.
    """
    place = np.uint64(max(1, (len(values) - 1).bit_length()))
    packed = np.zeros_like(values)
    for shift, width in blocks:
        part = (values >> np.uint64(shift)) & np.uint64((1 << width) - 1)
        packed = (packed << np.uint64(width)) | part
    packed = (packed << place) | np.arange(len(values), dtype=np.uint64)
    packed.sort()
    order = (packed & np.uint64((1 << int(place)) - 1)).astype(np.int64)
    return packed >> place, order


def _mask(shift: int, width: int) -> np.uint64:
    return np.uint64(((1 << width) - 1) << shift)
