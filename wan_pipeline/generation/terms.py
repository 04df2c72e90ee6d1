"""What a batch is given: the terms it buys on, and the ports it works through."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.retries import RetryRule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from decimal import Decimal

    from wan_pipeline.generation.rescue import RescueFile
    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline.ledger.records import ImageRecord
    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline.wan.answers import CreateOutcome, TaskAnswer, TaskMissing
    from wan_pipeline.wan.profiles import Limits, RequestForm

__all__ = ["Clock", "Ports", "Provider", "StoredFile", "Terms"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """On which terms a batch buys.

    Attributes:
        profile: whose account.
        dialect: its wire protocol's name, for the record.
        base_url: its origin; the request form that it understood is remembered under it.
        form: layout of the create body, or `auto`.
        first_form: what `auto` tries first.
        limits: what the account allows.
        price_usd: per image; None for a batch that only takes up what is paid for.
        result_lifetime_s: seconds until results die.
        task_patience_s: seconds that a run waits for one task.
        proof_patience_s: seconds that creates wait for the first task of a form of the body that
            no task has proven yet.
        code_version: kept with every purchase.
        prompt_set: who buys; the name of the series when it is a reproduction.
        reproduction: buy each request once more to compare, as `ledger.series` tells; what the
            dataset has of it is neither looked at nor touched.
        unknown_in_a_row: creates without a known outcome after which submitting pauses.
        refused_in_a_row: requests refused without an acceptance, after which submitting stops;
            moderated ones do not count.
        unsent_in_a_row: creates that found no connection after which submitting stops.
        caps: the most that may be paid or reserved.
        retry: what may be bought again, and how often.
        finished_watched: how many of the last finished tasks the failures are counted among.
        failed_share: submitting pauses when more than this share of them failed, or brought no
            image that could be stored.
        paid_for_nothing: it also pauses when the first so many tasks that a batch paid for brought
            no image that could be stored; and again, until the first one is stored.
        breaker_pause_s: such a pause; 0 stops at once instead.
        breaker_pauses: such pauses in a row, without anything getting better, before it stops.
        throttle_patience_s: seconds of refusals (429) without one acceptance until it stops.
        pause_first_s: first pause after a 429 without Retry-After or a failed connection; doubled.
        pause_longest_s: longest such pause.
        confirm_s: seconds over which a task that is done with fewer images than asked for is asked
            again, in case that the others come late.
        create_grace_s: seconds that creates already sent get to answer after a cancellation.
    """

    profile: str
    dialect: str
    base_url: str
    form: RequestForm
    first_form: RequestForm
    limits: Limits
    price_usd: Decimal | None
    result_lifetime_s: float
    task_patience_s: float
    code_version: str
    prompt_set: str
    reproduction: bool = False
    proof_patience_s: float = 300.0
    unknown_in_a_row: int = 3
    refused_in_a_row: int = 20
    unsent_in_a_row: int = 6
    caps: Caps = field(default_factory=Caps)
    retry: RetryRule = field(default_factory=RetryRule)
    finished_watched: int = 20
    failed_share: float = 0.5
    paid_for_nothing: int = 5
    breaker_pause_s: float = 30.0
    breaker_pauses: int = 1
    throttle_patience_s: float = 900.0
    pause_first_s: float = 1.0
    pause_longest_s: float = 60.0
    confirm_s: float = 30.0
    create_grace_s: float = 8.0

    @property
    def series(self) -> str | None:
        """The series of reproductions that buys; None for the dataset."""
        return self.prompt_set if self.reproduction else None

    @property
    def window(self) -> int:
        """Tasks at the provider at once: a quarter more than it runs, so its queue is fed."""
        return max(-(-self.limits.running_at_once * 5 // 4), 1)


class Provider(Protocol):
    """The API, one exchange at a time; `wan.client.WanClient` is one."""

    async def create(self, request: GenerationRequest, form: RequestForm) -> CreateOutcome:
        """Send the paid call, once."""
        ...

    async def poll(self, task_id: str) -> TaskAnswer | TaskMissing:
        """Ask for one task."""
        ...


class StoredFile(Protocol):
    """What the store tells of an image it has kept."""

    @property
    def image_id(self) -> str:
        """SHA-256 of the bytes."""
        ...

    @property
    def path(self) -> str:
        """Relative to the profile's data folder."""
        ...

    @property
    def format(self) -> str:
        """What the bytes are: png, webp or jpeg."""
        ...

    @property
    def bytes(self) -> int:
        """Length."""
        ...

    @property
    def width(self) -> int:
        """Pixels across, as the file says."""
        ...

    @property
    def height(self) -> int:
        """Pixels down, as the file says."""
        ...

    @property
    def replaced(self) -> bool:
        """Whether a damaged file was there, which these bytes took the place of."""
        ...


class Fetcher(Protocol):
    """Result bytes by URL; `wan.download.Downloader` is one."""

    async def fetch(self, url: str, *, check: Callable[[bytes], None]) -> bytes:
        """The bytes, intact as `check` sees it."""
        ...


class Keeper(Protocol):
    """Where images go; `dataset.keeper.ImageKeeper` is one."""

    def check(self, data: bytes) -> None:
        """Raise `wan.retry.DamagedBodyError` when the bytes are no intact image."""
        ...

    def keep(self, data: bytes) -> StoredFile:
        """Store the bytes as received, durably. Raises OSError when the disk refuses."""
        ...

    def problem_of(self, record: ImageRecord, *, deep: bool = False) -> str | None:
        """What is wrong with the file of a stored image; None when nothing is.

        `deep` reads its bytes, however old the file looks.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Clock:
    """Time as the engine knows it; a test passes a fake one.

    Attributes:
        now: the date.
        monotonic: seconds that never go back.
        sleep: waits so many of them.
        pace_now: the date by which moments to ask are handed out; see `ledger.pace`.
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    pace_now: Callable[[], datetime] = lambda: datetime.now(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything a batch works through."""

    ledger: Ledger
    provider: Provider
    fetcher: Fetcher
    keeper: Keeper
    owner: Owner
    rescue: RescueFile
    clock: Clock
