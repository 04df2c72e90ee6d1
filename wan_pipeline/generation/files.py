"""Do the files of stored images still exist? Those that do not are fetched again.

And those that were given up and are back, such as on a disk that was not mounted, count again.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from wan_pipeline.ledger.errors import TransitionError
from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.states import ImageState

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.generation.terms import Ports
    from wan_pipeline.ledger.records import ImageRecord

__all__ = ["is_back", "purchase_of", "reopen_broken", "restore_found"]


async def reopen_broken(
    ports: Ports,
    images: Mapping[str, Sequence[ImageRecord]],
    *,
    tally: Tally,
    but: Collection[PurchaseKey] = (),
) -> list[PurchaseKey]:
    """Expect stored images once more whose files are gone or damaged.

    Args:
        ports: the ledger they are written down in and the keeper that looks.
        images: the image rows of each request; only stored ones are looked at.
        tally: told how many there are.
        but: purchases that are being fetched from already, with their files looked at.

    Returns:
        The purchases to fetch from, each once. One that another run fetches already is left out.
    """
    stored = [
        record
        for records in images.values()
        for record in records
        if record.state is ImageState.STORED and purchase_of(record) not in but
    ]
    problems = await asyncio.to_thread(lambda: [ports.keeper.problem_of(each) for each in stored])
    keys: dict[PurchaseKey, None] = {}
    for record, problem in zip(stored, problems, strict=True):
        if problem is None:
            continue
        try:
            await ports.ledger.reopen(purchase_of(record), ports.owner, record.image_index, problem)
        except TransitionError:
            continue
        tally.problems[f"fetched again: {problem}"] += 1
        keys[purchase_of(record)] = None
    return list(keys)


async def restore_found(ports: Ports, images: Mapping[str, Sequence[ImageRecord]]) -> None:
    """Lost images whose files are back, whole, are stored again: nobody has to pay for them twice.

    Args:
        ports: the ledger they are written down in and the keeper that looks.
        images: the image rows of each request; only lost ones that were stored are looked at.
    """
    lost = [
        record
        for records in images.values()
        for record in records
        if record.state is ImageState.LOST and record.path is not None
    ]
    for record in lost:
        if await is_back(ports, record):
            with suppress(TransitionError):  # somebody else restored it, or fetches a sibling
                await ports.ledger.restore(purchase_of(record), ports.owner, record.image_index)


async def is_back(ports: Ports, record: ImageRecord) -> bool:
    """Whether the file of an image that was found broken is whole by now, such as from a backup.

    One that cannot be read is not: it may be fetched, or is reported as lost.
    """
    if record.path is None:
        return False
    try:
        return await asyncio.to_thread(ports.keeper.problem_of, record, deep=True) is None
    except OSError:
        return False


def purchase_of(record: ImageRecord) -> PurchaseKey:
    """The purchase that an image belongs to."""
    return PurchaseKey(profile=record.profile, request_id=record.request_id, attempt=record.attempt)
