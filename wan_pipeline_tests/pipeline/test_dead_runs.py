"""Runs whose process died are marked as failed; those of the living are not."""

import os
import subprocess
import sys
from collections.abc import Mapping
from uuid import uuid4

import dagster as dg
import pytest

from wan_pipeline.defs.dead_runs import (
    MACHINE_TAG,
    PID_TAG,
    RUN_TAG,
    START_TAG,
    fail_dead_runs,
    process_tags,
)
from wan_pipeline.processes import process_start
from wan_pipeline_tests.pipeline.site import Site

OURS = process_tags("a run of this process")


@pytest.fixture
def dead_process() -> dict[str, str]:
    """Tags of a process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        tags = {**OURS, PID_TAG: str(process.pid), START_TAG: str(process_start(process.pid))}
        process.communicate(b"\n")
    return tags


def run_of(
    site: Site, tags: Mapping[str, str], *, parent: str | None = None, status: str = "STARTED"
) -> str:
    """A run in the instance that nobody works on here; its id.

    Its tags are its own, unless it has a parent from which it got them.
    """
    run_id = str(uuid4())
    own = {RUN_TAG: run_id} if tags and parent is None else {}
    site.instance.create_run_for_job(
        job_def=site.defs.resolve_job_def("plan_only"),
        run_id=run_id,
        tags={**tags, **own},
        status=dg.DagsterRunStatus(status),
        parent_run_id=parent,
        root_run_id=parent,
    )
    return run_id


def status(site: Site, run_id: str) -> str:
    """The run's status as the UI shows it."""
    run = site.instance.get_run_by_id(run_id)
    assert run is not None
    return run.status.value


@pytest.mark.parametrize("stuck", ["NOT_STARTED", "STARTING", "STARTED", "CANCELING"])
def test_a_run_whose_process_is_gone_is_marked_failed(
    site: Site, dead_process: dict[str, str], stuck: str
) -> None:
    """Whatever it was about to do; its history says what happened."""
    dead = run_of(site, dead_process, status=stuck)
    assert fail_dead_runs(site.instance) == [dead]
    assert status(site, dead) == "FAILURE"
    said = [entry.message for entry in site.instance.all_logs(dead)]
    assert any("process of this run is gone" in message for message in said)
    assert fail_dead_runs(site.instance) == []


def test_runs_of_the_living_and_of_others_are_left_alone(
    site: Site, dead_process: dict[str, str]
) -> None:
    """Our own, another machine's, those nobody works on yet, and those that ended."""
    runs = {
        run_of(site, OURS): "STARTED",
        run_of(site, {**dead_process, MACHINE_TAG: "another"}): "STARTED",
        run_of(site, {}): "STARTED",
        run_of(site, dead_process, status="SUCCESS"): "SUCCESS",
    }
    assert fail_dead_runs(site.instance) == []
    assert {run_id: status(site, run_id) for run_id in runs} == runs


def test_a_pid_that_another_process_has_now_is_a_dead_run(site: Site) -> None:
    """Pids come again; when the process started tells them apart."""
    reused = run_of(site, {**OURS, START_TAG: str(process_start(os.getpid()) - 1)})
    assert fail_dead_runs(site.instance) == [reused]


def test_a_run_started_again_from_the_ui_is_not_mistaken_for_its_parent(
    site: Site, dead_process: dict[str, str]
) -> None:
    """Until it is set up it carries the tags of the dead run that it repeats."""
    parent = run_of(site, dead_process, status="FAILURE")
    again = run_of(site, {**dead_process, RUN_TAG: parent}, parent=parent)
    assert fail_dead_runs(site.instance) == []
    assert status(site, again) == "STARTED"


def test_a_run_that_somebody_else_made_says_which_process_works_on_it(site: Site) -> None:
    """The daemon's and the UI's runs have no tags of ours until their own process sets them up."""
    site.write("a.csv", "prompt\none\n")
    site.instance.add_dynamic_partitions("prompt_set", ["a"])
    job = site.defs.resolve_job_def("plan_only")
    result = job.execute_in_process(instance=site.instance, partition_key="a")
    run = site.instance.get_run_by_id(result.run_id)
    assert run is not None
    assert process_tags(result.run_id).items() <= run.tags.items()


def test_the_daemon_does_not_repeat_what_a_person_started(site: Site) -> None:
    """A killed `wan run` spends again when somebody runs it, not by itself."""
    site.write("a.csv", "prompt\none\n")
    outcome = site.run("plan_only", "a").outcome
    run = site.instance.get_run_by_id(outcome.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    assert process_tags(outcome.run_id).items() <= run.tags.items()
