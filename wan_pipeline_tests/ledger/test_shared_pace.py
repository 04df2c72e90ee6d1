"""Four real processes under one account: granted moments are never closer than the limit allows."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from typing import TYPE_CHECKING

from wan_pipeline.generation.pacing import SAFE_SHARE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

import contextlib

PROCESSES = 4
PER_SECOND = 200.0
MOMENTS = 60


@contextlib.contextmanager
def takers(where: Path | str) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that wait for the word to begin."""
    arguments = [str(where), str(PER_SECOND), str(MOMENTS), "4"]
    command = [sys.executable, "-m", "wan_pipeline_tests.ledger.pace_process", *arguments]
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            )
            for _ in range(PROCESSES)
        ]
        try:
            yield processes
        finally:
            for process in processes:
                process.kill()


def test_moments_of_four_processes_are_spaced_exactly(where: Path | str) -> None:
    """By their granted times, not one pair is closer than a step, and all get their share."""
    running: AbstractContextManager[list[subprocess.Popen[str]]] = takers(where)
    with running as processes:
        for process in processes:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        granted = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert all(len(moments) >= MOMENTS for moments in granted)
    moments = sorted(itertools.chain.from_iterable(granted))
    step_us = round(1e6 / (PER_SECOND * SAFE_SHARE))
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    assert min(gaps) >= step_us
    # They ran at once, not one after the other: most neighbours are of different processes.
    owner = {moment: number for number, its in enumerate(granted) for moment in its}
    changes = sum(owner[a] != owner[b] for a, b in itertools.pairwise(moments))
    assert changes > PROCESSES
