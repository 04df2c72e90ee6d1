"""What a data folder remembers of its ledger outside of it: which one, and how far it was.

Three lines. The ledger's name without secrets, for a person. Its id, which a restored copy has
too, wherever it is. The number of an event that it certainly has; older versions wrote none. An
empty file says that a person wants nothing remembered.

The number is written after the event's commit and without a flush of its own: a killed process
cannot take it back, and a power loss can only leave it lower.
"""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import tenacity

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["Memory"]

# A holder needs a few microseconds; one that is stopped holds nobody up, and flock knows no bound.
_PATIENT = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(BlockingIOError),
    wait=tenacity.wait_fixed(0.001),
    stop=tenacity.stop_after_attempt(100),
    reraise=True,
)
LARGEST = 4096  # bytes
_NUMBER = re.compile(r"newest event (?P<number>\d{20})")


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Which ledger a folder goes with.

    Attributes:
        name: where it was, by a name without secrets.
        ledger_id: which one it is; None when only an older version wrote it down.
        newest_event: number of an event that it has; 0 when none is remembered.
    """

    name: str = ""
    ledger_id: str | None = None
    newest_event: int = 0

    @classmethod
    def of(cls, file: Path) -> Memory | None:
        """What the file says; None without a file.

        Raises:
            OSError: it cannot be read.
            ValueError: it is no memory of a ledger.
        """
        try:
            descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            with suppress(OSError), _locked(descriptor, fcntl.LOCK_SH):
                return cls._read(descriptor)
            return cls._read(descriptor)  # where files cannot be locked, or a holder stands still
        finally:
            os.close(descriptor)

    @classmethod
    def _read(cls, descriptor: int) -> Memory:
        lines = os.pread(descriptor, LARGEST, 0).decode().splitlines()
        if not lines:
            return cls()
        name, ledger_id, number, *_ = *lines, "", ""
        found = _NUMBER.fullmatch(number)
        if number and found is None:
            raise ValueError(f"its third line is no number of an event: {number!r}")
        return cls(
            name=name,
            ledger_id=ledger_id or None,
            newest_event=int(found["number"]) if found else 0,
        )

    def keep(self, file: Path) -> None:
        """Write it down, never a lower number over a higher one, whoever else writes.

        What is remembered of another ledger stays.

        Raises:
            OSError: the disk refused, or another process holds the file.
            ValueError: what is there is no memory of a ledger.
        """
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            with _locked(descriptor, fcntl.LOCK_EX):
                old = self._read(descriptor)
                if old.ledger_id not in (None, self.ledger_id):
                    return
                newest = max(old.newest_event, self.newest_event)
                new = dataclasses.replace(self, newest_event=newest)
                if new != old:
                    # At once, so that no kill leaves half of it; only the name changes its length.
                    text = bytes(new)
                    os.pwrite(descriptor, text, 0)
                    os.ftruncate(descriptor, len(text))
                if old.ledger_id is None:
                    os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def __bytes__(self) -> bytes:
        """The file's text."""
        lines = (self.name, self.ledger_id or "", f"newest event {self.newest_event:020}", "")
        return "\n".join(lines).encode()


@contextmanager
def _locked(descriptor: int, kind: int) -> Generator[None]:
    """Hold the file, among all processes that do.

    Raises:
        BlockingIOError: another one does not let go of it.
    """
    _PATIENT(fcntl.flock, descriptor, kind | fcntl.LOCK_NB)
    try:
        yield
    finally:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
