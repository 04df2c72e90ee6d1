"""Near duplicates between a prompt set and the other sets of its profile that are measured by now.

What else was built changes the answer, so it is no part of the set's own tables and of its version.
An image that two sets share is one image, not a pair.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.dataset.atomic import atomic_path
from wan_pipeline.dataset.fields import known
from wan_pipeline.dataset.quality.hamming import Pairs, pairs_within
from wan_pipeline.dataset.quality.near import MAX_LISTED, Members, Nearest
from wan_pipeline.dataset.quality.phash import from_hex

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["ELSEWHERE", "ElsewhereSummary", "write_elsewhere"]

#: One row per listed pair, sorted by distance and ids.
ELSEWHERE: Any = pa.schema(
    [
        known("image_here", pa.string(), "an image of this set"),
        known("image_there", pa.string(), "an image of another set, which this one does not have"),
        known("prompt_set", pa.string(), "the other set; the first by name when several have it"),
        known("distance", pa.int32(), "bits in which their hashes differ"),
    ],
    metadata={"description": f"the nearest {MAX_LISTED} pairs at most"},
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ElsewhereSummary:
    """What was found.

    Attributes:
        pairs: pairs there are.
        pairs_listed: pairs in the table.
        sets: other sets that were compared.
        unreadable: other sets whose table cannot be read; building them anew mends it.
    """

    pairs: int
    pairs_listed: int
    sets: int
    unreadable: tuple[str, ...] = ()


def write_elsewhere(
    own: Path, others: Mapping[str, Path], *, distance: int, out: Path
) -> ElsewhereSummary:
    """Write the pairs of a set with other sets, atomically.

    Args:
        own: the set's quality table.
        others: quality tables of the other sets, by name.
        distance: most bits in which near duplicates differ.
        out: the table to write.

    Raises:
        OSError: the set's own table cannot be read, or the new one not written.
    """
    here = _hashes(own)
    there: dict[str, int] = {}
    set_of: dict[str, str] = {}
    unreadable: list[str] = []
    for name in sorted(others):
        try:
            hashes = _hashes(others[name])
        except (pa.ArrowException, OSError):
            unreadable.append(name)
            continue
        for image_id, phash in hashes.items():
            if image_id not in here and image_id not in there:
                there[image_id], set_of[image_id] = phash, name
    ours, theirs = sorted(here), sorted(there)
    pairs, total = _between(
        np.array([here[each] for each in ours], dtype=np.uint64),
        np.array([there[each] for each in theirs], dtype=np.uint64),
        distance,
    )
    columns = {
        "image_here": [ours[one] for one, _, _ in pairs],
        "image_there": [theirs[other] for _, other, _ in pairs],
        "prompt_set": [set_of[theirs[other]] for _, other, _ in pairs],
        "distance": [distance for _, _, distance in pairs],
    }
    with atomic_path(out) as temp:
        pq.write_table(pa.Table.from_pydict(columns, schema=ELSEWHERE), temp, compression="zstd")
    return ElsewhereSummary(
        pairs=total,
        pairs_listed=len(pairs),
        sets=len(others) - len(unreadable),
        unreadable=tuple(unreadable),
    )


def _hashes(table: Path) -> dict[str, int]:
    """Hash by image id, of the images that could be decoded."""
    read = pq.read_table(table, columns=["image_id", "phash"])
    ids, hashes = read["image_id"].to_pylist(), read["phash"].to_pylist()
    return {
        image_id: from_hex(phash)
        for image_id, phash in zip(ids, hashes, strict=True)
        if phash is not None
    }


def _between(
    ours: NDArray[np.uint64], theirs: NDArray[np.uint64], distance: int
) -> tuple[list[tuple[int, int, int]], int]:
    """Listed pairs as (position in `ours`, position in `theirs`, distance), and how many exist."""
    values, which = np.unique(np.concatenate([ours, theirs]), return_inverse=True)
    which_ours, which_theirs = which[: len(ours)], which[len(ours) :]
    here = np.bincount(which_ours, minlength=len(values))
    there = np.bincount(which_theirs, minlength=len(values))
    total = int((here * there).sum())
    nearest = Nearest(MAX_LISTED)
    for pairs in pairs_within(values, distance):
        one, other = pairs.first, pairs.second
        made = here[one] * there[other] + there[one] * here[other]
        total += int(made.sum())
        some = made > 0
        nearest.add(Pairs(first=one[some], second=other[some], distance=pairs.distance[some]))
    both = np.flatnonzero(here * there)[:MAX_LISTED]
    kept = nearest.kept()
    alike = zip(both.tolist(), both.tolist(), [0] * len(both), strict=True)
    close = zip(kept.first.tolist(), kept.second.tolist(), kept.distance.tolist(), strict=True)
    mine, others = Members(which_ours, here), Members(which_theirs, there)
    listed: list[tuple[int, int, int]] = []
    for first, second, bits in [*alike, *close]:
        listed += _expanded(mine, others, first, second, bits)
        if len(listed) >= MAX_LISTED:
            break
    return sorted(listed[:MAX_LISTED], key=lambda pair: (pair[2], pair[0], pair[1])), total


def _expanded(
    mine: Members, others: Members, first: int, second: int, distance: int
) -> Iterator[tuple[int, int, int]]:
    """Image pairs of two hashes, whichever side each is on."""
    for one, other in product(mine.first_of(first), others.first_of(second)):
        yield one, other, distance
    if first != second:
        for one, other in product(mine.first_of(second), others.first_of(first)):
            yield one, other, distance
