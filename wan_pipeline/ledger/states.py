"""States of purchases and images, and the transitions that exist.

    planned -> intent -> submitted -> succeeded -> stored

with the side exits `refused` (create rejected), `failed` (task failed), `expired` (paid, result
gone) and `unknown` (a task may exist). An unknown ends by a late answer to its own create, or by
a person: adopted to `submitted`, `released` in favour of a new attempt, or `written_off`. A task
that a person named may be replaced by them, wherever it has led (`decisions.adopt`).
"""

from __future__ import annotations

from enum import StrEnum

__all__ = ["TRANSITIONS", "ImageState", "PurchaseState"]


class PurchaseState(StrEnum):
    """Where a purchase stands."""

    PLANNED = "planned"
    INTENT = "intent"
    SUBMITTED = "submitted"
    SUCCEEDED = "succeeded"
    STORED = "stored"
    REFUSED = "refused"
    FAILED = "failed"
    UNKNOWN = "unknown"
    EXPIRED = "expired"
    RELEASED = "released"
    WRITTEN_OFF = "written_off"

    @property
    def unfinished(self) -> bool:
        """Somebody must still do something: poll, download, or find out."""
        return self in _UNFINISHED


_UNFINISHED = frozenset({PurchaseState.INTENT, PurchaseState.SUBMITTED, PurchaseState.SUCCEEDED})

TRANSITIONS: dict[PurchaseState, frozenset[PurchaseState]] = {
    PurchaseState.PLANNED: frozenset({PurchaseState.INTENT}),
    PurchaseState.INTENT: frozenset(
        {
            PurchaseState.PLANNED,
            PurchaseState.REFUSED,
            PurchaseState.UNKNOWN,
            PurchaseState.SUBMITTED,
        }
    ),
    # A late answer to its own create may still resolve an unknown, either way.
    PurchaseState.UNKNOWN: frozenset(
        {
            PurchaseState.SUBMITTED,
            PurchaseState.PLANNED,
            PurchaseState.REFUSED,
            PurchaseState.RELEASED,
            PurchaseState.WRITTEN_OFF,
        }
    ),
    PurchaseState.SUBMITTED: frozenset(
        {PurchaseState.SUCCEEDED, PurchaseState.FAILED, PurchaseState.EXPIRED}
    ),
    PurchaseState.SUCCEEDED: frozenset({PurchaseState.STORED}),
    # But for `image_moves.reopen_image`: a file that went missing is fetched again; and its images
    # may change by `image_moves.restore_image`: one that was lost with its file is back with it.
    PurchaseState.STORED: frozenset(),
    # A retry is a new attempt. Back to planned goes only what was refused for no fault of its own.
    PurchaseState.REFUSED: frozenset({PurchaseState.PLANNED}),
    PurchaseState.FAILED: frozenset(),
    PurchaseState.EXPIRED: frozenset(),
    # Decided by a person; the task turned up all the same, and what is paid is kept.
    PurchaseState.RELEASED: frozenset({PurchaseState.SUBMITTED}),
    PurchaseState.WRITTEN_OFF: frozenset({PurchaseState.SUBMITTED}),
}


class ImageState(StrEnum):
    """Where one image stands. It may still arrive while `expected` or `damaged`."""

    EXPECTED = "expected"
    STORED = "stored"
    DAMAGED = "damaged"
    LOST = "lost"

    @property
    def may_arrive(self) -> bool:
        """Whether a further download can bring it."""
        return self in (ImageState.EXPECTED, ImageState.DAMAGED)
