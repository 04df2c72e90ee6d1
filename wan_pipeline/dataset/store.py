"""Keep image bytes as received, under the hash of those bytes.

A narrow store over a local folder: put if absent, open, check. Names come from the bytes and a
closed set of formats, never from a URL or a prompt. Which image belongs to which request is the
ledger's and the metadata table's knowledge.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO, Literal

from wan_pipeline.dataset.atomic import write_atomic

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from wan_pipeline.dataset.verify import ImageFormat

__all__ = ["ImageStore", "StoreError", "StoredImage"]

_SUFFIXES: dict[str, str] = {"png": "png", "webp": "webp", "jpeg": "jpg"}
_PATH = re.compile(r"images/([0-9a-f]{2})/(\1[0-9a-f]{62})\.(?:png|webp|jpg)")
_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_ACCESS = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class StoreError(OSError):
    """The store cannot keep or give an image; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImage:
    """One image in the store.

    Attributes:
        image_id: SHA-256 of the bytes, 64 lower-case hex digits.
        path: where it is, relative to the store's root, with forward slashes.
        bytes: length of the file.
        replaced: whether a file with other bytes was there, which these took the place of.
    """

    image_id: str
    path: str
    bytes: int
    replaced: bool = False


class ImageStore:
    """Content-addressed images below one root: ``images/ab/<sha256>.png``.

    Safe to use from several threads and processes at once: two writers of one image write the same
    bytes, and a rename decides who was last.
    """

    def __init__(self, root: Path) -> None:
        """Use `root` (a profile's data folder); nothing is created until the first `put`."""
        self._root = root

    def put(self, data: bytes, fmt: ImageFormat) -> StoredImage:
        """Store `data` unless it is already there, whole.

        A file of that name with other bytes is damaged, since the name is the hash. It is replaced
        by what it was, and the answer says so: whoever called must tell it.

        Args:
            data: the image as received; verified by the caller.
            fmt: its format, which decides the suffix.

        Returns:
            Its id and place. When the call returns, the file survives a power cut.

        Raises:
            StoreError: unknown format, or the disk refused.
        """
        suffix = _SUFFIXES.get(fmt)
        if suffix is None:
            raise StoreError(f"no image format {fmt!r}: store one of {', '.join(_SUFFIXES)}")
        image_id = hashlib.sha256(data).hexdigest()
        path = f"images/{image_id[:2]}/{image_id}.{suffix}"
        target = self._root / path
        with _disk_errors(target):
            found = _look(target, image_id, expected_bytes=len(data))
            if found != "intact":
                write_atomic(target, data)
        return StoredImage(
            image_id=image_id, path=path, bytes=len(data), replaced=found == "damaged"
        )

    def locate(self, path: str) -> Path:
        """The file that `path` names, whether or not it exists.

        Args:
            path: as `StoredImage.path` gives it.

        Raises:
            StoreError: `path` has another form; nothing outside the store is ever reached.
        """
        if _PATH.fullmatch(path) is None:
            raise StoreError(
                f"{path!r} is no image path: expected images/<2 hex>/<64 hex>.<png|webp|jpg>,"
                " rebuild the metadata table from the ledger"
            )
        return self._root / path

    def open(self, path: str) -> BinaryIO:
        """Open a stored image for reading; the caller closes it.

        Args:
            path: as `StoredImage.path` gives it.

        Raises:
            StoreError: no such image, or the disk refused.
        """
        target = self.locate(path)
        with _disk_errors(target):
            return target.open("rb")

    def exists_intact(self, path: str, image_id: str) -> bool:
        """Whether the file is there and its bytes still have the hash `image_id`.

        Reads the whole file (about 2 ms for 1.6 MB).

        Args:
            path: as `StoredImage.path` gives it.
            image_id: SHA-256 the bytes must have.

        Raises:
            StoreError: `path` has another form, or the disk refused to be read.
        """
        target = self.locate(path)
        if PurePosixPath(path).stem != image_id:
            return False
        with _disk_errors(target):
            return _look(target, image_id) == "intact"


def _look(
    target: Path, image_id: str, *, expected_bytes: int | None = None
) -> Literal["missing", "damaged", "intact"]:
    """What is at `target`, in one look: between two, another writer may have put the image there.

    The length, when known, is compared before the hash.
    """
    try:
        with target.open("rb") as file:
            if expected_bytes is not None and os.fstat(file.fileno()).st_size != expected_bytes:
                return "damaged"
            same = hashlib.file_digest(file, "sha256").hexdigest() == image_id
    except FileNotFoundError:
        return "missing"
    return "intact" if same else "damaged"


@contextmanager
def _disk_errors(target: Path) -> Generator[None]:
    """Turn the operating system's refusals into a `StoreError` with a remedy."""
    try:
        yield
    except OSError as error:
        raise StoreError(f"{target}: {error.strerror or error}; {_remedy(error)}") from error


def _remedy(error: OSError) -> str:
    """What a person does about `error`."""
    if isinstance(error, FileNotFoundError):
        return "restore the file from a backup, or release the request to buy it again"
    if error.errno in _FULL_DISK:
        return "free some space and run again: a paid image is fetched while its URL is alive"
    if error.errno in _NO_ACCESS:
        return "make the data folder writable for this user and run again"
    return "check the disk and run again: a paid image is fetched while its URL is alive"
