"""Why a request has not all its images, and what brings it further: told the same everywhere.

The reason is what is so: it stands in tables and manifests that are kept, so it names no deadline
and gives no advice. The next step is for now.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.ledger.reasons import LOST
from wan_pipeline.ledger.retries import FINAL_KINDS
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline.told import counted, dollars, reason_told

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["Explanation", "explain", "remedy_of", "state_told"]

_PUT_BACK = "put the file back where it was, which is free: the next run finds it"
_RETRY_LOST = "`wan run --retry lost` buys the request again, for its price"

_RETRY_FAILED = (
    "`wan run --retry failed` buys the request again, up to WAN_MAX_ATTEMPTS times in all"
)

_REASONS: Mapping[PurchaseState, str] = {
    PurchaseState.PLANNED: "not bought yet",
    PurchaseState.INTENT: "its create is on its way",
    PurchaseState.SUBMITTED: "at the provider",
}
_NEXT_STEPS: Mapping[PurchaseState, str] = {
    PurchaseState.PLANNED: "`wan run` buys it",
    PurchaseState.INTENT: "the next run finds out what became of it",
    PurchaseState.SUBMITTED: "the next run fetches it",
    PurchaseState.EXPIRED: _RETRY_LOST,
    PurchaseState.WRITTEN_OFF: _RETRY_LOST,
}
_REMEDIES: Mapping[str, str] = {
    "moderation": "change the row's prompt",
    "invalid": "change the row's values",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a request has not all its images.

    Attributes:
        reason: what is so; empty when every image is there.
        next_step: what happens next, or what a person can do; empty when there is nothing.
    """

    reason: str = ""
    next_step: str = ""

    def __str__(self) -> str:
        """Both in one line."""
        return "; ".join(part for part in (self.reason, self.next_step) if part)


def explain(
    purchase: Purchase | None, images: Sequence[ImageRecord], *, now: datetime
) -> Explanation:
    """What is known of a request.

    Args:
        purchase: its newest; None when it was never bought.
        images: all that the ledger has of the request, of any attempt.
        now: a deadline that has passed is not told as one that is to come.
    """
    if purchase is None:
        return _of_state(PurchaseState.PLANNED)
    own = [each for each in images if each.attempt == purchase.attempt]
    if purchase.state is PurchaseState.SUCCEEDED:
        return _of_paid(purchase, own, now)
    if purchase.state is PurchaseState.STORED:
        return _of_ended(purchase, own)
    state, kind = purchase.state, purchase.error_kind or ""
    told = _of_state(state)
    step = told.next_step
    if state in (PurchaseState.FAILED, PurchaseState.REFUSED):
        step = remedy_of(kind) if kind in FINAL_KINDS else _RETRY_FAILED
    reason = purchase.problem or told.reason
    if state is PurchaseState.FAILED and purchase.cost_usd:
        reason = f"{reason}; {_money(purchase)} all the same"
    return Explanation(reason, step)


def state_told(purchase: Purchase | None, images: Sequence[ImageRecord]) -> str:
    """A purchase's state, or `LOST` where it is at its end and one of its images never came."""
    if purchase is None:
        return PurchaseState.PLANNED.value
    lost = any(
        each.attempt == purchase.attempt and each.state is ImageState.LOST for each in images
    )
    return LOST if lost and purchase.state is PurchaseState.STORED else purchase.state.value


def remedy_of(kind: str) -> str:
    """What to do about a kind of error that the same request would meet again."""
    return _REMEDIES.get(kind, "change the row")


def _of_state(state: PurchaseState) -> Explanation:
    return Explanation(_REASONS.get(state, state.value), _NEXT_STEPS.get(state, ""))


def _of_paid(purchase: Purchase, own: Sequence[ImageRecord], now: datetime) -> Explanation:
    """Its task is done, and images may still arrive."""
    failing = [each for each in own if each.state.may_arrive and each.problem]
    lost = [each for each in own if each.state is ImageState.LOST]
    parts = [_money(purchase), *_of_gone([*lost, *failing]), *_of_lost(lost, own)]
    if not failing:
        money = "; ".join(parts)
        return Explanation(f"{money} and done at the provider", "the next run fetches its images")
    parts.append(f"{_of(failing, own)} could not be fetched so far: {_reason(failing)}")
    until = max(each.url_expires_at for each in failing)
    tries = (
        "the next run or `wan reconcile` tries once more"
        if until <= now
        else f"each run and `wan reconcile` try again until {until:%Y-%m-%d %H:%M} UTC"
    )
    return Explanation("; ".join(parts), f"{tries}, then it is lost")


def _of_ended(purchase: Purchase, own: Sequence[ImageRecord]) -> Explanation:
    """No image of it can still arrive."""
    lost = [each for each in own if each.state is ImageState.LOST]
    if lost:
        gone = _of_gone(lost)
        reason = "; ".join([_money(purchase), *gone, *_of_lost(lost, own)])
        return Explanation(reason, f"{_PUT_BACK}; or {_RETRY_LOST}" if gone else _RETRY_LOST)
    stored = sum(each.state is ImageState.STORED for each in own)
    if stored >= purchase.n:
        return Explanation()
    fewer = f"its task brought fewer images than it asked for: {stored} of {purchase.n}"
    return Explanation(purchase.problem or fewer)


def _of_gone(images: Sequence[ImageRecord]) -> list[str]:
    """Files that were stored; whoever has them need not pay for them."""
    paths = [each.path for each in images if each.path is not None]
    if not paths:
        return []
    more = f" and {counted(len(paths) - 1, 'other file')}" if len(paths) > 1 else ""
    are = "are" if more else "is"
    return [f"{paths[0]}{more}, stored before, {are} gone or damaged on our disk"]


def _of_lost(lost: Sequence[ImageRecord], own: Sequence[ImageRecord]) -> list[str]:
    return [f"{_of(lost, own)} can no longer be fetched: {_reason(lost)}"] if lost else []


def _money(purchase: Purchase) -> str:
    return "paid" if purchase.cost_usd is None else f"paid {dollars(purchase.cost_usd)} USD"


def _of(some: Sequence[ImageRecord], every: Sequence[ImageRecord]) -> str:
    """Which images are meant: `its image`, or `2 of 3 images`."""
    return "its image" if len(every) == 1 else f"{len(some)} of {counted(len(every), 'image')}"


def _reason(images: Sequence[ImageRecord]) -> str:
    """The last one's."""
    return reason_told(images[-1].problem)
