"""Near duplicates among a million perceptual hashes, against comparing each with each.

Run it as ``python benchmarks/near_duplicates.py`` (``--count``, ``--distance``). Times are of one
core's work, whatever else the machine does. Comparing each with each is measured on a sample in the
same run, checked to find the same pairs, and grown by the square to the full count.
"""

from __future__ import annotations

import argparse
import resource
import time
from typing import TYPE_CHECKING

import numpy as np

from wan_pipeline.dataset.quality.near import near_duplicates

if TYPE_CHECKING:
    from numpy.typing import NDArray

SAMPLE = 10_000
CLUSTER = 20


def random_hashes(rng: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """Return hashes of pictures that have nothing to do with each other."""
    return rng.integers(0, 2**64, count, dtype=np.uint64)


def clustered_hashes(rng: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """Return some twenty copies of each picture, each with up to three bits turned."""
    hashes = random_hashes(rng, count // CLUSTER)[rng.integers(0, count // CLUSTER, count)]
    for _ in range(3):
        turned = np.uint64(1) << rng.integers(0, 64, count).astype(np.uint64)
        hashes ^= turned * (rng.random(count) < 0.7)
    return hashes


def half_blank_hashes(rng: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """Return clusters, and every second picture is blank."""
    return np.where(rng.random(count) < 0.5, np.uint64(1 << 63), clustered_hashes(rng, count))


def blank_hashes(_: np.random.Generator, count: int) -> NDArray[np.uint64]:
    """Return one hash for all: every picture is blank."""
    return np.full(count, 1 << 63, dtype=np.uint64)


def each_with_each(hashes: NDArray[np.uint64], distance: int) -> int:
    """Count pairs by the definition, vectorised by row."""
    return sum(
        int((np.bitwise_count(hashes[at] ^ hashes[at + 1 :]) <= distance).sum())
        for at in range(len(hashes) - 1)
    )


def main() -> None:
    """Measure every kind of hashes and print times, pairs and the ratio."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--distance", type=int, default=4)
    given = parser.parse_args()
    print(f"{given.count:,} hashes, distance {given.distance}, one core")
    print(f"{'hashes':12} {'pairs':>18} {'seconds':>9} {'each with each':>16} {'ratio':>10}")
    kinds = {
        "random": random_hashes,
        "clustered": clustered_hashes,
        "half blank": half_blank_hashes,
        "all blank": blank_hashes,
    }
    for name, make in kinds.items():
        hashes = make(np.random.default_rng(7), given.count)
        sample = hashes[:SAMPLE]
        start = time.process_time()
        expected = each_with_each(sample, given.distance)
        slow = (time.process_time() - start) * (given.count / len(sample)) ** 2
        if near_duplicates(sample, distance=given.distance).total != expected:
            raise SystemExit(f"{name}: the sample has other pairs when each is compared with each")
        start = time.process_time()
        found = near_duplicates(hashes, distance=given.distance)
        took = time.process_time() - start
        print(f"{name:12} {found.total:18,} {took:9.2f} {slow:14,.0f} s {slow / took:9,.0f}x")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"peak memory {peak:,.0f} MB, with numpy and the hashes themselves")


if __name__ == "__main__":
    main()
