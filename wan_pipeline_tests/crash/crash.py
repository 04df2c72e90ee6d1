"""Kill a batch at every point of its life, and at every pair: a crash, then one in the recovery.

    python -m wan_pipeline_tests.crash.crash --lanes 2
    python -m wan_pipeline_tests.crash.crash --at 'create.accepted#2' 'take_over.committed#1'

The second form plays one trial again. A run passes some kinds of points many times. By default
every pair of kinds is played once, each at an occurrence drawn by the seed, in half an hour;
`--pairs all` plays every pair of occurrences, which takes most of a day; `--pairs N` plays N of
them by seed. The last line is for scripts; the exit code is 1 when any promise was broken.
"""

# ruff: noqa: T201  a command that prints

from __future__ import annotations

import argparse
import multiprocessing
import random
import shlex
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline_tests.crash.points import kind_of, names_of
from wan_pipeline_tests.crash.scenario import Scenario, names_of_life

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

__all__ = ["Line", "Sums", "drawn_of_each_kind", "main", "pair_of", "play"]

ANEW = 300  # trials per emulator: its book grows with each, and every audit reads it


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One trial.

    Attributes:
        points: where the runs were killed.
        reached: how many of these they came to.
        double: tasks that were bought twice.
        lost: paid images that are gone and not reported.
        broken: every broken promise, in words.
    """

    points: tuple[str, ...]
    reached: int
    double: int
    lost: int
    broken: tuple[str, ...]

    def __str__(self) -> str:
        """For the terminal."""
        how = "ok" if self.reached == len(self.points) else "not reached"
        text = f"{' > '.join(self.points)}: {'BROKEN' if self.broken else how}"
        again = f"python -m wan_pipeline_tests.crash.crash --at {shlex.join(self.points)}"
        return "\n     ".join([text, *self.broken, *([f"again: {again}"] if self.broken else [])])


class Sums:
    """What came of all trials.

    Attributes:
        lines: those that broke a promise or did not reach their points.
    """

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self._trials = {1: 0, 2: 0}
        self._double = self._lost = 0

    def add(self, line: Line) -> None:
        """Count one more."""
        self._trials[len(line.points)] += line.reached == len(line.points)
        self._double += line.double
        self._lost += line.lost
        if line.broken or line.reached < len(line.points):
            self.lines.append(line)

    @property
    def broken(self) -> list[Line]:
        """Those that broke a promise."""
        return [line for line in self.lines if line.broken]

    @property
    def unreached(self) -> list[Line]:
        """Those whose points were not met; timing decides which of several runs next."""
        return [line for line in self.lines if line.reached < len(line.points)]

    def __str__(self) -> str:
        """The last line."""
        return (
            f"points={self._trials[1]} pairs={self._trials[2]} double={self._double}"
            f" lost={self._lost}"
        )


def play(scenario: Scenario, *points: str) -> Line:
    """One trial, judged."""
    trial = scenario.trial(*points)
    broken = list(trial.proof.violations)
    if not scenario.as_without_a_crash(trial.proof.states):
        states = {state.value: count for state, count in trial.proof.states.items()}
        broken.append(f"not everything ended as without a crash: {states}")
    return Line(
        points=points,
        reached=trial.reached,
        double=trial.proof.double,
        lost=trial.proof.lost,
        broken=tuple(broken),
    )


def pair_of(scenario: Scenario, names: Sequence[str], number: int, *, seed: int) -> tuple[str, str]:
    """A pair drawn from the seed and its number."""
    random_ = random.Random(f"{seed}/{number}")
    first = random_.choice(names)
    return first, random_.choice(names_of(scenario.points(first)))


def drawn_of_each_kind(names: Sequence[str], *, seed: int | str) -> list[str]:
    """One of the points of each kind, drawn from the seed."""
    kinds: dict[str, list[str]] = {}
    for name in names:
        kinds.setdefault(kind_of(name), []).append(name)
    return [random.Random(f"{seed}/{kind}").choice(each) for kind, each in sorted(kinds.items())]


def main(arguments: Sequence[str] | None = None) -> int:
    """Play all trials; 1 when a promise was broken."""
    options = _parser().parse_args(arguments)
    if options.at:
        with tempfile.TemporaryDirectory(prefix="crash-") as folder, Scenario(Path(folder)) as one:
            line = play(one, *options.at)
        print(line)
        return 1 if line.broken else 0
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, Scenario(Path(folder)) as one:
        names = names_of_life(one)
    print(f"{len(names)} points", flush=True)
    sums = Sums()
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(options.lanes, mp_context=context) as pool:
        lines = pool.map(_singles, [names[start::20] for start in range(20)])
        _count(lines, sums)
        if options.pairs == "kinds":
            firsts = drawn_of_each_kind(names, seed=options.seed)
            _count(pool.map(_kinds_after, [(first, options.seed) for first in firsts]), sums)
        elif options.pairs == "all":
            _count(pool.map(_pairs_after, names), sums)
        else:
            numbers = range(int(options.pairs))
            jobs = [(names, numbers[start::10], options.seed) for start in range(10)]
            _count(pool.map(_some_pairs, jobs), sums)
    print(f"not reached: {len(sums.unreached)}")
    print(sums)
    return 1 if sums.broken else 0


def _count(parts: Iterator[list[Line]], sums: Sums) -> None:
    for part in parts:
        for line in part:
            sums.add(line)
            print(line, flush=True)


def _singles(names: Sequence[str]) -> list[Line]:
    return _played([lambda scenario, name=name: (name,) for name in names])


def _kinds_after(job: tuple[str, int]) -> list[Line]:
    first, seed = job
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, Scenario(Path(folder)) as scenario:
        names = names_of(scenario.points(first))
    seconds = drawn_of_each_kind(names, seed=f"{seed}/{first}")
    return _played([lambda scenario, second=second: (first, second) for second in seconds])


def _pairs_after(first: str) -> list[Line]:
    with tempfile.TemporaryDirectory(prefix="crash-") as folder, Scenario(Path(folder)) as scenario:
        seconds = names_of(scenario.points(first))
    return _played([lambda scenario, second=second: (first, second) for second in seconds])


def _some_pairs(job: tuple[Sequence[str], Sequence[int], int]) -> list[Line]:
    names, numbers, seed = job
    return _played(
        [
            lambda scenario, number=number: pair_of(scenario, names, number, seed=seed)
            for number in numbers
        ]
    )


def _played(trials: Sequence[Callable[[Scenario], tuple[str, ...]]]) -> list[Line]:
    lines: list[Line] = []
    for start in range(0, len(trials), ANEW):
        with tempfile.TemporaryDirectory(prefix="crash-") as folder, Scenario(Path(folder)) as one:
            lines += [play(one, *choose(one)) for choose in trials[start : start + ANEW]]
    return lines


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m wan_pipeline_tests.crash.crash")
    parser.add_argument("--lanes", type=int, default=2, help="trials at once")
    parser.add_argument(
        "--pairs",
        default="kinds",
        help="kinds: one of each pair of kinds; all: each pair of occurrences; or how many by seed",
    )
    parser.add_argument("--seed", type=int, default=7, help="of what is drawn")
    parser.add_argument("--at", nargs="+", metavar="POINT", help="play one trial")
    return parser


if __name__ == "__main__":
    sys.exit(main())
