"""Ledger and budget against a reference model: whatever is done in whatever order, they agree.

Every rule makes a move that may or may not be allowed; the model says which, and the ledger must
make it or refuse it and change nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import hypothesis
import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.decisions import Decision, adopt, release, write_off
from wan_pipeline.ledger.errors import BudgetExceededError, DecisionError, TransitionError
from wan_pipeline.ledger.ledger import LEASE, Ledger
from wan_pipeline.ledger.records import Purchase, PurchaseKey
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.ledger.states import TRANSITIONS, ImageState, PurchaseState
from wan_pipeline_tests.ledger.conftest import FakeTime, intention

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path


S, IMAGE = PurchaseState, ImageState
ZERO = Decimal(0)
REQUESTS = 8
ANYTHING = RetryRule(what=frozenset(Retry))
RUNS = ("one", "two", "one")  # two owners of one run: its second try
ARRIVING = (IMAGE.EXPECTED, IMAGE.DAMAGED)
MAY_HOLD_MONEY_BACK = (S.INTENT, S.SUBMITTED, S.UNKNOWN, S.EXPIRED)
PROFILES = itertools.count()

requests = st.integers(0, REQUESTS - 1)
owners = st.integers(0, len(RUNS) - 1)


@dataclass(frozen=True)
class Pick:
    """Which row a move is tried on, and by whom: mostly one that allows it, and its owner."""

    number: int
    stranger: int | None
    anywhere: bool


picks = st.builds(
    Pick,
    number=st.integers(0, 30),
    stranger=st.sampled_from([None, None, None, None, *range(len(RUNS))]),
    anywhere=st.sampled_from([False, False, False, True]),
)
costs = st.sampled_from([None, "0", "0.01", "0.03", "0.030000001", "0.5"])
money = st.sampled_from([None, None, *map(Decimal, ("0", "0.05", "0.12", "0.25", "0.6", "1"))])
tight = st.builds(Caps, **dict.fromkeys(("run", "day", "prompt_set", "total"), money))
caps = st.one_of(st.just(Caps()), st.just(Caps()), tight)
retries = st.builds(
    RetryRule, what=st.frozensets(st.sampled_from(Retry)), max_attempts=st.integers(1, 3)
)
kinds = st.sampled_from(["moderation", "invalid", "other"])


@dataclass
class Row:
    """What the model knows of one attempt."""

    state: PurchaseState
    owner: int | None
    counts_for: tuple[str, str, str]  # day, set, run
    price: Decimal
    reserved: Decimal = ZERO
    paid: Decimal = ZERO
    kind: str = ""
    task: str | None = None
    images: dict[int, ImageState] = field(default_factory=dict)


def leads_to(to: PurchaseState) -> Callable[[Any], bool]:
    """A move is tried when there is a row that allows it."""
    return lambda model: any(to in TRANSITIONS[row.state] for row in model.rows.values())


def doubtful(model: Any) -> bool:
    """There is something to decide."""
    return any(row.state in (S.UNKNOWN, S.WRITTEN_OFF) for row in model.rows.values())


def orphaned(model: Any) -> bool:
    """There is something to take up."""
    rows = model.rows.values()
    return any(row.state.unfinished and not model.alive(row.owner) for row in rows)


class Model(RuleBasedStateMachine):
    """Drives a ledger and the reference side by side."""

    where: Path | str

    def __init__(self) -> None:
        super().__init__()
        self.profile = f"profile-{next(PROFILES)}"  # one database serves every example
        self.time = FakeTime()
        self.loop = asyncio.new_event_loop()
        self.stack = ExitStack()
        self.ledger = self.stack.enter_context(Ledger(self.where, self.profile, now=self.time))
        self.owners = [self.stack.enter_context(self.ledger.owner(run)) for run in RUNS]
        self.leases = [self.time.now + LEASE] * len(RUNS)
        self.rows: dict[tuple[int, int], Row] = {}

    def teardown(self) -> None:
        """Close everything."""
        self.stack.close()
        self.loop.close()

    # --- the reference ---

    def latest(self, request: int) -> tuple[int, Row | None]:
        """The newest attempt at a request, and its number."""
        attempts = [attempt for each, attempt in self.rows if each == request]
        return (max(attempts), self.rows[request, max(attempts)]) if attempts else (0, None)

    def next_attempt(self, request: int, retry: RetryRule) -> int | None:
        """The attempt that may be made; None when what stands forbids one."""
        attempt, row = self.latest(request)
        if row is None or row.state is S.PLANNED:
            return max(attempt, 1)
        gone = row.state in (S.EXPIRED, S.WRITTEN_OFF) or IMAGE.LOST in row.images.values()
        passing = row.kind == "other" and row.state in (S.FAILED, S.REFUSED)
        wanted = (Retry.FAILED in retry.what and passing) or (
            Retry.LOST in retry.what and gone and not row.state.unfinished
        )
        return attempt + 1 if wanted and attempt < retry.max_attempts else None

    def committed(self, **wanted: str) -> Decimal:
        """Paid plus reserved, by what is wanted."""
        names = ("day", "prompt_set", "run_id")
        return sum(
            (
                row.reserved + row.paid
                for row in self.rows.values()
                if wanted.items() <= dict(zip(names, row.counts_for, strict=True)).items()
            ),
            ZERO,
        )

    def alive(self, owner: int | None) -> bool:
        """Whether an owner's rows must be left alone."""
        return owner is not None and self.leases[owner] > self.time.now

    # --- how moves are made ---

    def key(self, request: int, attempt: int) -> PurchaseKey:
        """The key of an attempt."""
        return PurchaseKey(profile=self.profile, request_id=f"r{request}", attempt=attempt)

    def picked(self, pick: Pick, fits: Callable[[Row], bool]) -> tuple[PurchaseKey, Row, int]:
        """The row that a move is tried on, and the owner who tries it."""
        keys = sorted(key for key, row in self.rows.items() if pick.anywhere or fits(row))
        request, attempt = (keys or sorted(self.rows))[pick.number % len(keys or self.rows)]
        row = self.rows[request, attempt]
        owner = (row.owner or 0) if pick.stranger is None else pick.stranger
        return self.key(request, attempt), row, owner

    def picked_for(self, pick: Pick, to: PurchaseState) -> tuple[PurchaseKey, Row, int]:
        """The same for a move to a state."""
        return self.picked(pick, lambda row: to in TRANSITIONS[row.state])

    def wait(self, change: Coroutine[Any, Any, Any]) -> Any:
        """Run a change to its end."""
        return self.loop.run_until_complete(change)

    def allowed(self, row: Row, to: PurchaseState, owner: int) -> bool:
        """Whether a move is allowed."""
        return to in TRANSITIONS[row.state] and row.owner == owner

    def agree(
        self,
        change: Coroutine[Any, Any, Any] | Callable[[], Any],
        *,
        allowed: bool,
        error: type[Exception],
    ) -> Any:
        """Make a move, or see it refused."""
        make = change if callable(change) else partial(self.wait, change)
        if allowed:
            return make()
        with pytest.raises(error):
            make()
        return None

    # --- buying ---

    @initialize(owner=owners, failed=st.booleans())
    def begin(self, owner: int, failed: bool) -> None:
        """Purchases on different legs of their way, so that short walks get far."""
        for request in range(4):
            self.intend(request, owner, "a", "0.03", Caps(), RetryRule())  # type: ignore[call-arg]
        first = Pick(0, None, anywhere=False)
        for task in ("1", "2"):
            self.submitted(first, task)  # type: ignore[call-arg]
        self.succeeded(first, "0.05", 2)  # type: ignore[call-arg]
        self.unknown(first)  # type: ignore[call-arg]
        if failed:
            self.failed(first, None, "other")  # type: ignore[call-arg]

    @rule(
        request=requests,
        owner=owners,
        prompt_set=st.sampled_from(["a", "b"]),
        price=st.sampled_from(["0.03", "0.05"]),
        caps=caps,
        retry=retries,
    )
    def intend(
        self,
        request: int,
        owner: int,
        prompt_set: str,
        price: str,
        caps: Caps,
        retry: RetryRule,
    ) -> None:
        """Write an intent, retry, or meet what stands."""
        n = 1 + request % 3
        wanted = intention(
            f"r{request}",
            profile=self.profile,
            n=n,
            price_usd=Decimal(price),
            bought_by_set=prompt_set,
            caps=caps,
            retry=retry,
        )
        change = self.ledger.intend(wanted, owner=self.owners[owner])
        attempt = self.next_attempt(request, retry)
        day, run, cost = self.time.now.date().isoformat(), RUNS[owner], Decimal(price) * n
        if attempt is None:
            standing = self.wait(change)
            assert isinstance(standing, Purchase)
            assert (standing.attempt, standing.state) == (
                self.latest(request)[0],
                self.latest(request)[1].state,
            )  # type: ignore[union-attr]
            return
        filters = {
            "run": {"run_id": run},
            "day": {"day": day},
            "prompt_set": {"prompt_set": prompt_set},
            "total": {},
        }
        over = {
            name
            for name, cap in caps.named().items()
            if self.committed(**filters[name]) + cost > cap
        }
        if over:
            with pytest.raises(BudgetExceededError) as refusal:
                self.wait(change)
            assert refusal.value.cap_name in over
            return
        assert self.wait(change) == self.key(request, attempt)
        self.rows[request, attempt] = Row(
            S.INTENT, owner, (day, prompt_set, run), cost, reserved=cost
        )
        for name, cap in caps.named().items():
            assert self.ledger.committed(**filters[name]) <= cap

    @rule(
        number=st.integers(0, 30),
        owner=owners,
        prompt_set=st.sampled_from(["a", "b"]),
        price=st.sampled_from(["0.03", "0.05"]),
        caps=tight,
        retry=retries,
    )
    def buy(
        self,
        number: int,
        owner: int,
        prompt_set: str,
        price: str,
        caps: Caps,
        retry: RetryRule,
    ) -> None:
        """The same for a request that may be bought, as far as the caps and the rule go."""
        free = [each for each in range(REQUESTS) if self.next_attempt(each, ANYTHING)]
        request = (free or [0])[number % len(free or [0])]
        self.intend(request, owner, prompt_set, price, caps, retry)  # type: ignore[call-arg]

    @precondition(leads_to(S.PLANNED))
    @rule(pick=picks)
    def not_sent(self, pick: Pick) -> None:
        """The create made no task."""
        key, row, owner = self.picked_for(pick, S.PLANNED)
        allowed = self.allowed(row, S.PLANNED, owner)
        self.agree(
            self.ledger.not_sent(key, self.owners[owner], "429"),
            allowed=allowed,
            error=TransitionError,
        )
        if allowed:
            row.state, row.reserved = S.PLANNED, ZERO

    @precondition(leads_to(S.REFUSED))
    @rule(pick=picks, kind=kinds)
    def refused(self, pick: Pick, kind: str) -> None:
        """The provider rejected the create."""
        key, row, owner = self.picked_for(pick, S.REFUSED)
        allowed = self.allowed(row, S.REFUSED, owner)
        change = self.ledger.refused(key, self.owners[owner], code="x", message="no", kind=kind)
        self.agree(change, allowed=allowed, error=TransitionError)
        if allowed:
            row.state, row.reserved, row.kind = S.REFUSED, ZERO, kind

    @precondition(leads_to(S.UNKNOWN))
    @rule(pick=picks)
    def unknown(self, pick: Pick) -> None:
        """The create was not answered."""
        key, row, owner = self.picked_for(pick, S.UNKNOWN)
        allowed = self.allowed(row, S.UNKNOWN, owner)
        self.agree(
            self.ledger.unknown(key, self.owners[owner], "timeout"),
            allowed=allowed,
            error=TransitionError,
        )
        if allowed:
            row.state = S.UNKNOWN

    @precondition(leads_to(S.SUBMITTED))
    @rule(pick=picks, task=st.integers(0, 40).map(str))
    def submitted(self, pick: Pick, task: str) -> None:
        """The provider has a task, maybe one that we know."""
        key, row, owner = self.picked_for(pick, S.SUBMITTED)
        holder = next((each for each in self.rows.values() if each.task == task), None)
        repeated = holder is row and row.state is S.SUBMITTED and row.owner == owner
        to = S.SUBMITTED if holder in (None, row) else S.UNKNOWN
        allowed = repeated or self.allowed(row, to, owner)
        change = self.ledger.submitted(key, self.owners[owner], task_id=task, lifetime_s=3600)
        deadline = self.agree(change, allowed=allowed, error=TransitionError)
        if allowed and not repeated:
            assert (deadline is None) == (to is S.UNKNOWN)
            row.state = to
            if to is S.SUBMITTED:
                row.task, row.reserved, row.paid = task, row.price, ZERO

    # --- results ---

    @precondition(leads_to(S.SUCCEEDED))
    @rule(pick=picks, cost=costs, links=st.integers(0, 3))
    def succeeded(self, pick: Pick, cost: str | None, links: int) -> None:
        """The task is done, with any cost and number of images."""
        key, row, owner = self.picked_for(pick, S.SUCCEEDED)
        allowed = self.allowed(row, S.SUCCEEDED, owner)
        paid = Decimal(cost or "0.03")
        change = self.ledger.succeeded(
            key,
            self.owners[owner],
            links=[("https://h/i", "job")] * links,
            url_expires_at=self.time() + timedelta(hours=1),
            cost_usd=paid,
            cost_source="reported",
        )
        self.agree(change, allowed=allowed, error=TransitionError)
        if allowed:
            row.state = S.SUCCEEDED if links else S.STORED
            row.reserved, row.paid, row.images = (
                ZERO,
                paid,
                dict.fromkeys(range(links), IMAGE.EXPECTED),
            )

    @precondition(leads_to(S.FAILED))
    @rule(pick=picks, cost=costs, kind=kinds)
    def failed(self, pick: Pick, cost: str | None, kind: str) -> None:
        """The task failed, with a cost or without."""
        key, row, owner = self.picked_for(pick, S.FAILED)
        allowed = self.allowed(row, S.FAILED, owner)
        change = self.ledger.failed(
            key,
            self.owners[owner],
            code="x",
            message="no",
            kind=kind,
            cost_usd=cost and Decimal(cost),
            final_answer="{}",  # type: ignore[arg-type]
        )
        self.agree(change, allowed=allowed, error=TransitionError)
        if allowed:
            row.state, row.reserved, row.paid, row.kind = S.FAILED, ZERO, Decimal(cost or 0), kind

    @precondition(leads_to(S.EXPIRED))
    @rule(pick=picks)
    def expired(self, pick: Pick) -> None:
        """Its result is gone."""
        key, row, owner = self.picked_for(pick, S.EXPIRED)
        allowed = self.allowed(row, S.EXPIRED, owner)
        self.agree(
            self.ledger.expired(key, self.owners[owner], "late"),
            allowed=allowed,
            error=TransitionError,
        )
        if allowed:
            row.state = S.EXPIRED

    @precondition(lambda self: any(row.state is S.SUCCEEDED for row in self.rows.values()))
    @rule(
        pick=picks,
        index=st.integers(0, 2),
        to=st.sampled_from([IMAGE.STORED, IMAGE.STORED, IMAGE.DAMAGED, IMAGE.LOST, IMAGE.EXPECTED]),
    )
    def image(self, pick: Pick, index: int, to: ImageState) -> None:
        """Something became of an image."""
        key, row, owner = self.picked(pick, lambda row: row.state is S.SUCCEEDED)
        allowed = (
            row.state is S.SUCCEEDED and row.owner == owner and row.images.get(index) in ARRIVING
        )
        finished = self.agree(
            self.ledger.image(key, self.owners[owner], index, to),
            allowed=allowed,
            error=TransitionError,
        )
        if allowed:
            row.images[index] = to
            assert finished == (not any(each in ARRIVING for each in row.images.values()))
            row.state = S.STORED if finished else S.SUCCEEDED

    @precondition(
        lambda self: any(IMAGE.STORED in row.images.values() for row in self.rows.values())
    )
    @rule(pick=picks, index=st.integers(0, 2))
    def reopen(self, pick: Pick, index: int) -> None:
        """A stored image is gone."""
        key, row, owner = self.picked(pick, lambda row: IMAGE.STORED in row.images.values())
        free = row.state is S.STORED or (row.state is S.SUCCEEDED and row.owner == owner)
        allowed = free and row.images.get(index) is IMAGE.STORED
        self.agree(
            self.ledger.reopen(key, self.owners[owner], index, "gone"),
            allowed=allowed,
            error=TransitionError,
        )
        if allowed:
            row.state, row.owner, row.images[index] = S.SUCCEEDED, owner, IMAGE.EXPECTED

    # --- decisions, deaths and time ---

    @precondition(doubtful)
    @rule(request=requests, owner=owners, task=st.integers(0, 40).map(str))
    def adopt(self, request: int, owner: int, task: str) -> None:
        """A person found the task."""
        _, row = self.latest(request)
        known = any(each.task == task for each in self.rows.values())
        allowed = row is not None and row.state in (S.UNKNOWN, S.WRITTEN_OFF) and not known
        self.decide(
            request,
            partial(adopt, task_id=task, lifetime_s=3600, owner=self.owners[owner]),
            allowed=allowed,
        )
        if allowed:
            assert row is not None
            row.state, row.owner, row.task = S.SUBMITTED, owner, task
            row.reserved, row.paid = row.price, ZERO

    @precondition(doubtful)
    @rule(request=requests)
    def release(self, request: int) -> None:
        """A person says that there is no task."""
        attempt, row = self.latest(request)
        allowed = row is not None and row.state is S.UNKNOWN and not self.alive(row.owner)
        self.decide(request, release, allowed=allowed)
        if allowed:
            assert row is not None
            row.state, row.reserved = S.RELEASED, ZERO
            self.rows[request, attempt + 1] = Row(S.PLANNED, None, row.counts_for, row.price)

    @precondition(doubtful)
    @rule(request=requests)
    def write_off(self, request: int) -> None:
        """A person gives it up."""
        _, row = self.latest(request)
        allowed = row is not None and row.state is S.UNKNOWN and not self.alive(row.owner)
        self.decide(request, write_off, allowed=allowed)
        if allowed:
            assert row is not None
            row.state, row.reserved, row.paid = S.WRITTEN_OFF, ZERO, row.reserved

    def decide(self, request: int, change: Callable[..., Any], *, allowed: bool) -> None:
        """Make a decision, or see it refused."""
        decision = Decision(request_id=f"r{request}", who="mei", why="looked it up")
        change = partial(change, profile=self.profile, decision=decision, now=self.time())
        self.agree(lambda: self.ledger.apply_now(change), allowed=allowed, error=DecisionError)

    @precondition(orphaned)
    @rule(owner=owners, wanted=st.none() | st.sets(requests))
    def take_over(self, owner: int, wanted: set[int] | None) -> None:
        """Take up what dead owners left, all or some of it."""
        names = None if wanted is None else [f"r{request}" for request in wanted]
        taken = self.wait(self.ledger.take_over(self.owners[owner], names))
        expected: set[tuple[str, int]] = set()
        for (request, attempt), row in self.rows.items():
            left = row.owner != owner and not self.alive(row.owner)
            if row.state.unfinished and left and (wanted is None or request in wanted):
                expected.add((f"r{request}", attempt))
                if row.state is S.INTENT:
                    row.state = S.UNKNOWN
                else:
                    row.owner = owner
        assert {(each.request_id, each.attempt) for each in taken} == expected

    @rule(seconds=st.sampled_from([1, 59, 61, 86_400, -3600]), renewing=st.sets(owners))
    def pass_time(self, seconds: int, renewing: set[int]) -> None:
        """Go on, some owners renewing their leases; or back."""
        self.time.pass_(seconds)
        for owner in renewing:
            self.wait(self.ledger.renew(self.owners[owner]))
            self.leases[owner] = self.time.now + LEASE

    # --- what always holds ---

    @invariant()
    def rows_agree(self) -> None:
        """States, owners, money and images are the model's."""
        names = {owner.owner_id: number for number, owner in enumerate(self.owners)}
        found = {
            (int(row.request_id[1:]), row.attempt): (
                row.state,
                None if row.owner_id is None else names[row.owner_id],
                row.reserved_usd,
                row.cost_usd or ZERO,
            )
            for row in self.select(schema.purchases)
        }
        assert found == {
            key: (row.state.value, row.owner, row.reserved, row.paid)
            for key, row in self.rows.items()
        }
        for row in self.rows.values():
            assert row.reserved == ZERO or row.state in MAY_HOLD_MONEY_BACK
        images = {
            (int(row.request_id[1:]), row.attempt, row.image_index): row.state
            for row in self.select(schema.images)
        }
        assert images == {
            (*key, index): state.value
            for key, row in self.rows.items()
            for index, state in row.images.items()
        }

    @invariant()
    def spending_agrees(self) -> None:
        """The sums are those of the rows, for all, per day, set and run."""
        sums: Counter[tuple[str, str, str]] = Counter()
        for row in self.rows.values():
            sums[row.counts_for] += row.reserved + row.paid  # type: ignore[assignment]
        kept = {
            (row.day, row.prompt_set, row.run_id): row.committed_usd
            for row in self.select(schema.spending)
        }
        assert {place: usd for place, usd in kept.items() if usd} == {
            place: usd for place, usd in sums.items() if usd
        }
        assert self.ledger.committed() == self.ledger.spent() + self.ledger.reserved()
        day, prompt_set, run_id = next(iter(self.rows.values())).counts_for
        for wanted in ({}, {"day": day}, {"prompt_set": prompt_set}, {"run_id": run_id}):
            assert self.ledger.committed(**wanted) == self.committed(**wanted)

    @invariant()
    def history_leads_to_the_rows(self) -> None:
        """Events follow one another and end where the rows are."""
        last: dict[tuple[int, int, int | None], str] = {}
        for event in self.select(schema.events, order_by=schema.events.c.seq):
            place = (int(event.request_id[1:]), event.attempt, event.image_index)
            assert event.from_state == last.get(
                place, None if event.image_index is None else "expected"
            )
            last[place] = event.to_state
        assert {key[:2]: state for key, state in last.items() if key[2] is None} == {
            key: row.state.value for key, row in self.rows.items()
        }

    def select(self, table: sa.Table, order_by: Any = None) -> list[Any]:
        """All rows of a table under this profile."""
        query = sa.select(table).where(table.c.profile == self.profile).order_by(order_by)
        with self.ledger._read() as connection:
            return list(connection.execute(query))


def run(where: Path | str, *, examples: int, steps: int) -> None:
    """Let hypothesis look for a disagreement."""
    run_state_machine_as_test(
        type("Model", (Model,), {"where": where}),
        settings=hypothesis.settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=(
                hypothesis.HealthCheck.too_slow,
                hypothesis.HealthCheck.filter_too_much,
            ),
        ),
    )


def test_ledger_and_budget_agree_with_the_model_on_sqlite(tmp_path: Path) -> None:
    """Rows, money, images and history, after every step."""
    run(tmp_path / "ledger.sqlite", examples=60, steps=40)


@pytest.mark.postgres
def test_ledger_and_budget_agree_with_the_model_on_postgresql(postgres_url: str) -> None:
    """The same on a server."""
    run(postgres_url, examples=15, steps=40)
