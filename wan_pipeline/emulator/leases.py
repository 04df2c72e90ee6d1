"""Whom an emulator lives for: processes that hold a lease on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["Leases"]


class Leases:
    """Processes known by pid and start time, so that a reused pid is nobody's lease."""

    def __init__(self, pids: Iterable[int] = ()) -> None:
        self._holders: dict[int, psutil.Process] = {}
        for pid in pids:
            self.add(pid)

    @property
    def pids(self) -> list[int]:
        """Pids of the holders that were alive at the last look."""
        return sorted(self._holders)

    def add(self, pid: int) -> None:
        """Grant a lease to a process; one that is already gone gets none."""
        try:
            self._holders[pid] = psutil.Process(pid)
        except psutil.NoSuchProcess:
            self._holders.pop(pid, None)

    def any_alive(self) -> bool:
        """Whether a holder is still alive; forgets those that are not."""
        self._holders = {pid: held for pid, held in self._holders.items() if _alive(held)}
        return bool(self._holders)


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
