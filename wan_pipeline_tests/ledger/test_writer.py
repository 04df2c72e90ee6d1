"""Groups of changes: on disk when acknowledged, and no change spoiled by its neighbours."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from concurrent.futures import wait
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from wan_pipeline.ledger import database, schema
from wan_pipeline.ledger.database import open_database
from wan_pipeline.ledger.errors import LedgerUnavailableError, TransitionError
from wan_pipeline.ledger.facts import LEDGER_ID
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.ledger.writer import GroupCommitWriter
from wan_pipeline_tests.ledger.conftest import PROFILE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.ledger.transaction import Transaction
    from wan_pipeline_tests.ledger.conftest import Life


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[GroupCommitWriter]:
    """A writer on a fresh database, held up until `release` is set by a first change."""
    _, engine = open_database(tmp_path / "ledger.sqlite")
    writer = GroupCommitWriter(engine)
    yield writer
    writer.close()
    engine.dispose()


def remember(name: str) -> Any:
    """A change that writes one row and returns its name."""

    def change(tx: Transaction) -> str:
        tx.connection.execute(sa.insert(schema.info).values(key=name, value="x"))
        return name

    return change


def remembered(writer: GroupCommitWriter) -> set[str]:
    """The rows on disk."""
    found = writer.submit(
        lambda tx: set(tx.connection.execute(sa.select(schema.info.c.key)).scalars())
    ).result(10)
    return found - {"schema_version", LEDGER_ID}


def refuse(_tx: Transaction) -> None:
    """A change that is not allowed, told before it writes."""
    raise TransitionError("not now")


def break_(tx: Transaction) -> None:
    """A change with a mistake, found after it wrote."""
    tx.connection.execute(sa.insert(schema.info).values(key="half", value="x"))
    raise KeyError("mistake")


def violate(tx: Transaction) -> None:
    """A change that the database refuses."""
    tx.connection.execute(sa.insert(schema.info).values(key="schema_version", value="twice"))


@pytest.mark.parametrize(
    ("bad", "error"),
    [(refuse, TransitionError), (break_, KeyError), (violate, LedgerUnavailableError)],
)
@pytest.mark.parametrize("position", [0, 3, 6])
def test_one_bad_change_spoils_no_other(
    bad: Any, error: type[Exception], position: int, writer: GroupCommitWriter
) -> None:
    """Six good changes and a bad one in one group: six are on disk, and only the bad one fails."""
    held = writer.submit(lambda _: __import__("time").sleep(0.05))  # the others queue up behind it
    changes = [remember(f"good {number}") for number in range(6)]
    changes.insert(position, bad)
    futures = [writer.submit(change) for change in changes]
    wait([held, *futures], timeout=10)
    with pytest.raises(error):
        futures.pop(position).result(0)
    names = [future.result(0) for future in futures]
    assert names == [f"good {number}" for number in range(6)]
    assert remembered(writer) == set(names)


def test_locked_file_fails_all_that_wait_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One wait for the lock is for all of them: a waiting change after the other took for ever."""
    monkeypatch.setattr(database, "BUSY_TIMEOUT_MS", 500)
    path = tmp_path / "ledger.sqlite"
    _, engine = open_database(path)
    writer = GroupCommitWriter(engine)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        began = time.monotonic()
        futures = [writer.submit(remember(f"row {number}")) for number in range(20)]
        for future in futures:
            with pytest.raises(LedgerUnavailableError, match=r"locked.* `fuser .*kill -CONT"):
                future.result(30)
        with pytest.raises(LedgerUnavailableError, match="locked") as refused:
            open_database(path)
        said = str(refused.value)
        assert f"`lsof {path}`" in said
        assert "backup" not in said
        assert time.monotonic() - began < 4  # of 20 x 0.5 s
        other.execute("ROLLBACK")
    assert writer.submit(remember("later")).result(10) == "later"
    writer.close()
    engine.dispose()


def test_changes_that_wait_together_share_a_commit(tmp_path: Path) -> None:
    """A thousand changes are a few commits, not a thousand."""
    _, engine = open_database(tmp_path / "ledger.sqlite")
    commits: list[int] = []
    sa.event.listen(engine, "commit", lambda _: commits.append(1))
    writer = GroupCommitWriter(engine)
    futures = [writer.submit(remember(f"row {number}")) for number in range(1000)]
    wait(futures, timeout=30)
    writer.close()
    engine.dispose()
    assert all(future.done() for future in futures)
    assert len(commits) < 100


def test_closing_commits_what_is_queued_and_then_refuses(tmp_path: Path) -> None:
    """Nobody waits for ever for a ledger that is closed."""
    _, engine = open_database(tmp_path / "ledger.sqlite")
    writer = GroupCommitWriter(engine)
    futures = [writer.submit(remember(f"row {number}")) for number in range(50)]
    writer.close()
    assert all(future.result(0) for future in futures)
    with pytest.raises(LedgerUnavailableError, match="closed"):
        writer.submit(remember("late"))
    engine.dispose()


async def test_acknowledged_change_is_there_for_another_connection(
    life: Life, where: Path | str
) -> None:
    """What the await returned is what a process after a crash would read."""
    await life.reach(PurchaseState.SUBMITTED)
    with Ledger(where, PROFILE) as other:
        purchase = other.purchases()["r1"]
    assert (purchase.state, purchase.task_id) == (PurchaseState.SUBMITTED, "task-of-r1")


async def test_cancelled_waiter_does_not_undo_its_change(life: Life) -> None:
    """A change that was queued happens."""
    waiting = asyncio.ensure_future(life.intend())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await life.intend("another")
    assert life.state("r1") is PurchaseState.INTENT
