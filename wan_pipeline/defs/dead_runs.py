"""Runs whose process is gone: which process works on a run, and which of them no longer lives.

A killed process cannot say that its run ended, and the instance would show it as running for ever.
Every run is therefore tagged with its process: by `wan` when it makes one, and by the run itself,
whoever started it, once its resources are set up.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from dagster import DagsterRunStatus, RunsFilter

from wan_pipeline.defs.recording import recorded
from wan_pipeline.processes import process_alive, process_start, this_machine

if TYPE_CHECKING:
    import dagster as dg

__all__ = ["fail_dead_runs", "process_tags", "tag_with_process"]

# A run that the UI starts again carries its parent's tags until it is set up; by the run's own id
# they are known as the parent's.
RUN_TAG = "wan/run"
MACHINE_TAG = "wan/machine"
PID_TAG = "wan/pid"
START_TAG = "wan/process_start"

UNFINISHED = [
    DagsterRunStatus.NOT_STARTED,
    DagsterRunStatus.STARTING,
    DagsterRunStatus.STARTED,
    DagsterRunStatus.CANCELING,
]


def process_tags(run_id: str) -> dict[str, str]:
    """Tags that say that this process works on a run."""
    return {
        RUN_TAG: run_id,
        MACHINE_TAG: this_machine(),
        PID_TAG: str(os.getpid()),
        START_TAG: str(process_start(os.getpid())),
    }


def tag_with_process(instance: dg.DagsterInstance, run: dg.DagsterRun) -> None:
    """Note on a run that this process works on it, unless that is noted already."""
    tags = process_tags(run.run_id)
    if not tags.items() <= run.tags.items():
        instance.add_run_tags(run.run_id, tags)


def fail_dead_runs(instance: dg.DagsterInstance) -> list[str]:
    """Mark runs of this machine as failed whose process is gone; returns their ids.

    Runs of other machines are left alone, and so are those of this one from before it was started
    anew: pids mean nothing there, and Dagster's run monitoring ends them.

    Raises:
        RunHistoryError: the instance cannot be read or written.
    """
    only = RunsFilter(statuses=UNFINISHED, tags={MACHINE_TAG: this_machine()})
    with recorded(instance.root_directory):
        runs = instance.get_runs(only)
        dead = [run for run in runs if run.tags.get(RUN_TAG) == run.run_id and not _alive(run)]
        for run in dead:
            instance.report_run_failed(
                run,
                "The process of this run is gone. What it paid for is in the ledger; the next run"
                " goes on with it.",
            )
    return [run.run_id for run in dead]


def _alive(run: dg.DagsterRun) -> bool:
    return process_alive(int(run.tags[PID_TAG]), float(run.tags[START_TAG]))
