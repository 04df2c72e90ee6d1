"""One batch in a process of its own: something to interrupt, to kill and to run twice.

    python -m wan_pipeline_tests.generation.batch_process FOLDER BASE_URL COUNT GRACE_S

Prints one JSON line at the end: the report's counts, or that it was interrupted.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from wan_pipeline.generation.interrupt import run_interruptibly
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_requests

__all__ = ["INTERRUPTED", "main"]

INTERRUPTED = 7


def main(folder: str, base_url: str, count: str, grace_s: str) -> int:
    """Buy so many requests; the exit code tells whether all went well."""
    bench = Workbench(folder=Path(folder), base_url=base_url)
    batch = bench.buy(
        make_requests(int(count)), create_grace_s=float(grace_s), task_patience_s=600.0
    )
    try:
        report = run_interruptibly(batch)
    except KeyboardInterrupt:
        sys.stdout.write(json.dumps({"interrupted": True}) + "\n")
        return INTERRUPTED
    tally = report.tally
    counts = {"created": tally.created, "done": tally.done, "failed": tally.failed}
    counts |= {"already_stored": tally.already_stored, "taken_up": tally.taken_up}
    sys.stdout.write(json.dumps(counts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
