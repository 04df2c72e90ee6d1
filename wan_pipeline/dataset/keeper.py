"""What the batch engine needs of the dataset: is this an intact image, and keep it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.dataset.verify import DamagedImageError, inspect_image
from wan_pipeline.wan.retry import DamagedBodyError

if TYPE_CHECKING:
    from wan_pipeline.dataset.store import ImageStore

__all__ = ["ImageKeeper", "KeptImage"]


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
    """

    image_id: str
    path: str
    format: str
    bytes: int
    width: int
    height: int


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
        )
