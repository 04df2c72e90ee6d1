"""A program that serves an empty PostgreSQL cluster until its stdin closes.

    python -m wan_pipeline_tests.postgres_server

It prints one line, the JSON of :class:`Address`, as soon as the server takes connections. It stands
between the tests and the server because a pipe closes however the tests end, by kill -9 too; then
it stops the server and removes its files. The kernel's parent-death signal would follow one thread
instead of the process, and would leave the files.

Only the standard library: it starts fast, and is the same program for every user.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["SUPERUSER", "Address", "ServerError", "find_programs", "main"]

DEBIAN = Path("/usr/lib/postgresql")
HOST = "127.0.0.1"
SUPERUSER = "postgres"
START_PATIENCE_S = 60.0
STOP_PATIENCE_S = 20.0
PORTS_TO_TRY = 5  # another process can take a free port before the server does
READY_LINE = 7  # of postmaster.pid, counted from 0; pg_ctl waits for the same
LOG_TAIL = 2000

SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",
    "shared_buffers": "32MB",
    # Any zone but UTC: a server has its machine's, and no time may depend on it.
    "timezone": "Asia/Shanghai",
    # fsync and synchronous_commit stay as they are: durability is part of what is tested.
}


class ServerError(RuntimeError):
    """The server could not be started, or ended by itself; the message quotes its log."""


class _State(Enum):
    READY = auto()
    ENDED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """Where the server is, and how to become its superuser."""

    port: int
    pid: int
    password: str
    folder: str


def find_programs() -> Path | None:
    """The folder of `initdb` and `postgres`: Debian's newest, else PATH's; None without one."""
    folders = sorted(DEBIAN.glob("*/bin"), key=_version, reverse=True)
    if (on_path := shutil.which("initdb")) is not None:
        folders.append(Path(on_path).resolve().parent)
    return next((folder for folder in folders if _has_both(folder)), None)


def main() -> int:
    """Serve until stdin closes; 1 when the server did not start or did not last."""
    programs = find_programs()
    if programs is None:
        sys.stderr.write("no PostgreSQL server: apt-get install postgresql, or leave out its tests")
        return 1
    try:
        with _folder() as folder, _cluster(programs, folder) as address:
            sys.stdout.write(json.dumps(asdict(address)) + "\n")
            sys.stdout.flush()
            sys.stdin.buffer.read()
    except ServerError as error:
        sys.stderr.write(str(error))
        return 1
    return 0


@contextmanager
def _folder() -> Generator[Path]:
    """A folder of the server's user. Pytest's own ones are closed to other users than ours."""
    folder = Path(tempfile.mkdtemp(prefix="wan-postgres-"))
    try:
        if (user := _unprivileged()) is not None:
            os.chown(folder, user.pw_uid, user.pw_gid)
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def _cluster(programs: Path, folder: Path) -> Generator[Address]:
    password = secrets.token_hex(16)
    _initialise(programs, folder, password)
    server, port = _start(programs, folder)
    try:
        yield Address(port=port, pid=server.pid, password=password, folder=str(folder))
        if server.poll() is not None:
            raise ServerError(
                f"the PostgreSQL server ended by itself with exit code {server.returncode}, and the"
                f" tests that used it with it. Its log ends with:\n{_log_tail(folder)}"
            )
    finally:
        _stop(server)


def _initialise(programs: Path, folder: Path, password: str) -> None:
    password_file = folder / "password"
    password_file.write_text(password)
    password_file.chmod(0o644)  # it is the folder that keeps others out
    done = subprocess.run(
        [
            *(programs / "initdb", "--pgdata", folder / "data", "--username", SUPERUSER),
            *("--auth=scram-sha-256", f"--pwfile={password_file}"),
            *("--encoding=UTF8", "--locale=C"),
            "--no-sync",  # a machine that crashes here takes the tests with it
        ],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=START_PATIENCE_S,
        check=False,
        **_as_server(folder),
    )
    if done.returncode != 0:
        user = _unprivileged()
        name = "this user" if user is None else f"the user {user.pw_name}"
        raise ServerError(
            f"initdb ended with exit code {done.returncode}. Check that {name} can enter"
            f" {folder.parent}, or set TMPDIR to a folder where that is so. It said:\n"
            f"{done.stderr.decode(errors='replace')[-LOG_TAIL:]}"
        )


def _start(programs: Path, folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """The server, ready, and its port."""
    deadline = time.monotonic() + START_PATIENCE_S
    for _ in range(PORTS_TO_TRY):
        port = _free_port()
        server = _spawn(programs, folder, port)
        try:
            if _await_ready(server, folder, deadline):
                return server, port
        except BaseException:
            _stop(server)
            raise
    raise ServerError(
        f"the PostgreSQL server ended at once, {PORTS_TO_TRY} times. Run {programs / 'postgres'} by"
        f" hand to see why; its log ends with:\n{_log_tail(folder)}"
    )


def _spawn(programs: Path, folder: Path, port: int) -> subprocess.Popen[Any]:
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    with _log(folder).open("ab") as log:
        return subprocess.Popen(
            [programs / "postgres", "-D", folder / "data", f"--port={port}", *settings],
            stdin=subprocess.DEVNULL,  # not our stdin, or it would hold on to the tests' pipe
            stdout=log,
            stderr=log,
            **_as_server(folder),
        )


def _await_ready(server: subprocess.Popen[bytes], folder: Path, deadline: float) -> bool:
    """Whether it takes connections; False when it ended."""
    try:
        return (
            wait_for(
                lambda: _state(server, folder),
                what="the PostgreSQL server",
                within_s=max(deadline - time.monotonic(), 0),
            )
            is _State.READY
        )
    except TimeoutError as error:
        raise ServerError(
            f"{error}. Run the tests again on a machine that is less busy; its log ends with:\n"
            f"{_log_tail(folder)}"
        ) from error


def _state(server: subprocess.Popen[bytes], folder: Path) -> _State | None:
    """What has become of a server; None while it starts."""
    if server.poll() is not None:
        return _State.ENDED
    status = folder / "data" / "postmaster.pid"
    lines = status.read_text().splitlines() if status.exists() else []
    told = lines[READY_LINE:] and (int(lines[0]), lines[READY_LINE].strip())
    return _State.READY if told == (server.pid, "ready") else None


def _stop(server: subprocess.Popen[bytes]) -> None:
    """Without a last checkpoint: its files are thrown away."""
    server.send_signal(signal.SIGQUIT)
    try:
        server.wait(STOP_PATIENCE_S)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _as_server(folder: Path) -> dict[str, Any]:
    """How its programs are started: as nobody special, and without the settings of a person."""
    options: dict[str, Any] = {
        "cwd": folder,
        "env": {"PATH": os.defpath, "LC_ALL": "C"},
    }
    if (user := _unprivileged()) is not None:
        options |= {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    return options


def _unprivileged() -> pwd.struct_passwd | None:
    """Who the server runs as when we are root, which it refuses; None for ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return listener.getsockname()[1]


def _version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", folder.parent.name))


def _has_both(folder: Path) -> bool:
    return all(os.access(folder / program, os.X_OK) for program in ("initdb", "postgres"))


def _log(folder: Path) -> Path:
    return folder / "server.log"


def _log_tail(folder: Path) -> str:
    return _log(folder).read_bytes()[-LOG_TAIL:].decode(errors="replace").strip()


if __name__ == "__main__":
    sys.exit(main())
