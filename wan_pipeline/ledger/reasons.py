"""Why a request is not complete, in the words that every page, check and command uses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["LOST", "problem_of", "reason_of"]

LOST = "lost"
"""Beside the states of purchases: stored, but for an image that can no longer arrive."""

_WORDS: Mapping[str, str] = {
    PurchaseState.PLANNED: "not bought yet",
    PurchaseState.INTENT: "its create is on its way",
    PurchaseState.SUBMITTED: "at the provider; the next run fetches it",
    PurchaseState.SUCCEEDED: "paid and done at the provider; the next run fetches its images",
    LOST: "an image was paid for and can no longer be fetched",
}


def problem_of(code: str | None, message: str | None) -> str:
    """An error in one line; empty when there is none."""
    return f"{code}: {message}" if code else message or ""


def reason_of(state: str, problem: str) -> str:
    """Why a request is as it is, for a person.

    Args:
        state: of its newest purchase, or `LOST`.
        problem: what went wrong, in the provider's words or ours; empty when nothing did.
    """
    if state == LOST:
        return _WORDS[LOST]
    return problem or _WORDS.get(state, state)
