"""PostgreSQL, and a create that is answered while another process buys in its stead."""

from __future__ import annotations

from concurrent.futures import wait
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.ledger import intents
from wan_pipeline.ledger.intents import intend
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.ledger.tasks import attach_task
from wan_pipeline.ledger.transaction import Transaction
from wan_pipeline_tests.ledger.conftest import LATER, PROFILE, Life, intention

if TYPE_CHECKING:
    from concurrent.futures import Future

    from wan_pipeline_tests.ledger.conftest import FakeTime

S = PurchaseState
LONG_ENOUGH_S = 1.0  # for a change that nobody holds up


@pytest.mark.postgres
async def test_attempt_that_is_being_intended_is_not_withdrawn(
    postgres_url: str, time: FakeTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a create would be sent whose intent stands in no row, and its task would be lost."""
    answered: list[Future[bool]] = []
    decide = intents._next_attempt
    with (
        Ledger(postgres_url, PROFILE, now=time) as ledger,
        ledger.owner("run") as slow,
        ledger.owner("next") as following,
    ):
        life = Life(ledger=ledger, owner=slow, time=time)
        await life.reach(S.RELEASED)

        def answer(tx: Transaction) -> bool:
            key = life.key()
            return attach_task(tx, key, "late", owner=slow, deadline_at=LATER, now=time())

        def while_answered(*args: Any) -> Any:
            attempt = decide(*args)
            answered.append(ledger._writer.submit(answer))
            wait(answered, timeout=LONG_ENOUGH_S)
            return attempt

        monkeypatch.setattr(intents, "_next_attempt", while_answered)
        with Ledger(postgres_url, PROFILE) as other, other._engine.begin() as connection:
            tx = Transaction(connection)
            key = intend(tx, intention(), owner=following, now=time())
            tx.finish()
        assert answered[0].result(10)
        assert isinstance(key, PurchaseKey)
        assert key.attempt == 2
        standing = ledger.purchase(key)
        assert standing is not None
        assert standing.state is S.INTENT
        assert life.state() is S.SUBMITTED
        assert ledger.committed() == ledger.spent() + ledger.reserved()
