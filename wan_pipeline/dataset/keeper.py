"""What the batch engine needs of the dataset: is this an intact image, and keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.dataset.verify import DamagedImageError, inspect_image
from wan_pipeline.wan.retry import DamagedBodyError

if TYPE_CHECKING:
    from wan_pipeline.dataset.store import ImageStore
    from wan_pipeline.ledger.records import ImageRecord

__all__ = ["ImageKeeper", "KeptImage"]

CLOCK_SLACK_S = 1.0  # the row is written after the file, by another clock on some disks


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptImage:
    """A stored image and what its bytes say about themselves.

    Attributes:
        image_id: SHA-256 of the bytes.
        path: relative to the profile's data folder.
        format: png, webp or jpeg, by its content.
        bytes: length of the file.
        width: pixels across, which may differ from the size asked for.
        height: pixels down.
        replaced: whether a damaged file was there, which these bytes took the place of.
    """

    image_id: str
    path: str
    format: str
    bytes: int
    width: int
    height: int
    replaced: bool = False


@dataclass(frozen=True, slots=True)
class ImageKeeper:
    """Verifies and stores images as received."""

    store: ImageStore

    def check(self, data: bytes) -> None:
        """Raise `DamagedBodyError` when the bytes are no intact image."""
        try:
            inspect_image(data)
        except DamagedImageError as error:
            raise DamagedBodyError(str(error)) from error

    def keep(self, data: bytes) -> KeptImage:
        """Store bytes that passed `check`. Raises StoreError (an OSError) when the disk refuses."""
        facts = inspect_image(data)
        stored = self.store.put(data, facts.format)
        return KeptImage(
            image_id=stored.image_id,
            path=stored.path,
            format=facts.format,
            bytes=stored.bytes,
            width=facts.width,
            height=facts.height,
            replaced=stored.replaced,
        )

    def problem_of(self, record: ImageRecord, *, deep: bool = False) -> str | None:
        """What is wrong with the file of a stored image; None when nothing is.

        Args:
            record: the image, with the path and the SHA-256 it was stored under.
            deep: read its bytes in any case. Otherwise they are read only when the file was
                written after the image was stored: reading all of them before every run would take
                minutes for a large set. A file that was found broken is believed by its bytes only.
        """
        if record.path is None or record.image_id is None:
            return "no file is recorded"
        file = self.store.locate(record.path)
        try:
            found = file.stat()
        except FileNotFoundError:
            return "its file is missing"
        if found.st_size != record.bytes:
            return "its file has another length"
        stored_at = record.stored_at.timestamp() if record.stored_at else 0.0
        doubtful = deep or found.st_mtime > stored_at + CLOCK_SLACK_S
        if doubtful and not self.store.exists_intact(record.path, record.image_id):
            return "its file has other bytes"
        return None
