"""Write files so that a reader sees the old one or the new one, never half of one.

Temp file in the same folder, fsync, rename, fsync of the folder: after the call returns, the file
survives a power cut. What is written, and where, belongs to the callers.
"""

from __future__ import annotations

import os
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from wan_pipeline.temp_files import temp_path

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["atomic_path", "sync_path", "write_atomic"]


def write_atomic(path: Path, data: bytes) -> None:
    """Put `data` at `path`, replacing what was there, durably and all at once.

    Args:
        path: the file; missing folders above it are made.
        data: its new content.

    Raises:
        OSError: the disk refused; nothing is left behind and an older file is untouched.
    """
    with atomic_path(path) as temp:
        temp.write_bytes(data)


@contextmanager
def atomic_path(path: Path) -> Generator[Path]:
    """Lend a temp path to a writer that wants a name, then move its file to `path`.

    When the block raises, the temp file is removed and `path` stays as it was; what a killed
    process leaves behind, the next run removes.

    Args:
        path: where the finished file goes; missing folders above it are made.

    Yields:
        A free path in the same folder. The block must create the file and close it.

    Raises:
        OSError: the disk refused, or the block made no file.
    """
    _make_folder(path.parent)
    temp = temp_path(path)
    try:
        yield temp
        sync_path(temp)
        temp.replace(path)
    except BaseException:
        # Whatever ended the writing, the first error is the one to tell.
        with suppress(OSError):
            temp.unlink(missing_ok=True)
        raise
    sync_path(path.parent)


def _make_folder(folder: Path) -> None:
    """Make `folder` and what is missing above it, each name made durable in its parent."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_path(folder.parent)


def sync_path(path: Path) -> None:
    """Flush a file's content, or a folder's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
