"""Is that very process still alive? Pids alone do not tell: they are used again, and elsewhere.

Asked for rows of the ledger, for runs of the Dagster instance and for unfinished files.
"""

from __future__ import annotations

import platform
from pathlib import Path

import psutil

__all__ = ["process_alive", "process_start", "process_stopped", "this_machine"]

_STANDING_STILL = frozenset({psutil.STATUS_STOPPED, psutil.STATUS_TRACING_STOP})


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


def process_stopped(pid: int, started: float) -> bool:
    """Whether that very process stands still by a signal or a debugger, and may go on one day."""
    try:
        same = process_start(pid) == started
        return same and psutil.Process(pid).status() in _STANDING_STILL
    except (psutil.NoSuchProcess, ProcessLookupError, psutil.AccessDenied):
        return False


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
