"""Which images a request has to show: those of the newest attempt that brought any.

A request is bought again when it failed or lost an image. Until the new attempt has brought one,
and should it bring none, what an older attempt brought is still there, paid for and good.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.states import ImageState

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["Shown", "shown_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a request has to show.

    Attributes:
        purchase: the attempt that brought it.
        images: its stored images, at least one, by index.
    """

    purchase: Purchase
    images: Sequence[ImageRecord]


def shown_of(ledger: LedgerReader, request_ids: Iterable[str]) -> dict[str, Shown]:
    """What each request has to show; requests without a stored image are absent.

    Raises:
        LedgerUnavailableError: the database cannot be read.
    """
    wanted = list(request_ids)
    newest = ledger.purchases(wanted)
    found: dict[str, Shown] = {}
    for request_id, records in ledger.images(wanted).items():
        stored = [record for record in records if record.state is ImageState.STORED]
        if not stored:
            continue
        attempt = max(record.attempt for record in stored)
        key = PurchaseKey(profile=ledger.profile, request_id=request_id, attempt=attempt)
        purchase = newest.get(request_id)
        if purchase is None or purchase.key != key:
            purchase = ledger.purchase(key)
        assert purchase is not None, "an image row has its purchase's"  # noqa: S101
        images = [record for record in stored if record.attempt == attempt]
        found[request_id] = Shown(purchase=purchase, images=images)
    return found
