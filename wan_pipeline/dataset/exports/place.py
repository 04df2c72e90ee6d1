"""Where an export goes: a folder beside the final one, which takes its place at the end.

An older export of ours is replaced. What a person has put into its folder (a `.git`, a LICENSE) is
theirs, and so is a folder that is no export: then nothing is written.
"""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from filelock import FileLock, Timeout

from wan_pipeline.dataset.exports.manifest import MANIFEST_FILE, files_of
from wan_pipeline.dataset.exports.terms import ExportError
from wan_pipeline.temp_files import sweep_temp_folders, temp_folder, temp_path

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from pathlib import Path

__all__ = ["new_folder"]

LOCK_FILE = ".export.lock"
NAMED = 3  # of what is not ours, in an error


@contextmanager
def new_folder(target: Path) -> Generator[Path]:
    """Lend an empty folder that takes the place of `target` when the block has ended well.

    Raises:
        ExportError: the folder above cannot be made or written, another process exports into it,
            or `target` holds anything that is not of an older export. Nothing was changed.
    """
    parent = target.parent
    lock = FileLock(parent / LOCK_FILE, timeout=0)
    with ExitStack() as stack:
        with _writing_into(parent):
            parent.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock)
        _check(target)
        with _writing_into(parent):
            sweep_temp_folders(parent)
            folder = stack.enter_context(temp_folder(parent))
        yield folder
        os.sync()  # one for all files, where one each would take as long as writing them
        _check(target)  # once more: a long export gives time to put something there
        _replace(folder, target)


@contextmanager
def _writing_into(parent: Path) -> Generator[None]:
    """Say what keeps a folder from being one for exports."""
    try:
        yield
    except Timeout as error:
        raise ExportError(
            f"another process is exporting into {parent} (it holds {error.lock_file}): wait for its"
            " end, or export elsewhere with --out. Nothing was changed"
        ) from error
    except OSError as error:
        raise ExportError(
            f"{parent} cannot be a folder for exports ({_reason(error)}): let this user write"
            " there, or name another folder with --out. Nothing was exported"
        ) from error


def _reason(error: OSError) -> str:
    """The system's words, with the path where it is another one."""
    words = error.strerror or str(error)
    return words if error.filename is None else f"{error.filename}: {words}"


def _check(target: Path) -> None:
    """Whether all that would be replaced is of an older export."""
    if not os.path.lexists(target):
        return
    known = files_of(target)
    if known is None:
        raise ExportError(
            f"{target} is there and is no export of ours (no {MANIFEST_FILE} in it), so it is"
            " left alone: move it away, or name another folder with --out"
        )
    above = {name[:at] for name in known for at, char in enumerate(name) if char == "/"}
    if foreign := list(_foreign(target, {*known, MANIFEST_FILE}, above)):
        more = f" and {len(foreign) - NAMED} more" if len(foreign) > NAMED else ""
        raise ExportError(
            f"{target} holds what is not of the export that would be replaced:"
            f" {', '.join(foreign[:NAMED])}{more}. Move it away, or name another folder with"
            " --out. Nothing was changed"
        )


def _foreign(target: Path, known: set[str], above: set[str], below: str = "") -> Iterator[str]:
    """What the export does not list; a folder of such by its own name."""
    with os.scandir(target / below) as found:
        entries = sorted(found, key=lambda entry: entry.name)
    for entry in entries:
        name = f"{below}{entry.name}"
        if entry.is_dir(follow_symlinks=False):
            if name in above:
                yield from _foreign(target, known, above, f"{name}/")
            else:
                yield f"{name}/"
        elif name not in known:
            yield name


def _replace(folder: Path, target: Path) -> None:
    """Move `folder` to `target`; an older export goes once the new one can take its place."""
    if not target.exists():
        folder.rename(target)
        return
    old = temp_path(target)
    target.rename(old)
    folder.rename(target)
    shutil.rmtree(old)
