"""What every move needs: the ledger, its reference, a row to try it on, and who tries it."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
import sqlalchemy as sa
from hypothesis.stateful import RuleBasedStateMachine

from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.states import TRANSITIONS, PurchaseState
from wan_pipeline_tests.ledger.conftest import FakeTime
from wan_pipeline_tests.ledger.model.reference import RUNS, Reference, Row

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

REQUESTS = 8
PROFILES = itertools.count()

requests = st.integers(0, REQUESTS - 1)
owners = st.integers(0, len(RUNS) - 1)
kinds = st.sampled_from(["moderation", "invalid", "other"])


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


def leads_to(to: PurchaseState) -> Callable[[Any], bool]:
    """A move is tried when there is a row that allows it."""
    return lambda model: any(to in TRANSITIONS[row.state] for row in model.rows.values())


class Machine(Reference, RuleBasedStateMachine):
    """Drives a ledger and the reference side by side."""

    where: Path | str

    def __init__(self) -> None:
        RuleBasedStateMachine.__init__(self)
        Reference.__init__(self, FakeTime())
        self.profile = f"profile-{next(PROFILES)}"  # one database serves every example
        self.loop = asyncio.new_event_loop()
        self.stack = ExitStack()
        self.ledger = self.stack.enter_context(Ledger(self.where, self.profile, now=self.time))
        self.owners = [self.stack.enter_context(self.ledger.owner(run)) for run in RUNS]

    def teardown(self) -> None:
        """Close everything."""
        self.stack.close()
        self.loop.close()

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

    def select(self, table: sa.Table, order_by: Any = None) -> list[Any]:
        """All rows of a table under this profile."""
        query = sa.select(table).where(table.c.profile == self.profile).order_by(order_by)
        with self.ledger._read() as connection:
            return list(connection.execute(query))
