"""The file: money to the nano-dollar, groups of changes, versions, damage, many processes."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
import time
from concurrent.futures import wait
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.ledger import database, schema
from wan_pipeline.ledger.columns import Usd, UtcTime
from wan_pipeline.ledger.database import open_database
from wan_pipeline.ledger.errors import (
    LedgerError,
    LedgerUnavailableError,
    LedgerVersionError,
    TransitionError,
)
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

DIALECT: Any = None
USD = Usd()


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=9))
def test_money_survives_exactly(amount: Decimal) -> None:
    """Nine places, no float on the way."""
    stored = USD.process_bind_param(amount, DIALECT)
    assert isinstance(stored, int)
    assert USD.process_result_value(stored, DIALECT) == amount


@given(st.decimals(allow_nan=False, allow_infinity=False, places=None))
def test_money_is_exact_or_refused(amount: Decimal) -> None:
    """Never rounded in silence, however many digits it has."""
    try:
        stored = USD.process_bind_param(amount, DIALECT)
    except ValueError:
        return
    assert stored == Fraction(amount) * 10**9


@pytest.mark.parametrize(
    "amount", ["0.0000000001", "1.0000000000000000000000000000000000001", "NaN", "sNaN"]
)
def test_money_of_too_many_places_is_refused(amount: str) -> None:
    """Also beyond the precision in which Decimal computes."""
    with pytest.raises(ValueError, match=r"decimal places|NaN"):
        USD.process_bind_param(Decimal(amount), DIALECT)


async def test_sums_are_exact(life: Life) -> None:
    """A thousand amounts that no float can hold."""
    price = Decimal("0.030000001")
    await asyncio.gather(*(life.intend(f"r{n}", price_usd=price, n=3) for n in range(1000)))
    assert life.ledger.reserved() == price * 3000


def test_time_keeps_its_moment_and_needs_a_zone() -> None:
    """UTC in the file, whatever zone it came in."""
    column = UtcTime()
    beijing = datetime(2026, 11, 22, 15, tzinfo=timezone(timedelta(hours=8)))
    stored = column.process_bind_param(beijing, DIALECT)
    assert stored is not None
    back = column.process_result_value(stored.replace(tzinfo=None), DIALECT)
    assert back == beijing
    assert back is not None
    assert back.tzinfo is UTC
    with pytest.raises(ValueError, match="no timezone"):
        column.process_bind_param(beijing.replace(tzinfo=None), DIALECT)


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
            with pytest.raises(LedgerUnavailableError, match="locked"):
                future.result(30)
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


def test_durable_settings_are_in_force(tmp_path: Path) -> None:
    """Write-ahead log and a full sync at every commit, on both engines."""
    for engine in open_database(tmp_path / "ledger.sqlite"):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        engine.dispose()


def test_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """And not touched; the message says what to do."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path, PROFILE):
        pass
    set_version(path, schema.SCHEMA_VERSION + 1)
    with pytest.raises(LedgerVersionError, match="Install the newer"):
        Ledger(path, PROFILE)
    set_version(path, schema.SCHEMA_VERSION)
    with Ledger(path, PROFILE) as ledger:
        assert ledger.counts() == {}


def set_version(path: Path, version: int) -> None:
    """Pretend."""
    connection = sqlite3.connect(path)
    connection.execute("UPDATE info SET value = ? WHERE key = 'schema_version'", (str(version),))
    connection.commit()
    connection.close()


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is not a database" * 500)
    with pytest.raises(LedgerUnavailableError, match="restore the file from a backup"):
        Ledger(path, PROFILE)
    assert path.read_bytes() == b"this is not a database" * 500


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    """A copy that was cut in the middle."""
    whole, cut = tmp_path / "whole.sqlite", tmp_path / "cut.sqlite"
    with Ledger(whole, PROFILE):
        pass
    cut.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(LedgerUnavailableError):
        Ledger(cut, PROFILE)


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """No tables are put into it."""
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.commit()
    with pytest.raises(LedgerUnavailableError, match="songs"):
        Ledger(path, PROFILE)
    names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert names == [("songs",)]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:9/db",
        "postgresql://u@127.0.0.1:9/db?password=hunter2",
        "postgresql://u:x@127.0.0.1:9/db?sslpassword=hunter2",
        "postgresql://u:pass@hunter2@127.0.0.1:9/db",
        "postgresql://u:pass/@hunter2@127.0.0.1:9/db",
        "mysql://u:pass@hunter2@127.0.0.1:9/db",
        "postgresql://u:pass@127.0.0.1:hunter2/db",
    ],
)
def test_no_part_of_a_password_is_told(url: str) -> None:
    """Wherever it stands in the URL, and however badly it is written."""
    with pytest.raises(LedgerUnavailableError) as refused:
        open_database(url)
    assert "hunter2" not in str(refused.value)
    assert "WAN_LEDGER_URL" in str(refused.value)


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file is in its place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailableError, match="writable"):
        Ledger(tmp_path / "file" / "ledger.sqlite", PROFILE)


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


OPENER = """
import sys
from pathlib import Path
from wan_pipeline.ledger.ledger import Ledger
sys.stdin.readline()
with Ledger(Path(sys.argv[1]), "emulator") as ledger:
    with ledger.owner("run"):
        pass
"""


def test_processes_that_create_the_ledger_at_once_all_succeed(tmp_path: Path) -> None:
    """Two runs may begin on a fresh folder at the same moment."""
    arguments = [sys.executable, "-c", OPENER, str(tmp_path / "data" / "ledger.sqlite")]
    openers = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    errors = [opener.communicate(timeout=60)[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 4, errors
