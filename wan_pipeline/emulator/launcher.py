"""Finds the emulator of a state folder, or starts it. The only way others get one.

There is one emulator per folder: it is looked for under a lock by a health call on its remembered
port, which must answer for this very folder, so that neither two callers start two servers nor a
stranger on the port is mistaken for it. It is started detached and lives as long as a process that
asked for it; its port is remembered so that result URLs survive its restart.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, cast

import psutil
from filelock import FileLock, Timeout
from pydantic import ValidationError

from wan_pipeline.emulator.endpoint import PLAN_FILE, SERVICE, Endpoint, listen
from wan_pipeline.emulator.plan import EmulatorPlan

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["EmulatorStartError", "ensure_emulator"]

_LOG_FILE = "emulator.log"
_LOOK_EVERY_S = 0.05
_CALL_TIMEOUT_S = 5.0
_LOG_TAIL_BYTES = 2000


class EmulatorStartError(RuntimeError):
    """The emulator could not be started; the message quotes its log."""


def ensure_emulator(
    state_dir: Path,
    plan: EmulatorPlan,
    *,
    host: str = "127.0.0.1",
    startup_timeout_s: float = 30.0,
) -> str:
    """The base URL of the emulator of a folder, started if it does not run.

    The calling process gets a lease: the emulator ends a few seconds after its last holder. One
    that already runs is put on this plan if it lives by another, because a caller who asks for a
    speed-up or a fault means it; the last caller wins. One that somebody started standalone keeps
    the plan that they gave it.

    Args:
        state_dir: folder of its book, secret, plan, port and log.
        plan: how it is to behave.
        host: address to listen on if it must be started.
        startup_timeout_s: longest wait for the lock and for the server, in seconds.

    Raises:
        EmulatorStartError: it did not come up in time, or ended at once.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    state_dir = state_dir.resolve()
    deadline = time.monotonic() + startup_timeout_s
    try:
        with FileLock(state_dir / "launcher.lock", timeout=startup_timeout_s):
            endpoint = Endpoint.load(state_dir)
            if endpoint is None or not _join(endpoint, state_dir, plan):
                endpoint = _start(state_dir, plan, host=host, last=endpoint, deadline=deadline)
            return endpoint.url
    except Timeout as error:
        raise EmulatorStartError(
            f"another process has been starting the emulator of {state_dir} for "
            f"{startup_timeout_s:g} s: see {state_dir / _LOG_FILE}"
        ) from error


def _join(endpoint: Endpoint, state_dir: Path, plan: EmulatorPlan) -> bool:
    """Take a lease on a running emulator of this folder and hand it the plan; False if none."""
    health = _call(endpoint, "GET", "/_emulator/health")
    if health.get("service") != SERVICE or health.get("data_dir") != str(state_dir):
        return False
    lease = _call(endpoint, "POST", "/_emulator/leases", {"pid": os.getpid()})
    if "pids" not in lease:
        return False
    if not health["standalone"] and _plan_of(endpoint) != plan:
        _call(endpoint, "POST", "/_emulator/plan", plan.model_dump(mode="json"))
    return True


def _plan_of(endpoint: Endpoint) -> EmulatorPlan | None:
    """The plan a running emulator lives by; None if it is of another version of ours."""
    try:
        return EmulatorPlan.model_validate(_call(endpoint, "GET", "/_emulator/plan"))
    except ValidationError:
        return None


def _start(
    state_dir: Path,
    plan: EmulatorPlan,
    *,
    host: str,
    last: Endpoint | None,
    deadline: float,
) -> Endpoint:
    plan.save(state_dir / PLAN_FILE)
    port = 0 if last is None else _free_port(state_dir, host, last, deadline=deadline)
    process = _spawn(state_dir, host, port)
    ended = False
    while not ended and time.monotonic() < deadline:
        endpoint = Endpoint.load(state_dir)
        if endpoint is not None and _is_up(endpoint, state_dir, process.pid):
            # Somebody must collect its exit status, or it stays a zombie while we live.
            threading.Thread(target=process.wait, name="emulator-reaper", daemon=True).start()
            return endpoint
        with suppress(subprocess.TimeoutExpired):
            process.wait(_LOOK_EVERY_S)
            ended = True
    why = (
        f"ended at once with exit code {process.returncode}" if ended else "did not answer in time"
    )
    process.kill()
    process.wait()
    raise EmulatorStartError(
        f"the emulator {why}; its log ({state_dir / _LOG_FILE}) ends with:\n{_log_tail(state_dir)}"
    )


def _free_port(state_dir: Path, host: str, last: Endpoint, *, deadline: float) -> int:
    """The remembered port if it is ours to take, else 0 for any free one.

    A port still held by our own emulator that is shutting down is waited for.
    """
    while True:
        try:
            listen(host, last.port).close()
        except OSError:
            health = _call(last, "GET", "/_emulator/health")
            left_s = deadline - time.monotonic()
            if health.get("data_dir") != str(state_dir) or left_s < 0:
                return 0
            with suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
                psutil.Process(health["pid"]).wait(left_s)
        else:
            return last.port


def _spawn(state_dir: Path, host: str, port: int) -> subprocess.Popen[bytes]:
    command = [
        *(sys.executable, "-m", "wan_pipeline.emulator"),
        *("--state-dir", str(state_dir)),
        *("--host", host),
        *("--port", str(port)),
        *("--plan", str(state_dir / PLAN_FILE)),
        *("--lease-pid", str(os.getpid())),
    ]
    with (state_dir / _LOG_FILE).open("ab") as log:
        return subprocess.Popen(  # noqa: S603  our own interpreter and module
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            close_fds=True,
        )


def _is_up(endpoint: Endpoint, state_dir: Path, pid: int) -> bool:
    health = _call(endpoint, "GET", "/_emulator/health")
    return health.get("pid") == pid and health.get("data_dir") == str(state_dir)


def _call(
    endpoint: Endpoint, method: str, path: str, body: dict[str, Any] | None = None
) -> dict[str, Any]:
    """One small JSON exchange past any proxy; empty when nobody answers it well."""
    connection = http.client.HTTPConnection(endpoint.host, endpoint.port, timeout=_CALL_TIMEOUT_S)
    try:
        payload = None if body is None else json.dumps(body)
        connection.request(method, path, body=payload)
        reply = connection.getresponse()
        answer: object = json.loads(reply.read(1_000_000)) if reply.status == 200 else None
    except (OSError, http.client.HTTPException, ValueError):
        # Nobody there, or a stranger: the caller starts one of its own.
        return {}
    finally:
        connection.close()
    return cast("dict[str, Any]", answer) if isinstance(answer, dict) else {}


def _log_tail(state_dir: Path) -> str:
    log = state_dir / _LOG_FILE
    if not log.exists():
        return "(nothing)"
    return log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace").strip()
