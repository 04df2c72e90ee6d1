"""Near duplicates among images: how many each has, which hang together, and the nearest pairs.

Images of one hash are counted together first: a million blank ones are one hash, and would be
499,999,500,000 pairs. Counts and groups are exact; only the list is bounded.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING

import numpy as np

from wan_pipeline.dataset.quality.hamming import Pairs, pairs_within

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = [
    "LISTED_OF_ONE_HASH",
    "MAX_LISTED",
    "ImagePair",
    "Members",
    "NearDuplicates",
    "Nearest",
    "near_duplicates",
]

MAX_LISTED = 100_000
LISTED_OF_ONE_HASH = 32

ImagePair = tuple[int, int, int]  # positions of two images, the smaller first, and their distance


@dataclass(frozen=True, slots=True, kw_only=True)
class NearDuplicates:
    """What was found among images given by their position.

    Attributes:
        counts: of every image, how many others are within the distance.
        groups: of every image, the smallest position that it hangs together with, by way of
            others if need be; -1 when it has no near duplicate.
        pairs: the listed pairs, by distance, then position.
        total: pairs there are.
    """

    counts: NDArray[np.int64]
    groups: NDArray[np.int64]
    pairs: list[ImagePair]
    total: int


def near_duplicates(
    hashes: NDArray[np.uint64], *, distance: int, max_listed: int = MAX_LISTED
) -> NearDuplicates:
    """Find all pairs of images whose hashes differ in at most `distance` bits.

    At most `max_listed` pairs are listed, the nearest first, and of images that share one hash the
    first `LISTED_OF_ONE_HASH` stand for all.

    Args:
        hashes: one per image; the images in an order that says who is the smallest.
        distance: 0 to `hamming.MAX_DISTANCE`.
        max_listed: most pairs listed.

    Raises:
        ValueError: another distance.
    """
    values, which, sizes = np.unique(hashes, return_inverse=True, return_counts=True)
    sizes = sizes.astype(np.int64)
    others = sizes - 1
    total = int((sizes * others // 2).sum())
    parents = np.arange(len(values))
    nearest = Nearest(max_listed)
    for pairs in pairs_within(values, distance):
        np.add.at(others, pairs.first, sizes[pairs.second])
        np.add.at(others, pairs.second, sizes[pairs.first])
        total += int((sizes[pairs.first] * sizes[pairs.second]).sum())
        _unite(parents, pairs)
        nearest.add(pairs)
    members = Members(which, sizes)
    counts = others[which]
    smallest = np.full(len(values), len(hashes))
    roots = _roots(parents, np.arange(len(values)))
    np.minimum.at(smallest, roots, members.smallest)
    groups = np.where(counts > 0, smallest[roots][which], -1) if len(hashes) else which
    listed = [*_alike(members, max_listed), *_close(nearest, members, max_listed)]
    listed.sort(key=lambda pair: (pair[2], pair[0], pair[1]))
    return NearDuplicates(counts=counts, groups=groups, pairs=listed[:max_listed], total=total)


class Nearest:
    """Keeps the nearest pairs of a stream, whatever the order they come in."""

    def __init__(self, most: int) -> None:
        """Keep `most` pairs."""
        self._most = most
        self._parts: list[Pairs] = []
        self._held = 0

    def add(self, pairs: Pairs) -> None:
        """Take some more pairs."""
        self._parts.append(pairs)
        self._held += len(pairs.first)
        if self._held > 4 * self._most + 100_000:
            self._parts = [self.kept()]
            self._held = len(self._parts[0].first)

    def kept(self) -> Pairs:
        """The nearest ones, by distance, then position."""
        first, second, distance = (
            np.concatenate([getattr(part, name) for part in self._parts])
            if self._parts
            else np.zeros(0, np.int64)
            for name in ("first", "second", "distance")
        )
        order = np.lexsort((second, first, distance))[: self._most]
        return Pairs(first=first[order], second=second[order], distance=distance[order])


class Members:
    """Which images have which hash."""

    def __init__(self, which: NDArray[np.int64], sizes: NDArray[np.int64]) -> None:
        """Sort images by hash.

        Args:
            which: of every image, its hash.
            sizes: of every hash, how many images have it.
        """
        self._images = np.argsort(which, kind="stable")
        self._starts = np.concatenate([[0], np.cumsum(sizes)])
        self.shared = np.flatnonzero(sizes > 1)

    @property
    def smallest(self) -> NDArray[np.int64]:
        """The smallest image of every hash, where each hash has one."""
        return self._images[self._starts[:-1]]

    def first_of(self, value: int) -> list[int]:
        """The first images of a hash, by position."""
        start, end = int(self._starts[value]), int(self._starts[value + 1])
        images: list[int] = self._images[start : min(end, start + LISTED_OF_ONE_HASH)].tolist()
        return images


def _alike(members: Members, most: int) -> Iterator[ImagePair]:
    """Pairs of images with one hash, up to `most`, the hash with the smallest image first."""
    left = most
    for value in members.shared[np.argsort(members.smallest[members.shared])].tolist():
        if left <= 0:
            return
        for one, other in combinations(members.first_of(value), 2):
            yield one, other, 0
            left -= 1


def _close(nearest: Nearest, members: Members, most: int) -> Iterator[ImagePair]:
    """Pairs of images with different hashes, the nearest first, until there are `most`."""
    left, kept = most, nearest.kept()
    for first, second, distance in zip(
        kept.first.tolist(), kept.second.tolist(), kept.distance.tolist(), strict=True
    ):
        if left <= 0:
            return
        for one, other in product(members.first_of(first), members.first_of(second)):
            yield min(one, other), max(one, other), distance
            left -= 1


def _unite(parents: NDArray[np.int64], pairs: Pairs) -> None:
    """Put both ends of every pair into one tree; a parent is never larger than its child."""
    first, second = pairs.first, pairs.second
    while True:
        first, second = _roots(parents, first), _roots(parents, second)
        apart = first != second
        if not apart.any():
            return
        first, second = first[apart], second[apart]
        np.minimum.at(parents, np.maximum(first, second), np.minimum(first, second))


def _roots(parents: NDArray[np.int64], nodes: NDArray[np.int64]) -> NDArray[np.int64]:
    """The root of every node, with the way to it shortened."""
    roots = nodes
    while True:
        above = parents[roots]
        if (above == roots).all():
            break
        roots = above
    parents[nodes] = roots
    return roots
