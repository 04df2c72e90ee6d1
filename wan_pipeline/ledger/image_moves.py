"""Moving an image from state to state, and its purchase with it where that follows.

An image may still arrive while its purchase is `succeeded`; the purchase is `stored` when no image
of it can. The two ways back, `reopen_image` and `restore_image`, are for files that went missing.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wan_pipeline.ledger import rows
from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from datetime import datetime

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import PurchaseKey
    from wan_pipeline.ledger.transaction import Transaction

__all__ = ["move_image", "reopen_image", "restore_image"]

ZERO = Decimal(0)


def move_image(
    tx: Transaction,
    key: PurchaseKey,
    image_index: int,
    to: ImageState,
    *,
    owner_id: str,
    now: datetime,
    **values: Any,
) -> bool:
    """Change the state of an image that may still arrive; whether its purchase is stored by it.

    Raises:
        TransitionError: another owner has its purchase, or it has arrived or is lost already.
    """
    row = rows.standing(tx, key)  # first, since on PostgreSQL it locks the images' changes too
    states = rows.image_states(tx, key)
    state = states.get(image_index)
    if (
        state is None
        or not state.may_arrive
        or row is None
        or row.state != PurchaseState.SUCCEEDED
        or row.owner_id != owner_id
    ):
        raise TransitionError(
            f"image {image_index} of request {key.request_id} attempt {key.attempt} cannot become"
            f" {to.value}: found {state} under {rows.described(row)}, wanted owner {owner_id}."
            " Nothing was changed; `wan ledger show` tells who came first"
        )
    rows.set_image(tx, key, image_index, state, to, owner_id=owner_id, now=now, **values)
    states[image_index] = to
    if any(each.may_arrive for each in states.values()):
        return False
    rows.set_state(tx, key, row, PurchaseState.STORED, now=now, reserved_usd=ZERO)
    return True


def reopen_image(
    tx: Transaction,
    key: PurchaseKey,
    image_index: int,
    *,
    owner: Owner,
    now: datetime,
    problem: str,
) -> None:
    """Expect a stored image once more, since its file is gone or damaged; its purchase is taken.

    The one way back in the map of states: what is paid stays paid, only the bytes are fetched.

    Raises:
        TransitionError: the image is not stored, or another owner has its purchase by now.
    """
    row = rows.standing(tx, key)
    states = rows.image_states(tx, key)
    ours = row is not None and (
        row.state == PurchaseState.STORED
        or (row.state == PurchaseState.SUCCEEDED and row.owner_id == owner.owner_id)
    )
    if not ours or states.get(image_index) is not ImageState.STORED:
        raise TransitionError(
            f"image {image_index} of request {key.request_id} attempt {key.attempt} is not stored,"
            " or somebody else fetches it again. Nothing was changed"
        )
    if row is not None and row.state == PurchaseState.STORED:
        rows.set_state(
            tx,
            key,
            row,
            PurchaseState.SUCCEEDED,
            now=now,
            detail=f"taken up again: {problem}",
            owner_id=owner.owner_id,
        )
    rows.set_image(
        tx,
        key,
        image_index,
        ImageState.STORED,
        ImageState.EXPECTED,
        owner_id=owner.owner_id,
        now=now,
        problem=problem,
    )


def restore_image(
    tx: Transaction, key: PurchaseKey, image_index: int, *, owner: Owner, now: datetime
) -> None:
    """A lost image's file is back, such as on a disk that was not mounted: it is stored again.

    Raises:
        TransitionError: the image is not lost, or its purchase is not at its end.
    """
    row = rows.standing(tx, key)
    ended = row is not None and row.state == PurchaseState.STORED
    if not ended or rows.image_states(tx, key).get(image_index) is not ImageState.LOST:
        raise TransitionError(
            f"image {image_index} of request {key.request_id} attempt {key.attempt} is not lost."
            " Nothing was changed"
        )
    rows.set_image(
        tx,
        key,
        image_index,
        ImageState.LOST,
        ImageState.STORED,
        owner_id=owner.owner_id,
        now=now,
        problem=None,
    )
