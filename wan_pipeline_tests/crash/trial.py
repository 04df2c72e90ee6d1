"""One data folder, one prompt set, and a command that is killed while it builds it."""

from __future__ import annotations

import csv
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.emulator.plan import EmulatorPlan
from wan_pipeline.settings import DataLayout
from wan_pipeline_tests.crash.audit import Audit, Ended, audit
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["IMAGES", "REQUESTS", "SET", "Command", "Moment", "Trial", "Victim"]

SET = "kites"
COUNTS = (1, 2, 1, 1, 3, 1, 2, 1, 1, 2, 1, 2)  # images per prompt
REQUESTS = len(COUNTS)
IMAGES = sum(COUNTS)
SPEED_UP = 60.0  # buying takes about three seconds
PATIENCE_S = 180.0
WAN = Path(sys.executable).with_name("wan")
MAKE_FAILED = 2  # whatever the command's own exit code was; make tells it on stderr
PROGRESS = "SELECT COUNT(*), COUNT(*) FILTER (WHERE state != 'intent') FROM purchases"


class Victim(StrEnum):
    """Who is killed."""

    PROCESS = "process"
    GROUP = "group"


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When to kill.

    Attributes:
        intents: purchases that the ledger must know by then.
        answered: purchases whose create must have been answered.
        after_s: seconds to wait from then on.
    """

    intents: int = 0
    answered: int = 0
    after_s: float = 0.0

    def __str__(self) -> str:
        """In words, for the round's line."""
        start = f"{self.intents} intents, {self.answered} answered" if self.intents else "start"
        return f"{start} + {self.after_s:.2f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What builds the set: `wan run` of this environment, or `make run` in a checkout.

    Attributes:
        argv: its words.
        folder: where it is typed; anywhere when None.
        when_incomplete: its exit code when something is missing.
    """

    argv: Sequence[str] = (str(WAN), "run", SET)
    folder: Path | None = None
    when_incomplete: int = ExitCode.INCOMPLETE

    @classmethod
    def make(cls, checkout: Path) -> Command:
        """As a stranger types it."""
        return cls(argv=("make", "run", f"SET={SET}"), folder=checkout, when_incomplete=MAKE_FAILED)


@dataclass(slots=True, kw_only=True)
class Trial:
    """A fresh data folder with a small prompt set.

    Attributes:
        folder: where everything lies; it must not hold a trial yet.
        command: what is run and killed.
        speed_up: the emulator's.
    """

    folder: Path
    command: Command = field(default_factory=Command)
    speed_up: float = SPEED_UP
    layout: DataLayout = field(init=False)
    _sessions: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.layout = DataLayout((self.folder / "data").resolve(), "emulator")
        self.layout.prompts_dir.mkdir(parents=True)
        with (self.layout.prompts_dir / f"{SET}.csv").open("w", newline="") as file:
            table = csv.writer(file)
            table.writerow(["prompt", "n"])
            table.writerows((f"kite number {number}", n) for number, n in enumerate(COUNTS))

    def run(self) -> Ended:
        """Run the command to its end."""
        number = len(self._sessions)
        process = self._start()
        try:
            exit_code = process.wait(PATIENCE_S)
        finally:
            _kill_group(process)
        return Ended(
            exit_code=exit_code,
            output=self._log(number, "out").read_text(),
            errors=self._log(number, "err").read_text(),
            when_incomplete=self.command.when_incomplete,
        )

    def run_and_kill(self, moment: Moment, victim: Victim) -> bool:
        """Start the command and kill it; whether it was still at work at that moment.

        What survives of its process group is left alone, as a person's `kill -9` would.
        """
        process = self._start()
        try:
            alive = self._await(moment, process)
        except BaseException:
            _kill_group(process)
            raise
        if victim is Victim.GROUP:
            _kill_group(process)
        process.kill()
        process.wait()
        return alive

    def await_survivors(self) -> None:
        """Wait for processes of killed runs that outlived the one that was killed."""
        wait_for(
            lambda: not any(_in_session(pid, self._sessions) for pid in psutil.pids()),
            what=f"the end of everybody who works on {self.folder}",
            within_s=PATIENCE_S,
            every_s=0.1,
        )

    def audit(self, ended: Ended) -> Audit:
        """Hold the folder after its last run against the provider's book."""
        self.await_survivors()
        return audit(self.layout, SET, plan=EmulatorPlan(speed_up=self.speed_up), ended=ended)

    def progress(self) -> tuple[int, int]:
        """Purchases in the ledger, and how many of their creates are answered."""
        # An absent ledger or table only means that the run has not come that far.
        with (
            suppress(sqlite3.OperationalError),
            closing(sqlite3.connect(f"file:{self.layout.ledger}?mode=ro", uri=True)) as ledger,
        ):
            intents, answered = ledger.execute(PROGRESS).fetchone()
            return intents, answered
        return 0, 0

    def _start(self) -> subprocess.Popen[bytes]:
        environ = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("WAN_", "DAGSTER_", "MAKE", "MFLAGS"))
        }
        number = len(self._sessions)
        with self._log(number, "out").open("wb") as out, self._log(number, "err").open("wb") as err:
            process = subprocess.Popen(
                self.command.argv,
                cwd=self.command.folder or self.folder,
                env={
                    **environ,
                    "WAN_DATA_DIR": str(self.layout.data_dir),
                    "WAN_EMULATOR_SPEED_UP": str(self.speed_up),
                },
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
            )
        self._sessions.append(process.pid)
        return process

    def _log(self, number: int, stream: str) -> Path:
        return self.folder / f"run-{number}.{stream}"

    def _await(self, moment: Moment, process: subprocess.Popen[bytes]) -> bool:
        """Wait for the moment; False when the process ended before it."""

        def come_to() -> bool:
            intents, answered = self.progress()
            return intents >= moment.intents and answered >= moment.answered

        if moment.intents:
            wait_for(
                lambda: come_to() or process.poll() is not None,
                what=f"the run's {moment}",
                within_s=PATIENCE_S,
                every_s=0.001,
            )
            if not come_to():
                return False
        if not moment.after_s:
            return process.poll() is None
        try:
            process.wait(moment.after_s)
        except subprocess.TimeoutExpired:
            return True
        return False


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill what we started: it leads a session of its own, and its pid is not reaped yet."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def _in_session(pid: int, sessions: Sequence[int]) -> bool:
    try:
        return os.getsid(pid) in sessions and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except (ProcessLookupError, psutil.NoSuchProcess):
        return False
