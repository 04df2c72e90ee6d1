"""Where in a file its XMP packet is."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Slot"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """A chunk or segment that holds an XMP packet.

    Attributes:
        start: its first byte in the file.
        end: the byte after its last.
        packet: the packet, decompressed; empty when it cannot be.
    """

    start: int
    end: int
    packet: bytes
