"""What the ledger answers: of its own profile, what was kept, and that it cannot."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.ledger.errors import LedgerError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline_tests.ledger.conftest import PROFILE

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.ledger.conftest import Life


def test_read_of_a_database_that_broke_is_a_ledger_error(tmp_path: Path) -> None:
    """Every error of the ledger is one of its own."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path, PROFILE) as ledger:
        connection = sqlite3.connect(path)
        connection.execute("DROP TABLE purchases")
        connection.commit()
        connection.close()
        with pytest.raises(LedgerError):
            ledger.purchases()
        with pytest.raises(LedgerError):
            ledger.spent()


async def test_profiles_do_not_see_each_other(tmp_path: Path, life: Life) -> None:
    """Nothing bought from one account counts under another."""
    await life.reach(PurchaseState.STORED)
    with Ledger(tmp_path / "ledger.sqlite", "vtrix") as other:
        assert other.purchases() == {}
        assert other.images() == {}
        assert other.counts() == {}
        assert other.spent() == other.reserved() == 0
        with other.owner("run") as owner:
            assert await other.take_over(owner) == []


async def test_facts_are_kept_for_later_runs(life: Life) -> None:
    """The last word counts."""
    assert life.ledger.recall("form:x") is None
    await life.ledger.remember("form:x", "flat")
    await life.ledger.remember("form:x", "wrapped")
    assert life.ledger.recall("form:x") == "wrapped"
