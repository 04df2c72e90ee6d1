"""The rate that four processes with one account achieve together, of a limit of 20 per second.

    python benchmarks/shared_pace.py                              # a SQLite file
    WAN_LEDGER_URL=postgresql://... python benchmarks/shared_pace.py   # PostgreSQL as well

Goal: 19.5 to 20.1. The alternative in the same run is a pace per process, which is what a limiter
in memory gives: four processes then ask four times as often as the account allows.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

LIMIT = 20.0
PROCESSES = 4
MOMENTS = 75  # of each process: 15 seconds in all
TAKER = "wan_pipeline_tests.ledger.pace_process"


def rate(*places: Path | str) -> float:
    """Moments per second of four processes, each on the place that is its turn."""
    with contextlib.ExitStack() as stack:
        processes = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-m", TAKER, str(place), str(LIMIT), str(MOMENTS), "16"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
            for place, _ in zip(places * PROCESSES, range(PROCESSES), strict=False)
        ]
        for process in processes:
            assert process.stdout is not None
            process.stdout.readline()
        for process in processes:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        granted = [json.loads(process.communicate()[0]) for process in processes]
    # While all four ask: the first to have enough ends the measurement.
    end = min(max(moments) for moments in granted)
    moments = sorted(moment for each in granted for moment in each if moment <= end)
    return (len(moments) - 1) / (moments[-1] - moments[0]) * 1e6


def main() -> None:
    """Shared and not shared."""
    with tempfile.TemporaryDirectory() as folder:
        shared = rate(Path(folder) / "shared.sqlite")
        alone = rate(*(Path(folder) / f"{number}.sqlite" for number in range(PROCESSES)))
    print(
        f"SQLite: {shared:.2f} per second by {PROCESSES} processes under a limit of {LIMIT:.0f};"
        f" a pace per process: {alone:.2f}; ratio {alone / shared:.2f}"
    )
    if url := os.environ.get("WAN_LEDGER_URL"):
        print(f"PostgreSQL: {rate(url):.2f} per second by {PROCESSES} processes")


if __name__ == "__main__":
    main()
