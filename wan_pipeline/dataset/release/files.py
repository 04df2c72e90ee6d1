"""Are files what they must be? Hashes many at once and names every one that is not."""

from __future__ import annotations

import hashlib
import os
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.dataset.release.regular import (
    UnfitFileError,
    length_of,
    reading,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["MAKE_READABLE", "FileProblem", "check_files"]

MAKE_READABLE = "Let this user read them (`ls -l` tells who may)"
READ_AHEAD = 64  # files being hashed or waiting for it


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProblem:
    """A file that is not what it must be.

    Attributes:
        path: as it is listed.
        kind: `length`, `bytes`, or a kind of `UnfitFileError`.
        expected: length or SHA-256.
        found: the same of the file, or what it is instead, in words.
    """

    path: str
    kind: str
    expected: str
    found: str

    @property
    def says(self) -> str:
        """What is wrong, in words."""
        match self.kind:
            case "length":
                return f"it has {self.found} bytes instead of {self.expected}"
            case "bytes":
                return f"it was changed: its SHA-256 is {self.found} instead of {self.expected}"
            case _:
                return self.found

    def __str__(self) -> str:
        """The same with the path before it."""
        return f"{self.path}: {self.says}"


def check_files(root: Path, expected: Iterable[tuple[str, int, str]]) -> Iterator[FileProblem]:
    """Hash many files, several at once, in the order in which they are given.

    Args:
        root: folder that the paths are relative to.
        expected: path, length and SHA-256.
    """
    home = root / "images"
    waiting: deque[Future[FileProblem | None]] = deque()
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        for path, length, sha256 in expected:
            within = home if path.startswith("images/") else (root / path).parent
            waiting.append(pool.submit(_check_file, root, within, path, length, sha256))
            if len(waiting) >= READ_AHEAD and (problem := waiting.popleft().result()):
                yield problem
        for each in waiting:
            if problem := each.result():
                yield problem


def _check_file(root: Path, home: Path, path: str, length: int, sha256: str) -> FileProblem | None:
    target = root / path
    try:
        size = length_of(target, home=home)
        if size != length:
            return FileProblem(path=path, kind="length", expected=str(length), found=str(size))
        with reading(target), target.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except UnfitFileError as error:
        return FileProblem(path=path, kind=error.kind, expected=sha256, found=error.says)
    if found != sha256:
        return FileProblem(path=path, kind="bytes", expected=sha256, found=found)
    return None
