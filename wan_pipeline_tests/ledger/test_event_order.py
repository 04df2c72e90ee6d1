"""PostgreSQL, and two processes that commit at once: the newest event tells the whole moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from time import monotonic
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.ledger.transaction import Transaction
from wan_pipeline_tests.ledger.conftest import PROFILE
from wan_pipeline_tests.postgres_server import SUPERUSER

if TYPE_CHECKING:
    from concurrent.futures import Future

    from wan_pipeline_tests.ledger.conftest import FakeTime
    from wan_pipeline_tests.postgres_fixture import RunningPostgres

LONG_ENOUGH_S = 1.0  # for a commit that nobody holds up


@pytest.mark.postgres
def test_no_event_appears_below_the_newest_one(postgres_url: str, time: FakeTime) -> None:
    """Else what was read up to an event would not be all that happened before it."""

    def change(tx: Transaction, request_id: str) -> None:
        key = PurchaseKey(profile=PROFILE, request_id=request_id, attempt=1)
        tx.append_event(key, now=time(), from_state=None, to_state="intent")

    with (
        ThreadPoolExecutor(1) as pool,
        Ledger(postgres_url, PROFILE) as slow,
        Ledger(postgres_url, PROFILE) as quick,
    ):
        with slow._engine.begin() as connection:
            tx = Transaction(connection)
            change(tx, "first")
            tx.finish()
            other: Future[None] = pool.submit(quick.apply_now, lambda tx: change(tx, "second"))
            wait([other], timeout=LONG_ENOUGH_S)
            with snapshot(quick) as view:
                before = view.last_event
        other.result(10)
        with snapshot(quick) as view:
            assert view.last_event > before


def await_waiting(connection: sa.Connection) -> None:
    """Until another transaction waits for this one."""
    query = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    until = monotonic() + 10
    while not connection.execute(query).scalar():
        assert monotonic() < until


@pytest.mark.postgres
def test_two_that_wait_for_each_other_both_get_done(
    postgres_url: str, postgres_server: RunningPostgres
) -> None:
    """The server ends one of them, which is no error of its change: it is made again."""
    row = sa.update(schema.info).where(schema.info.c.key == "schema_version")

    def change(tx: Transaction) -> int:
        tx.hold_account(PROFILE)
        return tx.connection.execute(row.values(value=schema.info.c.value)).rowcount

    # Only a superuser may be so patient that the server ends the other one.
    patient = postgres_server._url(
        SUPERUSER, postgres_server.address.password, str(sa.make_url(postgres_url).database)
    )
    engine = sa.create_engine(patient, poolclass=sa.NullPool)
    with Ledger(postgres_url, PROFILE) as ledger:
        with engine.begin() as connection:
            connection.execute(sa.text("SET LOCAL deadlock_timeout = '60s'"))
            connection.execute(row.values(value=schema.info.c.value))
            done = ledger._writer.submit(change)
            await_waiting(connection)
            Transaction(connection).hold_account(PROFILE)
        assert done.result(20) == 1
