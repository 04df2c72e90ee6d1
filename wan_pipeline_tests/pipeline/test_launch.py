"""The Dagster instance of a data folder, and runs whose process died."""

import os
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest

from wan_pipeline.defs.launch import (
    MACHINE_TAG,
    PID_TAG,
    START_TAG,
    fail_dead_runs,
    open_instance,
)
from wan_pipeline.ledger.owner import process_start, this_machine
from wan_pipeline.settings import Settings
from wan_pipeline_tests.pipeline.site import Site

REVIEWED = Path(__file__).parents[2] / "deploy" / "dagster.yaml"


@pytest.fixture
def dead_process() -> dict[str, str]:
    """Tags of a process of this machine that has ended."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        tags = tags_of(process.pid)
        process.communicate(b"\n")
    return tags


def tags_of(pid: int) -> dict[str, str]:
    """What `wan run` writes on its runs."""
    return {
        MACHINE_TAG: this_machine(),
        PID_TAG: str(pid),
        START_TAG: str(process_start(pid)),
    }


def run_of(
    site: Site, tags: dict[str, str], *, parent: str | None = None, status: str = "STARTED"
) -> str:
    """A run in the instance that nobody works on here; its id."""
    run = site.instance.create_run_for_job(
        job_def=site.defs.resolve_job_def("plan_only"),
        tags=tags,
        status=dg.DagsterRunStatus(status),
        parent_run_id=parent,
        root_run_id=parent,
    )
    return run.run_id


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
    """Our own, another machine's, the daemon's, and those that ended by themselves."""
    runs = {
        run_of(site, tags_of(os.getpid())): "STARTED",
        run_of(site, {**dead_process, MACHINE_TAG: "another"}): "STARTED",
        run_of(site, {}): "STARTED",
        run_of(site, dead_process, status="SUCCESS"): "SUCCESS",
    }
    assert fail_dead_runs(site.instance) == []
    assert {run_id: status(site, run_id) for run_id in runs} == runs


def test_a_pid_that_another_process_has_now_is_a_dead_run(site: Site) -> None:
    """Pids come again; when the process started tells them apart."""
    tags = {**tags_of(os.getpid()), START_TAG: str(process_start(os.getpid()) - 1)}
    reused = run_of(site, tags)
    assert fail_dead_runs(site.instance) == [reused]


def test_a_run_started_again_from_the_ui_is_not_mistaken_for_its_parent(
    site: Site, dead_process: dict[str, str]
) -> None:
    """It carries the tags of the dead run that it repeats, but lives elsewhere."""
    parent = run_of(site, dead_process, status="FAILURE")
    again = run_of(site, dead_process, parent=parent)
    assert fail_dead_runs(site.instance) == []
    assert status(site, again) == "STARTED"


def test_the_daemon_does_not_repeat_what_a_person_started(site: Site) -> None:
    """A killed `wan run` spends again when somebody runs it, not by itself."""
    site.write("a.csv", "prompt\none\n")
    run = site.instance.get_run_by_id(site.run("plan_only", "a").outcome.run_id)
    assert run is not None
    assert run.tags["dagster/max_retries"] == "0"
    assert {MACHINE_TAG, PID_TAG, START_TAG} <= set(run.tags)


def test_a_new_instance_gets_the_reviewed_settings(site: Site) -> None:
    """Telemetry off, no pop-up, one build at a time."""
    home = site.layout.dagster_home
    assert (home / "dagster.yaml").read_bytes() == REVIEWED.read_bytes()
    assert not site.instance.telemetry_enabled
    assert not site.instance.nux_enabled
    assert site.instance.get_settings("concurrency")["pools"]["granularity"] == "run"


def test_settings_that_somebody_wrote_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """$DAGSTER_HOME is respected, and a dagster.yaml in it is not touched."""
    home = tmp_path / "elsewhere"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    instance = open_instance(Settings(data_dir=tmp_path / "data"))
    instance.dispose()
    assert instance.root_directory == str(home)
    assert (home / "dagster.yaml").read_text() == "telemetry:\n  enabled: false\n"
    assert not (tmp_path / "data").exists()
