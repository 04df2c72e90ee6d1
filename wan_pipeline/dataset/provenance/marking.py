"""Mark image bytes as made by a model: IPTC digital source type, model, prompt hash, release.

What the file carried before stays. An XMP packet is extended in place, because a file may hold
only one; every other chunk, a provider's own AIGC label included, is kept byte for byte. A file
that somebody has signed (C2PA) is not touched at all: one added byte would break the signature,
which says more than our mark does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wan_pipeline.dataset.provenance import in_jpeg, in_png, in_webp
from wan_pipeline.dataset.provenance.packet import Mark, merged_packet, new_packet
from wan_pipeline.dataset.verify import inspect_image

if TYPE_CHECKING:
    from wan_pipeline.dataset.provenance.slot import Slot
    from wan_pipeline.dataset.verify import ImageFormat

__all__ = ["Mark", "mark"]


class _Container(Protocol):
    """A file format that can carry an XMP packet."""

    @property
    def MAX_PACKET(self) -> int:  # noqa: N802  a module's constant
        """Bytes of the largest packet it can carry."""
        ...

    def find(self, data: bytes) -> Slot | None:
        """Where the file's packet is, if it has one."""
        ...

    def embed(self, data: bytes, packet: bytes, slot: Slot | None) -> bytes:
        """The file with `packet` instead of the one in `slot`, or added."""
        ...

    def has_manifest(self, data: bytes) -> bool:
        """Whether the file carries a C2PA manifest."""
        ...


_CONTAINERS: dict[ImageFormat, _Container] = {"png": in_png, "webp": in_webp, "jpeg": in_jpeg}


def mark(data: bytes, mark: Mark) -> bytes | None:
    """The file with the mark in its XMP packet; equal input gives equal bytes.

    A packet that cannot be read or extended stays where it is, as foreign data, and a packet of
    our own goes before it, where readers look first.

    Args:
        data: one whole PNG, WebP or JPEG file.
        mark: what to say.

    Returns:
        The marked file; None when `data` carries a signature (a C2PA manifest), so that it must
        stay as it is.

    Raises:
        DamagedImageError: `data` is not one whole image.
    """
    container = _CONTAINERS[inspect_image(data).format]
    if container.has_manifest(data):
        return None
    slot = container.find(data)
    merged = None if slot is None else merged_packet(slot.packet, mark)
    if merged is None or len(merged) > container.MAX_PACKET:
        return container.embed(data, new_packet(mark), None)
    return container.embed(data, merged, slot)
