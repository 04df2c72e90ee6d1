"""What an emulator promises across its death: tasks, bill, running slots and URLs go on."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import httpx

from wan_pipeline.emulator.endpoint import Endpoint
from wan_pipeline.emulator.plan import EmulatorPlan, LatencyLaw
from wan_pipeline_tests.emulator.client import Caller, flat, urls_of
from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Long enough to die in the middle of, short enough to wait for.
BRISK = EmulatorPlan(speed_up=100, latency=LatencyLaw(service_median_s=60, service_sigma=0))


def listens(running: subprocess.Popen[bytes], state_dir: Path) -> bool:
    """Whether an emulator has written down its address."""
    assert running.poll() is None, "the emulator ended before it listened"
    endpoint = Endpoint.load(state_dir)
    return endpoint is not None and endpoint.pid == running.pid


@contextmanager
def process(state_dir: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """An emulator in a process of its own, killed at the end whatever happens."""
    command = [sys.executable, "-m", "wan_pipeline.emulator", "--state-dir", str(state_dir)]
    running = subprocess.Popen([*command, *arguments], stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: listens(running, state_dir), what="its address", within_s=20)
        yield running
    finally:
        running.kill()
        running.wait()


def url_of(state_dir: Path) -> str:
    """Where the emulator of a folder listens."""
    endpoint = Endpoint.load(state_dir)
    assert endpoint is not None
    return endpoint.url


def test_every_accepted_task_survives_kill_9(tmp_path: Path) -> None:
    """Creates answered before a SIGKILL are in the book after it, and complete on time."""
    BRISK.save(tmp_path / "plan-in.json")
    plan = ("--plan", str(tmp_path / "plan-in.json"), "--standalone")
    with process(tmp_path, *plan) as first:
        with Caller(url_of(tmp_path)) as caller:
            answered = [caller.made(flat(f"kite {number}", n=1)) for number in range(40)]
        os.kill(first.pid, signal.SIGKILL)
        assert first.wait() == -signal.SIGKILL
    port = url_of(tmp_path).rpartition(":")[2]
    with process(tmp_path, *plan, "--port", port):
        url = url_of(tmp_path)
        assert url.endswith(f":{port}")
        known = httpx.get(f"{url}/_emulator/tasks", trust_env=False).json()
        assert [task["id"] for task in known] == answered
        with Caller(url) as caller:
            done = [caller.finished(task_id) for task_id in answered]
            assert {body["status"] for body in done} == {"completed"}
        bill = httpx.get(f"{url}/_emulator/bill", trust_env=False).json()
        assert (bill["usd"], bill["creates_received"]) == ("1.20", 40)


def test_tasks_end_while_nobody_serves_them(tmp_path: Path) -> None:
    """A task that ends while the server is down is complete and billed when it is back."""
    with RunningEmulator(tmp_path, BRISK) as emulator, Caller(emulator.base_url) as caller:
        task_id = caller.made(flat(n=2))
        assert emulator.bill()["usd"] == "0.00"
        (task,) = emulator.tasks()
        port = emulator.port
    wait_for(lambda: time.time() >= task["end_at"], what="the task's end", within_s=20)
    with RunningEmulator(tmp_path, BRISK, port=port) as emulator:
        assert emulator.bill()["usd"] == "0.06"
        with Caller(emulator.base_url) as caller:
            assert caller.poll(task_id).json()["status"] == "completed"


def test_urls_survive_a_restart(tmp_path: Path) -> None:
    """A URL given before a restart on the same port brings the same bytes after it."""
    with RunningEmulator(tmp_path) as emulator, Caller(emulator.base_url) as caller:
        (url,) = urls_of(caller.finished(caller.made(flat(n=1))))
        before = caller.get(url).content
        port = emulator.port
    with RunningEmulator(tmp_path, port=port) as emulator, Caller(emulator.base_url) as caller:
        assert caller.get(url).content == before


def test_credit_spent_before_a_restart_stays_spent(tmp_path: Path) -> None:
    """The book, not the process, knows what the account has used."""
    plan = EmulatorPlan.model_validate({"speed_up": 1000, "credit_usd": "0.03"})
    with RunningEmulator(tmp_path, plan) as emulator, Caller(emulator.base_url) as caller:
        assert caller.create().status_code == 200
    with RunningEmulator(tmp_path, plan) as emulator, Caller(emulator.base_url) as caller:
        assert caller.create().status_code == 402


def test_the_plan_in_force_is_remembered(tmp_path: Path) -> None:
    """A plan posted at run time is what a restart without a plan begins with."""
    with RunningEmulator(tmp_path) as emulator:
        emulator.set_plan(BRISK)
    with process(tmp_path, "--standalone"):
        plan = httpx.get(f"{url_of(tmp_path)}/_emulator/plan", trust_env=False).json()
    assert EmulatorPlan.model_validate(plan) == BRISK


def test_two_emulators_never_share_a_folder(tmp_path: Path) -> None:
    """The second one says so and ends with exit code 1."""
    with process(tmp_path, "--standalone"):
        second = subprocess.run(
            [sys.executable, "-m", "wan_pipeline.emulator", "--state-dir", str(tmp_path)],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
    assert second.returncode == 1
    assert "another emulator already serves" in second.stderr


def test_a_plan_that_is_none_is_reported(tmp_path: Path) -> None:
    """A broken plan file ends the process with a message that names the field."""
    plan = tmp_path / "plan-in.json"
    plan.write_text('{"speed_up": 5000}')
    command = [sys.executable, "-m", "wan_pipeline.emulator", "--state-dir", str(tmp_path / "s")]
    ended = subprocess.run(
        [*command, "--plan", str(plan)], capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 1
    assert "speed_up" in ended.stderr


def test_updated_model_paints_other_pictures_from_then_on(tmp_path: Path) -> None:
    """The same request brings another picture; what was accepted before keeps its own."""

    def brought(caller: Caller, task_id: str) -> bytes:
        (url,) = urls_of(caller.finished(task_id))
        return caller.public.get(url).content

    plan = EmulatorPlan(speed_up=1000)
    body = flat(n=1, seed=7)
    with RunningEmulator(tmp_path, plan) as emulator, Caller(emulator.base_url) as caller:
        early = caller.made(body)
        old = brought(caller, early)
        emulator.set_plan(plan.model_copy(update={"model_revision": 3}))
        late = caller.made(body)
        new = brought(caller, late)
        port = emulator.port
    assert old != new
    with sqlite3.connect(
        tmp_path / "emulator.sqlite"
    ) as book:  # as one of before there were revisions
        book.execute("DELETE FROM tasks WHERE task_id = ?", (late,))
        book.execute("ALTER TABLE tasks DROP COLUMN model_revision")
    book.close()
    with (
        RunningEmulator(tmp_path, plan, port=port) as emulator,
        Caller(emulator.base_url) as caller,
    ):
        assert brought(caller, early) == old
