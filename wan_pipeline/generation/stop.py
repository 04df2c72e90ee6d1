"""The one decision that ends submitting for a whole batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wan_pipeline.wan.errors import StopReason

__all__ = ["Stop"]


class Stop:
    """Set once; what is in flight is finished, nothing new is sent."""

    def __init__(self) -> None:
        self.reason: StopReason | None = None
        self.detail = ""
        self.cancelled = False

    def __bool__(self) -> bool:
        return self.cancelled or self.reason is not None

    def set(self, reason: StopReason, detail: str) -> None:
        """The first reason is kept."""
        if self.reason is None:
            self.reason, self.detail = reason, detail

    def cancel(self) -> None:
        """A person or a supervisor ends the batch."""
        self.cancelled = True
