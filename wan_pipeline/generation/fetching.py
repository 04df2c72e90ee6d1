"""The images of a finished task: fetched while their URLs live, verified, and kept."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.generation.files import is_back
from wan_pipeline.ledger.states import ImageState
from wan_pipeline.wan.answers import TaskMissing
from wan_pipeline.wan.errors import (
    AccountStopError,
    DamagedImageDownloadError,
    DownloadError,
    PollError,
    StopReason,
    UrlExpiredError,
)

if TYPE_CHECKING:
    from wan_pipeline.generation.pacing import Pacer
    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Ports
    from wan_pipeline.ledger.records import ImageRecord, PurchaseKey

__all__ = ["Fetched", "ImageFetch"]

DOWNLOADS_AT_ONCE = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetched:
    """What came of the images of a finished task, by now.

    Attributes:
        complete: whether none of them is missing.
        any_stored: whether at least one is there.
        problem: why one that did not arrive did not; empty when all did, or our own disk refused
            one.
    """

    complete: bool
    any_stored: bool
    problem: str


class ImageFetch:
    """Fetches and keeps images.

    Args:
        ports: what the batch works through.
        tally: told what arrived and what did not.
        stop: set when the disk refuses.
        polls: the pace of polls, for a URL that has to be asked for once more.
    """

    def __init__(self, ports: Ports, *, tally: Tally, stop: Stop, polls: Pacer) -> None:
        self._ports = ports
        self._tally = tally
        self._stop = stop
        self._polls = polls
        self._downloads = asyncio.Semaphore(DOWNLOADS_AT_ONCE)

    async def fetch(self, key: PurchaseKey) -> Fetched:
        """Fetch the images of a finished task that can still arrive."""
        records = self._ports.ledger.images_of(key)
        arriving = [record for record in records if record.state.may_arrive]
        kept = await asyncio.gather(*(self._keep(key, record) for record in arriving))
        failures = [str(each) for each in kept if isinstance(each, DownloadError)]
        before = {record.state for record in records}
        return Fetched(
            complete=all(each is True for each in kept) and ImageState.LOST not in before,
            any_stored=True in kept or ImageState.STORED in before,
            problem=failures[0] if failures and False not in kept else "",
        )

    async def complete(self, key: PurchaseKey) -> bool:
        """Fetch them; whether none is missing then."""
        return (await self.fetch(key)).complete

    async def _keep(self, key: PurchaseKey, record: ImageRecord) -> bool | DownloadError:
        """Whether an image is kept; false when our disk refuses, the error when none came."""
        ports = self._ports
        if await is_back(ports, record):
            await ports.ledger.image(
                key, ports.owner, record.image_index, ImageState.STORED, problem=None
            )
            return True
        try:
            async with self._downloads:
                data = await self._bytes(key, record)
                file = await asyncio.to_thread(ports.keeper.keep, data)
        except DownloadError as error:
            await self._not_kept(key, record, error)
            return error
        except OSError as error:
            self._stop.set(StopReason.DISK, str(error))
            self._tally.problems["image not written to disk"] += 1
            return False
        await ports.ledger.image(
            key,
            ports.owner,
            record.image_index,
            ImageState.STORED,
            image_id=file.image_id,
            path=file.path,
            format=file.format,
            bytes=file.bytes,
            width=file.width,
            height=file.height,
            problem=None,
        )
        self._tally.images += 1
        if file.replaced:
            self._tally.repairs.append(
                f"{file.path} was damaged (its bytes did not have the SHA-256 of its name). They"
                f" came again, for request {key.request_id}, and the file is whole now. Look at the"
                " disk: what one file met, others may have; `wan release verify` reads them all"
            )
        return True

    async def _bytes(self, key: PurchaseKey, record: ImageRecord) -> bytes:
        """Fetch; a URL that is gone is asked for once more, signatures may be renewed."""
        ports = self._ports
        try:
            return await ports.fetcher.fetch(record.url, check=ports.keeper.check)
        except UrlExpiredError:
            url = await self._renewed_url(key, record)
            if url is None or url == record.url:
                raise
            return await ports.fetcher.fetch(url, check=ports.keeper.check)

    async def _renewed_url(self, key: PurchaseKey, record: ImageRecord) -> str | None:
        purchase = self._ports.ledger.purchase(key)
        if purchase is None or purchase.task_id is None:
            return None
        await self._polls.slot()
        try:
            answer = await self._ports.provider.poll(purchase.task_id)
        except (PollError, AccountStopError):
            return None
        if isinstance(answer, TaskMissing) or record.image_index >= len(answer.images):
            return None
        return answer.images[record.image_index].url

    async def _not_kept(self, key: PurchaseKey, record: ImageRecord, error: DownloadError) -> None:
        """Until its URL must have died an image may still arrive; after that it is lost.

        A host that answers "gone" before that time may be wrong, and asking again is free.
        """
        if self._ports.clock.now() >= record.url_expires_at:
            state = ImageState.LOST
        elif isinstance(error, DamagedImageDownloadError):
            state = ImageState.DAMAGED
        else:
            state = ImageState.EXPECTED
        self._tally.problems[f"image {state.value}"] += 1
        await self._ports.ledger.image(
            key, self._ports.owner, record.image_index, state, problem=str(error)
        )
