"""Which ended purchases may be bought again, on a person's word.

Failed is not final; but a prompt that moderation rejected or a parameter that is wrong fails
again, so their requests are bought again only when the row changes, which is another request.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wan_pipeline.ledger.states import PurchaseState

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.records import Purchase

__all__ = ["Retry", "RetryRule"]

# Kinds of errors that the same request meets again; the kinds are `wan.answers.ErrorKind`'s.
FINAL_KINDS = frozenset({"moderation", "invalid"})
DEFAULT_MAX_ATTEMPTS = 3


class Retry(StrEnum):
    """What a person wants bought again."""

    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryRule:
    """What one batch may buy again.

    Attributes:
        what: `failed`: refused by the provider or failed there, for a reason that may pass;
            `lost`: paid, and its result can no longer arrive. Empty for nothing.
        max_attempts: no request is bought more often, whoever asks. An attempt that a person
            released made no task and does not count.
        before: attempts begun later are the answer to the person's word and are not bought again
            by it: several sets of one command may ask for one request. None for no such time.
    """

    what: frozenset[Retry] = frozenset()
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    before: datetime | None = None

    def allows(self, purchase: Purchase, *, lost: bool, released: int) -> bool:
        """Whether a new attempt may follow this one.

        Args:
            purchase: the newest attempt at a request, or its reproduction in a series.
            lost: whether a paid image of it can no longer arrive.
            released: how many attempts at the request a person released.
        """
        if purchase.series is not None or purchase.attempt - released >= self.max_attempts:
            return False
        if self.before is not None and purchase.created_at >= self.before:
            return False
        match purchase.state:
            case PurchaseState.FAILED | PurchaseState.REFUSED:
                return Retry.FAILED in self.what and purchase.error_kind not in FINAL_KINDS
            case PurchaseState.EXPIRED | PurchaseState.WRITTEN_OFF:
                return Retry.LOST in self.what
            case PurchaseState.STORED:
                return Retry.LOST in self.what and lost
            case _:
                return False
