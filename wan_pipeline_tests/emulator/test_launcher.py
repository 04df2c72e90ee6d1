"""Finding or starting the emulator of a folder: one server, one port, no orphan."""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest

from wan_pipeline.emulator.endpoint import Endpoint
from wan_pipeline.emulator.launcher import EmulatorStartError, ensure_emulator
from wan_pipeline.emulator.leases import Leases
from wan_pipeline.emulator.plan import EmulatorPlan
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_CALLER = """
import sys, pathlib
from wan_pipeline.emulator.launcher import ensure_emulator
from wan_pipeline.emulator.plan import EmulatorPlan
print(ensure_emulator(pathlib.Path(sys.argv[1]), EmulatorPlan(speed_up=1000)), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def state_dir(tmp_path: Path) -> Iterator[Path]:
    """A folder whose emulator, if one was started, is stopped by its own pid at the end."""
    folder = tmp_path / "emulator"
    yield folder
    endpoint = Endpoint.load(folder)
    if endpoint is not None and ours(endpoint.pid, folder):
        psutil.Process(endpoint.pid).kill()
        wait_until_gone(endpoint.pid)


def ours(pid: int, folder: Path) -> bool:
    """Whether a pid is the emulator of a folder, and not a process that came later."""
    try:
        return str(folder) in psutil.Process(pid).cmdline()
    except psutil.NoSuchProcess:
        return False


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def wait_until_gone(pid: int, timeout_s: float = 10) -> float:
    """Wait for the end of a process; the seconds that it took."""
    started = time.monotonic()
    wait_for(lambda: not alive(pid), what=f"the end of process {pid}", within_s=timeout_s)
    return time.monotonic() - started


def health(url: str) -> dict[str, Any]:
    """Who answers at a URL."""
    return httpx.get(f"{url}/_emulator/health", trust_env=False).json()


@contextmanager
def callers(state_dir: Path, count: int) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that ask for the emulator at the same time and stay until they are stopped."""
    running = [
        subprocess.Popen(
            [sys.executable, "-c", _CALLER, str(state_dir)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    try:
        yield running
    finally:
        for caller in running:
            caller.kill()
            caller.communicate()


def test_it_is_started_once_and_then_found(state_dir: Path) -> None:
    """The second call joins the server of the first."""
    url = ensure_emulator(state_dir, FAST)
    first = health(url)
    assert first["service"] == "wan-emulator"
    assert first["data_dir"] == str(state_dir.resolve())
    assert first["standalone"] is False
    assert ensure_emulator(state_dir, FAST) == url
    assert health(url)["pid"] == first["pid"]
    assert url.startswith("http://127.0.0.1:")


def test_processes_that_ask_at_once_share_one_server(state_dir: Path) -> None:
    """Three simultaneous callers print the same URL, and each holds a lease."""
    with callers(state_dir, 3) as running:
        urls = {caller.stdout.readline().strip() for caller in running if caller.stdout}
        assert len(urls) == 1
        (url,) = urls
        reply = httpx.post(
            f"{url}/_emulator/leases", json={"pid": os.getpid()}, trust_env=False
        ).json()
        assert set(reply["pids"]) == {caller.pid for caller in running} | {os.getpid()}


def test_it_outlives_its_last_holder_by_less_than_ten_seconds(state_dir: Path) -> None:
    """While one holder lives it stays; after kill -9 of the last one it goes by itself."""
    with callers(state_dir, 2) as running:
        for caller in running:
            assert caller.stdout is not None
            caller.stdout.readline()
        endpoint = Endpoint.load(state_dir)
        assert endpoint is not None
        running[0].send_signal(signal.SIGKILL)
        running[0].wait()
        with pytest.raises(TimeoutError):  # one holder lives
            wait_until_gone(endpoint.pid, 4.5)
        running[1].send_signal(signal.SIGKILL)
        running[1].wait()
        assert wait_until_gone(endpoint.pid) < 10


def test_after_kill_9_it_comes_back_on_its_port(state_dir: Path) -> None:
    """A restart keeps the port, so that result URLs stay good."""
    url = ensure_emulator(state_dir, FAST)
    pid = health(url)["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_until_gone(pid)
    assert ensure_emulator(state_dir, FAST) == url
    assert health(url)["pid"] != pid


def test_another_plan_replaces_the_running_one(state_dir: Path) -> None:
    """The last caller's settings are in force, not silently ignored."""
    url = ensure_emulator(state_dir, FAST)
    pid = health(url)["pid"]
    ensure_emulator(state_dir, EmulatorPlan(speed_up=20))
    assert httpx.get(f"{url}/_emulator/plan", trust_env=False).json()["speed_up"] == 20
    assert health(url)["pid"] == pid


def test_a_standalone_emulator_is_joined_and_keeps_its_plan(state_dir: Path) -> None:
    """Who started it by hand decided how it behaves."""
    command = [sys.executable, "-m", "wan_pipeline.emulator", "--standalone"]
    running = subprocess.Popen([*command, "--state-dir", str(state_dir)], stderr=subprocess.DEVNULL)
    try:
        endpoint = wait_for(lambda: Endpoint.load(state_dir), what="its address", within_s=20)
        assert ensure_emulator(state_dir, FAST) == endpoint.url
        assert health(endpoint.url)["pid"] == running.pid
        plan = httpx.get(f"{endpoint.url}/_emulator/plan", trust_env=False).json()
        assert plan["speed_up"] == 1
    finally:
        running.kill()
        running.wait()


class _Stranger(http.server.BaseHTTPRequestHandler):
    """Answers every call politely, and is not an emulator of this folder."""

    identity: dict[str, str]

    def do_GET(self) -> None:
        body = json.dumps(self.identity).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the base class's word
        """Say nothing."""


@pytest.mark.parametrize(
    "identity",
    [{"service": "something-else"}, {"service": "wan-emulator", "data_dir": "/elsewhere"}],
)
def test_a_stranger_on_the_remembered_port_is_not_used(
    state_dir: Path, identity: dict[str, str]
) -> None:
    """Another program, or another folder's emulator, has the port: ours takes a free one."""
    handler = type("Handler", (_Stranger,), {"identity": identity})
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as stranger:
        thread = threading.Thread(target=stranger.serve_forever, daemon=True)
        thread.start()
        try:
            state_dir.mkdir(parents=True)
            taken = stranger.server_address[1]
            Endpoint(host="127.0.0.1", port=taken, pid=1).save(state_dir)
            url = ensure_emulator(state_dir, FAST)
            assert not url.endswith(f":{taken}")
            assert health(url)["data_dir"] == str(state_dir.resolve())
        finally:
            stranger.shutdown()
            thread.join()


def test_an_unreadable_note_is_no_obstacle(state_dir: Path) -> None:
    """A damaged endpoint file means that nothing is remembered."""
    state_dir.mkdir(parents=True)
    (state_dir / "endpoint.json").write_text("{")
    assert health(ensure_emulator(state_dir, FAST))["service"] == "wan-emulator"


def test_an_emulator_that_cannot_start_says_why(state_dir: Path) -> None:
    """The error quotes the log of the process that ended."""
    state_dir.mkdir(parents=True)
    (state_dir / "emulator.sqlite").write_bytes(b"this is no database" * 100)
    with pytest.raises(EmulatorStartError, match="file is not a database"):
        ensure_emulator(state_dir, FAST)


def test_a_reused_pid_is_nobodys_lease() -> None:
    """A lease is a process, not a number: pid and start time must both agree."""
    leases = Leases((os.getpid(), 2**22 + 1))
    assert leases.pids == [os.getpid()]
    assert leases.any_alive()
    leases._holders[os.getpid()]._create_time = 1.0
    leases._holders[os.getpid()]._ident = (os.getpid(), 1.0)
    assert not leases.any_alive()
    assert leases.pids == []
