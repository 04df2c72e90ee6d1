"""Machine-readable labels by which a file itself says that it was made by a model.

Found by their signatures in the bytes, whatever the container: they lie uncompressed in PNG, WebP
and JPEG alike. Whether a signature is valid belongs to the tools of each standard.
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Label", "labels_in"]


class Label(StrEnum):
    """Which standard a label belongs to."""

    C2PA = "c2pa"
    IPTC = "iptc"
    AIGC = "aigc"


# Each long enough never to occur in pixel data by chance.
_SIGNATURES = {
    # UUID of a C2PA manifest store (C2PA 2.1, 11.1.4.2).
    Label.C2PA: bytes.fromhex("63327061 0011 0010 8000 00aa00389b71"),
    # IPTC's digital source type, as XMP writes it.
    Label.IPTC: b"trainedAlgorithmicMedia",
    # China's label of synthetic content (GB 45438-2025).
    Label.AIGC: b"ContentProducer",
}


def labels_in(data: bytes) -> tuple[Label, ...]:
    """The labels of an image file, in the enum's order.

    Args:
        data: the file as received.
    """
    return tuple(label for label, signature in _SIGNATURES.items() if signature in data)
