"""Whether a prompt file has changed, told from names, sizes and times alone: ticks ask for it.

What a matrix file says depends on wildcard files too. Which ones stands in it, and ticks do not
read prompt files; so every file in the folder of wildcards counts for every matrix file. A change
of one that it does not use plans a set once more for nothing, which is free; a change that nobody
notices would not be.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from wan_pipeline.prompts.canonical import canonical_json
from wan_pipeline.prompts.sets import WILDCARDS, FileFormat, file_type

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["change_key", "changed_at_ns"]


def changed_at_ns(file: Path) -> int:
    """When the file, or anything that it may draw on, was written last; ns since the epoch.

    Raises:
        OSError: the file is gone.
    """
    latest = file.stat().st_mtime_ns
    for _, time_ns, _ in _drawn_on(file):
        latest = max(latest, time_ns)
    return latest


def change_key(file: Path) -> str:
    """A text that is another one after every change of the file or of what it may draw on.

    Raises:
        OSError: the file is gone.
    """
    found = file.stat()
    key = f"{found.st_mtime_ns}:{found.st_size}"
    others = sorted(_drawn_on(file))
    if not others:
        return key
    return f"{key}:{hashlib.sha256(canonical_json(others).encode()).hexdigest()[:16]}"


def _drawn_on(file: Path) -> Iterator[tuple[str, int, int]]:
    """Name, time and size of everything in the folder of wildcards; for a matrix file only.

    Folders count as well: their time tells of files that are gone or were put in place of others.
    """
    folder = file.parent / WILDCARDS
    if file_type(file).format is not FileFormat.YAML or not folder.is_dir():
        return
    for where, _, names in os.walk(folder):
        for path in (Path(where), *(Path(where, name) for name in names)):
            try:
                found = path.stat()
            except OSError:  # gone since it was listed, or a link to nowhere
                continue
            size = 0 if path == Path(where) else found.st_size
            yield os.fsencode(path.relative_to(folder)).hex(), found.st_mtime_ns, size
