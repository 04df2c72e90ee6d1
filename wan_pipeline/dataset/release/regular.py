"""Is a path of a release a regular file that lies where it belongs? Says what it is instead.

A release must not depend on what lies elsewhere: whoever copies or backs up the data folder would
have it no more, and whoever changes the other place would change the release. A folder may be a
link (`images/` on another disk); a file below it must not lead out of it.
"""

from __future__ import annotations

import errno
import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

__all__ = ["MAY_NOT_READ", "NO_ACCESS", "UnfitFileError", "length_of", "reading"]

NO_ACCESS = "no_access"
MAY_NOT_READ = "this user may not read it"
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFBLK: "a device",
    stat.S_IFCHR: "a device",
}


class UnfitFileError(Exception):
    """A path is no file that can be read as a release's.

    Attributes:
        kind: `missing`, `not_a_file`, `outside`, `no_access` or `unreadable`.
        says: what is wrong, in words that follow the path.
    """

    def __init__(self, kind: str, says: str) -> None:
        super().__init__(says)
        self.kind, self.says = kind, says


def length_of(path: Path, *, home: Path) -> int:
    """The length in bytes of a regular file that lies in a folder.

    Args:
        path: the file, in `home` or one folder below it.
        home: the folder; it and those above it may be links.

    Raises:
        UnfitFileError: it is not there, something else, elsewhere, or may not be looked at.
    """
    with reading(path):
        found = path.lstat()
        linked = stat.S_ISLNK(found.st_mode)
        if linked:
            found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            what = _KINDS.get(stat.S_IFMT(found.st_mode), "no regular file")
            raise UnfitFileError("not_a_file", f"it is {what}, where a file must be")
        if (linked or path.parent.is_symlink()) and not path.resolve().is_relative_to(
            home.resolve()
        ):
            raise UnfitFileError(
                "outside",
                f"it is reached by a link that leads out of {home}, to {path.resolve()}: put the"
                " file itself there",
            )
        return found.st_size


@contextmanager
def reading(path: Path) -> Generator[None]:
    """Say what the system's refusal to read a file means.

    Raises:
        UnfitFileError: in the place of an OSError of the block.
    """
    try:
        yield
    except PermissionError as error:
        raise UnfitFileError(NO_ACCESS, MAY_NOT_READ) from error
    except (FileNotFoundError, NotADirectoryError) as error:
        says = "it is not there"
        if path.is_symlink():
            says = f"it is a link to {os.readlink(path)}, where nothing is"  # noqa: PTH115  as is
        raise UnfitFileError("missing", says) from error
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise UnfitFileError("not_a_file", "it is a link that leads back to itself") from error
        says = f"it cannot be read: {error.strerror or error}"
        raise UnfitFileError("unreadable", says) from error
