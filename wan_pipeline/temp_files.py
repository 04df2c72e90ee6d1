"""Names of unfinished files, which tell who writes them, and the end of those nobody writes.

A killed process cannot tidy up after itself. The next run does, and must not take the file of a
writer that is still at work. How a file is finished belongs to its writers.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.processes import process_alive, process_start, this_machine

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["TEMP_PREFIX", "sweep_temp_files", "sweep_temp_folders", "temp_folder", "temp_path"]

TEMP_PREFIX = ".tmp-"
"""How the name of every unfinished file begins; readers that list a folder leave these out."""

FOREIGN_STALE_AFTER_S = 24 * 3600.0  # of writers that cannot be asked: other machines, other code
_NAME = re.compile(
    rf"{re.escape(TEMP_PREFIX)}(?P<machine>[0-9a-f]{{8}})-(?P<pid>\d+)-(?P<started>\d+\.\d+)-"
)


def temp_path(path: Path) -> Path:
    """A free name beside `path`, with its suffix, since writers guess formats by that."""
    pid = os.getpid()
    writer = f"{_machine()}-{pid}-{process_start(pid)}"
    return path.with_name(f"{TEMP_PREFIX}{writer}-{secrets.token_hex(8)}{path.suffix}")


def sweep_temp_files(root: Path) -> int:
    """Remove unfinished files in and below `root` whose writer is gone; how many there were.

    On this machine a dead writer is known at once and a live one's file is never touched. The
    files of others go a day after their last write.

    Args:
        root: where to look; it need not exist.
    """
    removed = 0
    for folder, _, names in os.walk(root):
        for name in names:
            if name.startswith(TEMP_PREFIX):
                # Its writer may finish, or another sweep come first, at any moment.
                with suppress(FileNotFoundError):
                    temp = Path(folder, name)
                    if _is_abandoned(temp):
                        temp.unlink()
                        removed += 1
    return removed


@contextmanager
def temp_folder(home: Path) -> Generator[Path]:
    """A new folder in `home` for what belongs together; the block renames it, or it is removed."""
    folder = temp_path(home / "folder")
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)  # gone already when it was renamed


def sweep_temp_folders(home: Path) -> int:
    """Remove unfinished folders directly in `home` whose writer is gone; how many there were."""
    removed = 0
    for folder in home.glob(f"{TEMP_PREFIX}*/"):
        # Its writer may finish, or another sweep come first, at any moment.
        with suppress(FileNotFoundError):
            if _is_abandoned(folder):
                shutil.rmtree(folder, ignore_errors=True)
                removed += 1
    return removed


def _is_abandoned(temp: Path) -> bool:
    known = _NAME.match(temp.name)
    if known is not None and known["machine"] == _machine():
        return not process_alive(int(known["pid"]), float(known["started"]))
    return time.time() - temp.stat().st_mtime > FOREIGN_STALE_AFTER_S


def _machine() -> str:
    return hashlib.sha256(this_machine().encode()).hexdigest()[:8]
