"""Drawing by content: the same file draws the same on any machine, whatever the order in it.

Two ways, and what a change of the file changes in each:

`sample_values` draws k values of one axis: those whose hash with the seed and the axis' name is
smallest. A value added to the axis takes the place of at most one drawn one; a value removed makes
room for one. Nothing else in the file matters: other axes, templates, the order of the values.

`sample_combinations` draws k of all combinations, which may be far too many to make: draw number i
takes of every axis the value whose hash with the seed, the axis' name and i is smallest (rendezvous
hashing), and repeats do not count. A value added to an axis of m values changes that axis' value in
one of m + 1 draws and no other axis' value; a larger k keeps what was drawn and adds to it. An axis
added or removed leaves the values of the others as they were.

Another seed, or another name of an axis, draws anew. A template's name and wording do not.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from typing import TYPE_CHECKING

import numpy as np

from wan_pipeline.prompts.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

__all__ = ["sample_combinations", "sample_values"]

_BATCH_CELLS = 1 << 20
#: So many draws for k combinations bring k different ones unless k is nearly all of them.
_DRAWS_PER_COMBINATION = 4
_MORE_DRAWS = 64
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX = (
    (np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)),
    (np.uint64(27), np.uint64(0x94D049BB133111EB)),
)
_LAST_SHIFT = np.uint64(31)


def sample_values(values: Sequence[str], *, k: int, seed: int, axis: str) -> tuple[str, ...]:
    """Return `k` of the different `values`, or all when there are no more, in their order."""
    if k >= len(values):
        return tuple(values)
    drawn = set(sorted(values, key=lambda value: _digest("value", seed, axis, value))[:k])
    return tuple(value for value in values if value in drawn)


def sample_combinations(
    axes: Mapping[str, Sequence[str]], *, k: int, seed: int
) -> Iterator[dict[str, str]]:
    """Yield `k` different combinations of one value per axis, or all when there are no more."""
    names = sorted(axes)
    if k >= math.prod(len(axes[name]) for name in names):
        for combination in itertools.product(*(axes[name] for name in names)):
            yield dict(zip(names, combination, strict=True))
        return
    seen: set[tuple[str, ...]] = set()
    for combination in _draws(names, axes, seed, k * _DRAWS_PER_COMBINATION + _MORE_DRAWS):
        if combination not in seen:
            seen.add(combination)
            yield dict(zip(names, combination, strict=True))
            if len(seen) == k:
                return
    # Nearly all are wanted, so there are few enough to look at each.
    left = [each for each in itertools.product(*(axes[n] for n in names)) if each not in seen]
    left.sort(key=lambda each: _digest("combination", seed, *names, *each))
    for combination in left[: k - len(seen)]:
        yield dict(zip(names, combination, strict=True))


def _draws(
    names: Sequence[str], axes: Mapping[str, Sequence[str]], seed: int, count: int
) -> Iterator[tuple[str, ...]]:
    """The first `count` draws, repeats among them."""
    # Sorted, so that a tie of two hashes does not depend on the order in the file.
    values = {name: sorted(axes[name]) for name in names}
    hashes = {
        name: np.array([_number("draw", seed, name, value) for value in values[name]], np.uint64)
        for name in names
    }
    starts = {name: np.uint64(_number("axis", seed, name)) for name in names}
    batch = max(1, _BATCH_CELLS // max(len(each) for each in values.values()))
    for first in range(0, count, batch):
        numbers = np.arange(first, min(first + batch, count), dtype=np.uint64)
        taken = [
            [
                values[name][i]
                for i in _smallest(hashes[name], _mixed(numbers * _GOLDEN ^ starts[name]))
            ]
            for name in names
        ]
        yield from zip(*taken, strict=True)


def _smallest(values: NDArray[np.uint64], draws: NDArray[np.uint64]) -> NDArray[np.intp]:
    """For each draw, which value's hash with it is smallest."""
    return np.argmin(_mixed(values[None, :] ^ draws[:, None]), axis=1)


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Each number scattered over all 64 bits: the finalizer of splitmix64."""
    for shift, factor in _MIX:
        numbers = (numbers ^ (numbers >> shift)) * factor
    return numbers ^ (numbers >> _LAST_SHIFT)


def _digest(*parts: str | int) -> bytes:
    return hashlib.sha256(canonical_json(list(parts)).encode()).digest()


def _number(*parts: str | int) -> int:
    return int.from_bytes(_digest(*parts)[:8], "little")
