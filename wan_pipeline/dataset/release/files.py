"""Are files what they must be? Hashes many at once and names every one that is not."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["FileProblem", "check_files"]

READ_AHEAD = 64  # files being hashed or waiting for it


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """A file that is not what it must be.

    Attributes:
        path: as it is listed.
        kind: `missing`, `length`, `bytes` or `unreadable`.
        expected: length or SHA-256.
        found: the same of the file, or the system's words.
    """

    path: str
    kind: str
    expected: str
    found: str

    @property
    def says(self) -> str:
        """What is wrong, in words."""
        match self.kind:
            case "missing":
                return "it is not there"
            case "length":
                return f"it has {self.found} bytes instead of {self.expected}"
            case "bytes":
                return f"it was changed: its SHA-256 is {self.found} instead of {self.expected}"
            case _:
                return f"it cannot be read: {self.found}"

    def __str__(self) -> str:
        """The same with the path before it."""
        return f"{self.path}: {self.says}"


def check_files(root: Path, expected: Iterable[tuple[str, int, str]]) -> Iterator[FileProblem]:
    """Hash many files, several at once, in the order in which they are given.

    Args:
        root: folder that the paths are relative to.
        expected: path, length and SHA-256.
    """
    waiting: deque[Future[FileProblem | None]] = deque()
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for path, length, sha256 in expected:
            waiting.append(pool.submit(_check_file, root, path, length, sha256))
            if len(waiting) >= READ_AHEAD and (problem := waiting.popleft().result()):
                yield problem
        for each in waiting:
            if problem := each.result():
                yield problem


def _check_file(root: Path, path: str, length: int, sha256: str) -> FileProblem | None:
    target = root / path
    try:
        if not target.is_file():  # a pipe would never end
            return FileProblem(path=path, kind="missing", expected=sha256, found="")
        size = target.stat().st_size
        if size != length:
            return FileProblem(path=path, kind="length", expected=str(length), found=str(size))
        with target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        words = error.strerror or str(error)
        return FileProblem(path=path, kind="unreadable", expected=sha256, found=words)
    if found != sha256:
        return FileProblem(path=path, kind="bytes", expected=sha256, found=found)
    return None
