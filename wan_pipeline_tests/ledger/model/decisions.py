"""What is nobody's move: a person's decisions, deaths of owners, and time."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis.stateful import precondition, rule

from wan_pipeline.ledger.decisions import Decision, adopt, release, write_off
from wan_pipeline.ledger.errors import DecisionError
from wan_pipeline.ledger.leases import LEASE
from wan_pipeline_tests.ledger.model.machine import Machine, owners, requests
from wan_pipeline_tests.ledger.model.reference import ZERO, Row, S

if TYPE_CHECKING:
    from collections.abc import Callable


def doubtful(model: Any) -> bool:
    """There is something to decide."""
    undecided = (S.UNKNOWN, S.WRITTEN_OFF, S.EXPIRED)
    return any(row.state in undecided or row.adopted for row in model.rows.values())


def orphaned(model: Any) -> bool:
    """There is something to take up."""
    rows = model.rows.values()
    return any(row.state.unfinished and not model.alive(row.owner) for row in rows)


class Decisions(Machine):
    """A person, the dead, and the clock."""

    @precondition(doubtful)
    @rule(request=requests, owner=owners, task=st.integers(0, 40).map(str))
    def adopt(self, request: int, owner: int, task: str) -> None:
        """A person found the task."""
        _, row = self.latest(request)
        known = any(each.task == task for each in self.rows.values())
        allowed = row is not None and self.adoptable(row) and not known
        self.decide(
            request,
            partial(adopt, task_id=task, lifetime_s=3600, owner=self.owners[owner]),
            allowed=allowed,
        )
        if allowed:
            assert row is not None
            row.state, row.owner, row.task, row.adopted = S.SUBMITTED, owner, task, True
            row.reserved, row.paid = row.price, ZERO
            row.images.clear()

    def adoptable(self, row: Row) -> bool:
        """Whether a person may name its task, or another one than a person named before."""
        if row.adopted and row.state in (S.SUBMITTED, S.SUCCEEDED):
            return not self.alive(row.owner)
        if row.adopted and row.state in (S.STORED, S.FAILED):
            return True
        return row.state in (S.UNKNOWN, S.WRITTEN_OFF, S.EXPIRED)

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
