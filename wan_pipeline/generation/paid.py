"""Why a paid request has not all its images, by what the ledger knows of each of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.generation.told import counted, dollars, reason_told
from wan_pipeline.ledger.states import ImageState

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["paid_told"]


def paid_told(purchase: Purchase, images: Sequence[ImageRecord]) -> str:
    """What was paid, why images are missing, until when they are tried for, and what then.

    Args:
        purchase: whose task is done.
        images: all that the ledger has of the request.
    """
    own = [each for each in images if each.attempt == purchase.attempt]
    money = "paid" if purchase.cost_usd is None else f"paid {dollars(purchase.cost_usd)} USD"
    failing = [each for each in own if each.state.may_arrive and each.problem]
    lost = [each for each in own if each.state is ImageState.LOST]
    parts = [money]
    if lost:
        parts.append(
            f"{_of(lost, own)} can no longer be fetched: {_reason(lost)};"
            " `wan run --retry lost` buys the request again, for its price"
        )
    if failing:
        until = max(each.url_expires_at for each in failing)
        parts.append(
            f"{_of(failing, own)} could not be fetched so far: {_reason(failing)}; each run and"
            f" `wan reconcile` try again until {until:%Y-%m-%d %H:%M} UTC, then it is lost"
        )
    if not lost and not failing:
        return f"{money} and done at the provider; the next run fetches its images"
    return "; ".join(parts)


def _of(some: Sequence[ImageRecord], every: Sequence[ImageRecord]) -> str:
    """Which images are meant: `its image`, or `2 of 3 images`."""
    return "its image" if len(every) == 1 else f"{len(some)} of {counted(len(every), 'image')}"


def _reason(images: Sequence[ImageRecord]) -> str:
    """The last one's; what to do about it is said once for all of them."""
    return reason_told(images[-1].problem or "no reason is known")
