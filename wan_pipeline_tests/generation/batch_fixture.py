"""A workbench for batches: real ledger, real client, real store, and a clock that hurries.

Tests of other packages may use it too; it knows nothing of Dagster or of the emulator.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wan_pipeline.dataset.keeper import ImageKeeper
from wan_pipeline.dataset.store import ImageStore
from wan_pipeline.generation.batch import recover, run_batch
from wan_pipeline.generation.form_memory import FormMemory, Verdict
from wan_pipeline.generation.rescue import RescueFile
from wan_pipeline.generation.terms import Clock, Ports, Terms
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.prompts.request import GenerationRequest
from wan_pipeline.wan.client import Timeouts, WanClient
from wan_pipeline.wan.dialects import DIALECTS
from wan_pipeline.wan.download import Downloader
from wan_pipeline.wan.profiles import Limits, RequestForm
from wan_pipeline.wan.retry import RetryPolicy

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from wan_pipeline.generation.progress import BatchReport, Progress
    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["KEY", "PRICE", "Books", "Workbench", "hurried", "make_request", "make_requests"]

KEY = "sk-recognisable-0123456789"
PRICE = Decimal("0.03")
PROFILE = "emulator"
HURRY = 20.0
STARTED, STARTED_S = datetime.now(UTC), time.monotonic()


def make_request(prompt: str = "a red kite over dunes", **values: Any) -> GenerationRequest:
    """A request with every field given."""
    fields: dict[str, Any] = {
        "model": "wan25_t2i_preview_intl",
        "prompt": prompt,
        "negative_prompt": "",
        "size": "1280*1280",
        "n": 1,
        "seed": 7,
        "prompt_extend": False,
        "watermark": False,
    }
    return GenerationRequest(**{**fields, **values})


def make_requests(count: int, **values: Any) -> list[GenerationRequest]:
    """Different requests."""
    return [make_request(f"kite number {number}", **values) for number in range(count)]


def hurried(factor: float = HURRY) -> Clock:
    """A clock on which waiting takes a fraction of the time; dates are true, but for the pace."""

    async def sleep(seconds: float) -> None:
        await asyncio.sleep(seconds / factor)

    def pace_now() -> datetime:
        return STARTED + timedelta(seconds=(time.monotonic() - STARTED_S) * factor)

    return Clock(monotonic=lambda: time.monotonic() * factor, sleep=sleep, pace_now=pace_now)


@dataclass(frozen=True, kw_only=True)
class Books:
    """What the ledger says at one moment."""

    purchases: dict[str, Purchase]
    images: dict[str, list[ImageRecord]]
    spent: Decimal
    reserved: Decimal

    def state(self, request: GenerationRequest) -> str:
        """The state of a request's purchase; `absent` when it was never intended."""
        purchase = self.purchases.get(request.request_id)
        return purchase.state.value if purchase else "absent"

    def states(self) -> list[str]:
        """The states of all purchases, sorted."""
        return sorted(purchase.state.value for purchase in self.purchases.values())

    def image_states(self, request: GenerationRequest) -> tuple[str, ...]:
        """The states of a request's images in their order."""
        return tuple(record.state.value for record in self.images.get(request.request_id, []))


@dataclass(kw_only=True)
class Workbench:
    """Everything a batch needs but the provider.

    Attributes:
        folder: ledger and images.
        base_url: of the provider.
        timeouts: of the client.
        retry: bounds of polls and downloads.
        clock: time of the engine and of the retries.
        key: of the account.
    """

    folder: Path
    base_url: str
    timeouts: Timeouts = field(default_factory=Timeouts)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    clock: Clock = field(default_factory=hurried)
    key: str = KEY

    def terms(self, **values: Any) -> Terms:
        """Generous limits, flat form, no breaker's pause: a test meets only what it asks for."""
        given: dict[str, Any] = {
            "profile": PROFILE,
            "dialect": "gateway",
            "base_url": self.base_url,
            "form": RequestForm.FLAT,
            "first_form": RequestForm.FLAT,
            "limits": Limits(submissions_per_second=500, queries_per_second=2000),
            "price_usd": PRICE,
            "result_lifetime_s": 3600.0,
            "task_patience_s": 1200.0,
            "code_version": "test",
            "prompt_set": "tests",
            "breaker_pause_s": 0.0,
            "confirm_s": 3.0,
        }
        return Terms(**{**given, **values})

    async def buy(
        self,
        requests: Iterable[GenerationRequest],
        *,
        run_id: str = "run",
        progress: Progress | None = None,
        **terms: Any,
    ) -> BatchReport:
        """Run one batch to its end."""
        async with AsyncExitStack() as stack:
            ports = await self._ports(stack, run_id)
            return await run_batch(
                requests, ports=ports, terms=self.terms(**terms), progress=progress
            )

    async def recover(self, *, run_id: str = "recovery", **terms: Any) -> BatchReport:
        """Run one batch that never creates."""
        async with AsyncExitStack() as stack:
            ports = await self._ports(stack, run_id)
            return await recover(ports=ports, terms=self.terms(**terms))

    def books(self) -> Books:
        """Look into the ledger."""
        with self.ledger() as ledger:
            return Books(
                purchases=ledger.purchases(),
                images=ledger.images(),
                spent=ledger.spent(),
                reserved=ledger.reserved(),
            )

    async def prove_form(self, form: RequestForm = RequestForm.FLAT) -> None:
        """As if an earlier run's task had proven it, so that no create waits for that."""
        with self.ledger() as ledger:
            await FormMemory(ledger, self.terms()).keep_verdict(form, Verdict.PROVEN)

    def ledger(self) -> Ledger:
        """The ledger; to be closed."""
        return Ledger(self.folder / "ledger.sqlite", PROFILE)

    async def _ports(self, stack: AsyncExitStack, run_id: str) -> Ports:
        ledger = stack.enter_context(self.ledger())
        owner = stack.enter_context(ledger.owner(run_id))
        provider = await stack.enter_async_context(
            WanClient(
                base_url=self.base_url,
                api_key=self.key,
                dialect=DIALECTS["gateway"],
                timeouts=self.timeouts,
                poll_retry=self.retry,
                sleep=self.clock.sleep,
            )
        )
        fetcher = await stack.enter_async_context(
            Downloader(
                allow_private=True,
                timeouts=self.timeouts,
                retry=self.retry,
                sleep=self.clock.sleep,
            )
        )
        return Ports(
            ledger=ledger,
            provider=provider,
            fetcher=fetcher,
            keeper=ImageKeeper(ImageStore(self.folder)),
            owner=owner,
            rescue=stack.enter_context(RescueFile(self.folder / "rescue", owner.owner_id)),
            clock=self.clock,
        )
