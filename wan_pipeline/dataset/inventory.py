"""Does the store hold what the ledger says it holds? Compares names and lengths, reads no image."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wan_pipeline.temp_files import TEMP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

__all__ = ["Inventory", "take_inventory"]

FOLDER = "images"
NO_PATH = "(a stored image without a path)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Inventory:
    """What was found.

    Attributes:
        files: distinct files that the ledger calls stored.
        missing: those of them that are not there, by path.
        wrong_length: those with another length: path to (recorded, found).
        unknown: files in the store that no row names; one of a running batch may be among them.
        unknown_bytes: their length together.
    """

    files: int
    missing: tuple[str, ...] = ()
    wrong_length: dict[str, tuple[int, int]] = field(default_factory=dict[str, tuple[int, int]])
    unknown: tuple[str, ...] = ()
    unknown_bytes: int = 0

    @property
    def agrees(self) -> bool:
        """Whether every file that was recorded is there, whole."""
        return not (self.missing or self.wrong_length)


def take_inventory(root: Path, recorded: Iterable[tuple[str | None, int | None]]) -> Inventory:
    """Compare the store below `root` with what was recorded.

    Args:
        root: the profile's data folder.
        recorded: path relative to `root`, and length, of every image that was stored before this
            call; several images may share a file.

    Raises:
        OSError: the store cannot be read.
    """
    found = dict(_files(root))
    missing: set[str] = set()
    wrong_length: dict[str, tuple[int, int]] = {}
    known: set[str] = set()
    for path, length in recorded:
        name = path or NO_PATH
        known.add(name)
        size = found.get(name)
        if size is None:
            missing.add(name)
        elif length is not None and size != length:
            wrong_length[name] = (length, size)
    unknown = sorted(set(found) - known)
    return Inventory(
        files=len(known),
        missing=tuple(sorted(missing)),
        wrong_length=dict(sorted(wrong_length.items())),
        unknown=tuple(unknown),
        unknown_bytes=sum(found[name] for name in unknown),
    )


def _files(root: Path) -> Iterator[tuple[str, int]]:
    """Every finished file of the store, as (path relative to `root`, length)."""
    above = len(os.fspath(root)) + 1
    for folder, _, names in os.walk(root / FOLDER):
        inside = folder[above:].replace(os.sep, "/")
        for name in names:
            if not name.startswith(TEMP_PREFIX):
                with suppress(FileNotFoundError):  # removed by somebody just now
                    yield f"{inside}/{name}", os.stat(f"{folder}/{name}").st_size  # noqa: PTH116  half the time
