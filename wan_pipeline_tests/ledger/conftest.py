"""A ledger, an owner, and shorthand for the life of a purchase."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.decisions import Decision, release, write_off
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.records import Intention, PurchaseKey
from wan_pipeline.ledger.states import ImageState, PurchaseState

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.ledger.owner import Owner

pytest.register_assert_rewrite("wan_pipeline_tests.ledger.model")

PROFILE = "emulator"
LATER = datetime(2030, 1, 1, tzinfo=UTC)  # the run that bought has long ended


class FakeTime:
    """A wall clock that stands still until it is told to move."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 7, 28, tzinfo=UTC)

    def __call__(self) -> datetime:
        """The time."""
        return self.now

    def pass_(self, seconds: float) -> None:
        """Later."""
        self.now += timedelta(seconds=seconds)


def intention(request_id: str = "r1", **values: Any) -> Intention:
    """An intention to buy one image."""
    given: dict[str, Any] = {
        "profile": PROFILE,
        "request_id": request_id,
        "request": "{}",
        "n": 1,
        "price_usd": Decimal("0.03"),
        "bought_by_set": "tests",
        "dialect": "gateway",
        "form": "flat",
        "code_version": "test",
    }
    return Intention(**{**given, **values})


@dataclass(kw_only=True)
class Life:
    """Moves purchases of one ledger through their states."""

    ledger: Ledger
    owner: Owner
    time: FakeTime

    def key(self, request_id: str = "r1") -> PurchaseKey:
        """The first attempt at a request."""
        return PurchaseKey(profile=PROFILE, request_id=request_id, attempt=1)

    def state(self, request_id: str = "r1") -> PurchaseState:
        """Where its first attempt stands."""
        purchase = self.ledger.purchase(self.key(request_id))
        assert purchase is not None
        return purchase.state

    async def intend(self, request_id: str = "r1", **values: Any) -> Any:
        """Write an intent."""
        return await self.ledger.intend(intention(request_id, **values), owner=self.owner)

    async def go(  # noqa: C901  one arm per state
        self, to: PurchaseState, request_id: str = "r1", owner: Owner | None = None
    ) -> None:
        """Make one move, allowed or not, by the public method for it."""
        key, by, ledger = self.key(request_id), owner or self.owner, self.ledger
        match to:
            case PurchaseState.INTENT:
                standing = await ledger.intend(intention(request_id), owner=by)
                assert isinstance(standing, PurchaseKey), standing
            case PurchaseState.PLANNED:
                await ledger.not_sent(key, by, "429")
            case PurchaseState.REFUSED:
                await ledger.refused(key, by, code="x", message="no", kind="invalid")
            case PurchaseState.UNKNOWN:
                await ledger.unknown(key, by, "timeout")
            case PurchaseState.SUBMITTED:
                await ledger.submitted(
                    key, by, task_id=f"task-of-{key.request_id}", lifetime_s=3600
                )
            case PurchaseState.FAILED:
                await ledger.failed(
                    key, by, code="x", message="no", kind="other", cost_usd=None, final_answer=""
                )
            case PurchaseState.EXPIRED:
                await ledger.expired(key, by, "too late")
            case PurchaseState.SUCCEEDED:
                await self.succeed(request_id, owner=by)
            case PurchaseState.RELEASED | PurchaseState.WRITTEN_OFF:
                self.decide(to, request_id)
            case PurchaseState.STORED:
                await ledger.image(key, by, 0, ImageState.STORED, image_id="i", path="p")

    def decide(self, to: PurchaseState, request_id: str = "r1") -> None:
        """A person gives an unknown up, either way."""
        decision = Decision(request_id=request_id, who="mei", why="looked into the console")
        change = release if to is PurchaseState.RELEASED else write_off
        self.ledger.apply_now(partial(change, profile=PROFILE, decision=decision, now=LATER))

    async def succeed(
        self, request_id: str = "r1", *, images: int = 1, owner: Owner | None = None
    ) -> None:
        """The task is done."""
        await self.ledger.succeeded(
            self.key(request_id),
            owner or self.owner,
            links=[(f"https://h/{index}", "job") for index in range(images)],
            url_expires_at=self.time() + timedelta(hours=1),
            cost_usd=Decimal("0.03") * images,
            cost_source="reported",
            final_answer="{}",
        )

    async def reach(self, state: PurchaseState, request_id: str = "r1") -> None:
        """Bring a new purchase to a state, the shortest way."""
        for step in WAYS[state]:
            await self.go(step, request_id)

    def events(self, request_id: str = "r1") -> list[tuple[str | None, str]]:
        """The history of its first attempt as (from, to)."""
        events = schema.events.c
        query = sa.select(events.from_state, events.to_state).order_by(events.seq)
        query = query.where(events.attempt == 1)
        with self.ledger._read() as connection:
            rows = connection.execute(query.where(events.request_id == request_id))
            return [tuple(row) for row in rows]


S = PurchaseState
WAYS: dict[PurchaseState, list[PurchaseState]] = {
    S.PLANNED: [S.INTENT, S.PLANNED],
    S.INTENT: [S.INTENT],
    S.REFUSED: [S.INTENT, S.REFUSED],
    S.UNKNOWN: [S.INTENT, S.UNKNOWN],
    S.RELEASED: [S.INTENT, S.UNKNOWN, S.RELEASED],
    S.WRITTEN_OFF: [S.INTENT, S.UNKNOWN, S.WRITTEN_OFF],
    S.SUBMITTED: [S.INTENT, S.SUBMITTED],
    S.FAILED: [S.INTENT, S.SUBMITTED, S.FAILED],
    S.EXPIRED: [S.INTENT, S.SUBMITTED, S.EXPIRED],
    S.SUCCEEDED: [S.INTENT, S.SUBMITTED, S.SUCCEEDED],
    S.STORED: [S.INTENT, S.SUBMITTED, S.SUCCEEDED, S.STORED],
}


@pytest.fixture
def time() -> FakeTime:
    """The ledger's clock."""
    return FakeTime()


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """An empty database of each kind."""
    if request.param == "sqlite":
        return tmp_path / "ledger.sqlite"
    url: str = request.getfixturevalue("postgres_url")
    return url


@pytest.fixture
def ledger(where: Path | str, time: FakeTime) -> Iterator[Ledger]:
    """An empty ledger."""
    with Ledger(where, PROFILE, now=time) as ledger:
        yield ledger


@pytest.fixture
def life(ledger: Ledger, time: FakeTime) -> Iterator[Life]:
    """Purchases of an owner of this process."""
    with ledger.owner("run") as owner:
        yield Life(ledger=ledger, owner=owner, time=time)
