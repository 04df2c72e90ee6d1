"""Moves of the create: intents under caps and retry rules, and every outcome of theirs."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import precondition, rule

from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.errors import BudgetExceededError, TransitionError
from wan_pipeline.ledger.records import Purchase
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline_tests.ledger.conftest import intention
from wan_pipeline_tests.ledger.model.machine import (
    REQUESTS,
    Machine,
    Pick,
    kinds,
    leads_to,
    owners,
    picks,
    requests,
)
from wan_pipeline_tests.ledger.model.reference import RUNS, ZERO, Row, S

ANYTHING = RetryRule(what=frozenset(Retry))

money = st.sampled_from([None, None, *map(Decimal, ("0", "0.05", "0.12", "0.25", "0.6", "1"))])
tight = st.builds(Caps, **dict.fromkeys(("run", "day", "prompt_set", "total"), money))
caps = st.one_of(st.just(Caps()), st.just(Caps()), tight)
retries = st.builds(
    RetryRule, what=st.frozensets(st.sampled_from(Retry)), max_attempts=st.integers(1, 3)
)


@dataclass(frozen=True, kw_only=True)
class Wish:
    """Who wants to buy, on which terms."""

    owner: int
    prompt_set: str
    price: Decimal
    caps: Caps
    retry: RetryRule


def wishes(caps: st.SearchStrategy[Caps]) -> st.SearchStrategy[Wish]:
    """Wishes under such caps."""
    return st.builds(
        Wish,
        owner=owners,
        prompt_set=st.sampled_from(["a", "b"]),
        price=st.sampled_from([Decimal("0.03"), Decimal("0.05")]),
        caps=caps,
        retry=retries,
    )


class Buying(Machine):
    """Until a purchase is submitted, or is not."""

    @rule(request=requests, wish=wishes(caps))
    def intend(self, request: int, wish: Wish) -> None:
        """Write an intent, retry, or meet what stands."""
        n = 1 + request % 3
        wanted = intention(
            f"r{request}",
            profile=self.profile,
            n=n,
            price_usd=wish.price,
            bought_by_set=wish.prompt_set,
            caps=wish.caps,
            retry=wish.retry,
        )
        change = self.ledger.intend(wanted, owner=self.owners[wish.owner])
        attempt = self.next_attempt(request, wish.retry)
        if attempt is None:
            standing = self.wait(change)
            assert isinstance(standing, Purchase)
            number, row = self.latest(request)  # type: ignore[misc]
            assert (standing.attempt, standing.state) == (number, row.state)
            return
        day, run, cost = self.time.now.date().isoformat(), RUNS[wish.owner], wish.price * n
        filters = {
            "run": {"run_id": run},
            "day": {"day": day},
            "prompt_set": {"prompt_set": wish.prompt_set},
            "total": {},
        }
        over = {
            name
            for name, cap in wish.caps.named().items()
            if self.committed(**filters[name]) + cost > cap
        }
        if over:
            with pytest.raises(BudgetExceededError) as refusal:
                self.wait(change)
            assert refusal.value.cap_name in over
            return
        assert self.wait(change) == self.key(request, attempt)
        self.rows[request, attempt] = Row(
            S.INTENT, wish.owner, (day, wish.prompt_set, run), cost, reserved=cost
        )
        for name, cap in wish.caps.named().items():
            assert self.ledger.committed(**filters[name]) <= cap

    @rule(number=st.integers(0, 30), wish=wishes(tight))
    def buy(self, number: int, wish: Wish) -> None:
        """The same for a request that may be bought, as far as the caps and the rule go."""
        free = [each for each in range(REQUESTS) if self.next_attempt(each, ANYTHING)]
        request = (free or [0])[number % len(free or [0])]
        self.intend(request, wish)  # type: ignore[call-arg]

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
        given_up = row.state in (S.RELEASED, S.WRITTEN_OFF)  # told, and changes nothing
        self.agree(
            self.ledger.unknown(key, self.owners[owner], "timeout"),
            allowed=given_up or self.allowed(row, S.UNKNOWN, owner),
            error=TransitionError,
        )
        if self.allowed(row, S.UNKNOWN, owner):
            row.state = S.UNKNOWN

    @precondition(leads_to(S.SUBMITTED))
    @rule(pick=picks, task=st.integers(0, 40).map(str))
    def submitted(self, pick: Pick, task: str) -> None:
        """The provider has a task, maybe one that we know."""
        key, row, owner = self.picked_for(pick, S.SUBMITTED)
        holder = next((each for each in self.rows.values() if each.task == task), None)
        repeated = holder is row and row.state is S.SUBMITTED and row.owner == owner
        to = S.SUBMITTED if holder in (None, row) else S.UNKNOWN
        second = holder is None and row.task is not None
        allowed = second or repeated or self.allowed(row, to, owner)
        change = self.ledger.submitted(key, self.owners[owner], task_id=task, lifetime_s=3600)
        deadline = self.agree(change, allowed=allowed, error=TransitionError)
        if second:  # told in the history, and changes nothing
            assert deadline is None
        elif allowed and not repeated:
            assert (deadline is None) == (to is S.UNKNOWN)
            fresh = (int(key.request_id[1:]), key.attempt + 1)
            if (row.state, to) == (S.RELEASED, S.SUBMITTED) and self.rows[fresh].state is S.PLANNED:
                del self.rows[fresh]  # a person was wrong: nothing is to be bought in its stead
            row.state = to
            if to is S.SUBMITTED:
                row.task, row.reserved, row.paid, row.adopted = task, row.price, ZERO, False

    @precondition(lambda model: any(row.state is S.REFUSED for row in model.rows.values()))
    @rule(pick=picks)
    def put_back(self, pick: Pick) -> None:
        """It was refused for no fault of its own."""
        key, row, owner = self.picked(pick, lambda row: row.state is S.REFUSED)
        allowed = self.allowed(row, S.PLANNED, owner)
        change = self.ledger.put_back(key, self.owners[owner], "all were refused")
        self.agree(change, allowed=allowed, error=TransitionError)
        if allowed:
            row.state, row.reserved, row.kind = S.PLANNED, ZERO, ""
