"""A copy of a ledger file that may not be written, for who only looks at it.

SQLite writes next to a ledger even to read it (its log's index, the recovery of the log, a newer
schema), which a read-only folder, disk or mount refuses.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import tenacity

from wan_pipeline.ledger.errors import LedgerUnavailableError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["may_be_written", "still_copy"]


class _MovedError(Exception):
    """Somebody wrote while it was copied."""


# A run somewhere else may write: between two of its commits there is a moment for a small file.
_PATIENT = tenacity.Retrying(
    retry=tenacity.retry_if_exception_type(_MovedError),
    wait=tenacity.wait_fixed(0.2),
    stop=tenacity.stop_after_attempt(10),
    reraise=True,
)


def may_be_written(ledger: Path) -> bool:
    """Whether SQLite can work on the file where it is; a file that is missing may be made."""
    files = (ledger.parent, ledger) if ledger.exists() else (ledger.parent,)
    return all(os.access(file, os.W_OK) for file in files)


@contextmanager
def still_copy(ledger: Path) -> Generator[Path]:
    """The ledger of one moment, with its log, in a temporary folder; gone after the block.

    Raises:
        LedgerUnavailableError: it cannot be read or copied, or is written to all the time.
    """
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(TemporaryDirectory(prefix="wan-ledger-"))
            copy = Path(folder) / ledger.name
            _PATIENT(_copy, ledger, copy)
        except _MovedError as error:
            raise LedgerUnavailableError(
                f"the ledger {ledger} may not be written here, and somebody writes to it all the"
                " time: no copy of one moment can be made. Look from where it is written, or when"
                " that run has ended"
            ) from error
        except OSError as error:
            raise LedgerUnavailableError(
                f"the ledger {ledger} may not be written here, and making a copy to look at failed:"
                f" {error.strerror}. Give read access, and name a folder with room in TMPDIR, then"
                " run again"
            ) from error
        yield copy


def _copy(ledger: Path, copy: Path) -> None:
    """Copy file and log; raises `_MovedError` when they were not still meanwhile."""
    files = [(ledger, copy), (_log_of(ledger), _log_of(copy))]
    before = [_standing(file) for file, _ in files]
    for (file, to), standing in zip(files, before, strict=True):
        to.unlink(missing_ok=True)
        if standing is not None:
            shutil.copyfile(file, to)
    if [_standing(file) for file, _ in files] != before:
        raise _MovedError


def _log_of(file: Path) -> Path:
    return file.with_name(f"{file.name}-wal")


def _standing(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
