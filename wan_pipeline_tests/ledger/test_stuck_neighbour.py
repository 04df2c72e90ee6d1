"""PostgreSQL, and a process that holds the account and does not go on."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.ledger import database
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.transaction import Transaction
from wan_pipeline_tests.ledger.conftest import PROFILE, intention

if TYPE_CHECKING:
    from collections.abc import Generator


HOLDS = """
import sys
from wan_pipeline.ledger import database, schema
from wan_pipeline.ledger.transaction import Transaction

database.SUSPENDED_AFTER_MS = 1000
_, writes = database.open_database(sys.argv[1])
with writes.begin() as connection:
    Transaction(connection).hold_account("emulator")
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def stopped_holder(url: str) -> Generator[None]:
    """A process that was stopped while it held the account."""
    command = [sys.executable, "-c", HOLDS, url]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True) as holder:
        try:
            assert holder.stdout is not None
            assert holder.stdout.readline() == "held\n"
            holder.send_signal(signal.SIGSTOP)
            yield
        finally:
            holder.kill()


@pytest.mark.postgres
async def test_process_that_stops_in_a_transaction_holds_nobody_up(postgres_url: str) -> None:
    """Ctrl-Z, a frozen machine, one that lost its power: the server gives the account back."""
    with (
        Ledger(postgres_url, PROFILE) as ledger,
        ledger.owner("run") as owner,
        stopped_holder(postgres_url),
    ):
        given = await asyncio.wait_for(ledger.intend(intention(), owner=owner), 10)
        assert isinstance(given, PurchaseKey)


@pytest.mark.postgres
async def test_wait_for_the_account_ends(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And of all that wait together at once, as on a locked file."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 1000)
    with (
        Ledger(postgres_url, PROFILE) as ledger,
        ledger.owner("run") as owner,
        Ledger(postgres_url, PROFILE) as other,
        other._engine.begin() as connection,
    ):
        Transaction(connection).hold_account(PROFILE)
        began = time.monotonic()
        told = await asyncio.gather(
            *(ledger.intend(intention(f"r{number}"), owner=owner) for number in range(10)),
            return_exceptions=True,
        )
        assert [type(each) for each in told] == [LedgerUnavailableError] * 10
        assert "data folder" not in str(told[0])
        assert time.monotonic() - began < 5
        connection.rollback()
