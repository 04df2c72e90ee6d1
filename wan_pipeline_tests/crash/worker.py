"""One batch in a process of its own that can be killed at a named point or from outside.

Processes are forked by multiprocessing's fork server, which has everything imported, so that
a batch costs milliseconds to start and not the seconds of its imports.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wan_pipeline.temp_files import sweep_temp_files
from wan_pipeline.wan.client import Timeouts
from wan_pipeline_tests.crash.hooks import install
from wan_pipeline_tests.crash.points import Trap
from wan_pipeline_tests.generation.batch_fixture import Workbench, hurried

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.prompts.request import GenerationRequest

__all__ = ["DATA", "Job", "Outcome", "run"]

DATA = "data"
RESULT = "result.json"
PATIENCE_S = 60.0
HURRY = 100.0
HASTY = Timeouts(create_read_s=0.8, poll_read_s=0.8, download_read_s=2.0)
_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload([__name__, f"{__package__}.warm"])


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A batch to run.

    Attributes:
        folder: of the trial; its data folder lies in it.
        base_url: of the provider.
        requests: what is to be bought.
        run_id: kept with every purchase.
        terms: other terms than the workbench's.
        kill_at: the point at which it dies.
        kill_after_s: seconds after which it is killed from outside.
    """

    folder: Path
    base_url: str
    requests: list[GenerationRequest]
    run_id: str
    terms: dict[str, Any] = field(default_factory=dict)
    kill_at: str | None = None
    kill_after_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a batch.

    Attributes:
        killed: it died by SIGKILL.
        passed: the points it passed, if it lived.
        stop: why it stopped submitting, if it lived and did.
        problems: what its report counts, if it lived.
    """

    killed: bool
    passed: Counter[str] = field(default_factory=Counter)
    stop: str | None = None
    problems: dict[str, int] = field(default_factory=dict)


def run(job: Job) -> Outcome:
    """Run a batch in a process of its own to its end, or to the moment at which it is killed.

    Raises:
        RuntimeError: it ended in any other way; its traceback is on stderr.
    """
    result = job.folder / RESULT
    result.unlink(missing_ok=True)
    process = _SERVER.Process(target=_work, args=(job,))
    process.start()
    try:
        process.join(PATIENCE_S if job.kill_after_s is None else job.kill_after_s)
        met = process.exitcode is None
    finally:
        process.kill()
        process.join(PATIENCE_S)
    if process.exitcode == -signal.SIGKILL and (job.kill_at or job.kill_after_s is not None):
        return Outcome(killed=True)
    if process.exitcode != 0:
        how = f"was still at work after {PATIENCE_S:g} s" if met else f"exit {process.exitcode}"
        raise RuntimeError(f"the batch {job.run_id} in {job.folder} did not end well: {how}")
    told = json.loads(result.read_text())
    return Outcome(killed=False, **{**told, "passed": Counter(told["passed"])})


def _work(job: Job) -> None:
    """What `wan run` does around a batch, without Dagster; in the child."""
    trap = Trap(job.kill_at)
    install(trap)
    data = job.folder / DATA
    sweep_temp_files(data)
    bench = Workbench(folder=data, base_url=job.base_url, timeouts=HASTY, clock=hurried(HURRY))
    report = asyncio.run(bench.buy(job.requests, run_id=job.run_id, **job.terms))
    told = {
        "passed": trap.passed,
        "stop": report.stop.name if report.stop else None,
        "problems": report.tally.problems,
    }
    (job.folder / RESULT).write_text(json.dumps(told))
