"""Who works on a row, and whether they still live."""

from __future__ import annotations

import os
import platform
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Owner", "process_alive", "process_start", "this_machine"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Owner:
    """One batch of one process."""

    owner_id: str
    run_id: str
    machine: str
    pid: int
    process_started: float

    @classmethod
    def of_this_process(cls, run_id: str) -> Owner:
        """A new owner for a batch of this process."""
        return cls(
            owner_id=uuid.uuid4().hex,
            run_id=run_id,
            machine=this_machine(),
            pid=os.getpid(),
            process_started=process_start(os.getpid()),
        )

    def alive(self, *, lease_expires_at: datetime, now: datetime) -> bool:
        """Whether its rows must be left alone.

        An expired lease frees them in any case; on this machine a dead process frees them at
        once.
        """
        if lease_expires_at <= now:
            return False
        return self.machine != this_machine() or process_alive(self.pid, self.process_started)


def process_start(pid: int) -> float:
    """A mark that tells a process from a later one with the same pid.

    Clock ticks since boot on Linux, so that a change of the wall clock changes no mark; seconds
    since 1970 elsewhere.

    Raises:
        psutil.NoSuchProcess: there is none.
    """
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return psutil.Process(pid).create_time()
    return float(stat.rpartition(")")[2].split()[19])


def process_alive(pid: int, started: float) -> bool:
    """Whether the very process lives that had this pid when it started then."""
    try:
        return (
            process_start(pid) == started and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.NoSuchProcess, ProcessLookupError):
        return False
    except psutil.AccessDenied:
        return True


def this_machine() -> str:
    """Host, boot and process namespace: pids mean the same only where all three agree."""
    parts = [platform.node()]
    boot = Path("/proc/sys/kernel/random/boot_id")
    if boot.exists():
        parts.append(boot.read_text().strip())
    namespace = Path("/proc/self/ns/pid")
    if namespace.exists():
        parts.append(str(namespace.stat().st_ino))
    return "/".join(parts)
