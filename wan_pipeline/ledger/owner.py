"""Who works on a row, and whether they still live."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.processes import process_alive, process_start, process_stopped, this_machine

if TYPE_CHECKING:
    from datetime import datetime

__all__ = ["Owner"]


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

    @property
    def stopped(self) -> bool:
        """Whether its process stands still on this machine: what it was about to send may go."""
        same_machine = self.machine == this_machine()
        return same_machine and process_stopped(self.pid, self.process_started)
