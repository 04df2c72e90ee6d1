"""A ledger of an older version is brought up to date on open: whole, exact, or not at all.

Version 1 was SQLite only, so there is no such ledger on PostgreSQL to be migrated.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy as sa

from wan_pipeline.ledger import migrations, schema
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.errors import BudgetExceededError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.records import PurchaseKey
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline_tests.ledger.conftest import PROFILE, FakeTime, intention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

VERSION_1 = """
CREATE TABLE events (
    seq INTEGER NOT NULL, at DATETIME NOT NULL, profile TEXT NOT NULL, request_id TEXT NOT NULL,
    attempt INTEGER NOT NULL, image_index INTEGER, from_state TEXT, to_state TEXT NOT NULL,
    owner_id TEXT, detail TEXT, PRIMARY KEY (seq)
);
CREATE INDEX events_by_request ON events (profile, request_id);
CREATE TABLE images (
    profile TEXT NOT NULL, request_id TEXT NOT NULL, attempt INTEGER NOT NULL,
    image_index INTEGER NOT NULL, state TEXT NOT NULL, url TEXT NOT NULL,
    url_expires_at DATETIME NOT NULL, job_id TEXT, image_id TEXT, path TEXT, format TEXT,
    bytes BIGINT, width INTEGER, height INTEGER, problem TEXT, stored_at DATETIME,
    PRIMARY KEY (profile, request_id, attempt, image_index)
);
CREATE TABLE info ("key" TEXT NOT NULL, value TEXT NOT NULL, PRIMARY KEY ("key"));
CREATE TABLE owners (
    owner_id TEXT NOT NULL, run_id TEXT NOT NULL, machine TEXT NOT NULL, pid INTEGER NOT NULL,
    process_started FLOAT NOT NULL, lease_expires_at DATETIME NOT NULL, PRIMARY KEY (owner_id)
);
CREATE TABLE purchases (
    profile TEXT NOT NULL, request_id TEXT NOT NULL, attempt INTEGER NOT NULL, state TEXT NOT NULL,
    owner_id TEXT, request TEXT NOT NULL, n INTEGER NOT NULL, bought_by_set TEXT NOT NULL,
    run_id TEXT NOT NULL, code_version TEXT NOT NULL, dialect TEXT NOT NULL, form TEXT,
    price_usd BIGINT NOT NULL, reserved_usd BIGINT NOT NULL, cost_usd BIGINT, cost_source TEXT,
    discount TEXT, task_id TEXT, created_at DATETIME NOT NULL, submitted_at DATETIME,
    completed_at DATETIME, deadline_at DATETIME, error_code TEXT, error_message TEXT,
    error_kind TEXT, actual_prompt TEXT, provider_metadata TEXT, final_answer TEXT,
    PRIMARY KEY (profile, request_id, attempt)
);
CREATE INDEX purchases_by_task ON purchases (profile, task_id);
CREATE INDEX purchases_by_state ON purchases (profile, state);
INSERT INTO info VALUES ('schema_version', '1'), ('form:vtrix:https://h', 'wrapped');
"""
# state, reserved and cost in nano-dollars
MONEY = {
    "planned": (0, None),
    "intent": (30_000_000, None),
    "submitted": (60_000_000, None),
    "succeeded": (0, 30_000_001),
    "stored": (0, 30_000_000),
    "refused": (0, None),
    "failed": (0, 10_000_000),
    "unknown": (30_000_000, None),
    "expired": (90_000_000, None),
}
DAYS = ("2026-11-20 23:59:59.999999", "2026-11-21 00:00:00.000000", "2026-11-21 12:00:00.500000")
PURCHASE = """
INSERT INTO purchases (profile, request_id, attempt, state, owner_id, request, n, bought_by_set,
    run_id, code_version, dialect, price_usd, reserved_usd, cost_usd, task_id, created_at)
VALUES (?, ?, 1, ?, 'gone', '{}', 2, ?, ?, '1', 'gateway', 30000000, ?, ?, ?, ?)
"""


def purchases() -> Iterator[tuple[Any, ...]]:
    """Every state under two profiles, in two sets, three runs and two days."""
    number = 0
    for profile in (PROFILE, "another"):
        for state, (reserved, cost) in MONEY.items():
            for created_at in DAYS:
                number += 1
                where = (f"set {number % 2}", f"run {number % 3}")
                task = f"task {number}" if state not in ("planned", "intent") else None
                yield (profile, f"r{number}", state, *where, reserved, cost, task, created_at)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A ledger of version 1."""
    path = tmp_path / "ledger.sqlite"
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.executescript(VERSION_1)
        connection.executemany(PURCHASE, purchases())
        connection.execute(
            "INSERT INTO images VALUES (?, 'r13', 1, 0, 'stored', 'https://h/i', ?, 'job', 'i',"
            " 'images/aa/i.png', 'png', 5, 1280, 1280, NULL, ?)",
            (PROFILE, DAYS[2], DAYS[2]),
        )
        connection.execute(
            "INSERT INTO events VALUES (7, ?, ?, 'r13', 1, NULL, 'succeeded', 'stored', 'o', 'x')",
            (DAYS[2], PROFILE),
        )
    return path


def dump(path: Path, *tables: str) -> dict[str, list[dict[str, Any]]]:
    """Rows of tables by column name, in the order of their keys."""
    with closing(sqlite3.connect(path)) as connection:
        connection.row_factory = sqlite3.Row
        return {
            table: [dict(row) for row in connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2")]
            for table in tables
        }


def version(path: Path) -> str:
    """What the file says of itself."""
    with closing(sqlite3.connect(path)) as connection:
        query = "SELECT value FROM info WHERE key = 'schema_version'"
        (found,) = connection.execute(query).fetchone()
        return str(found)


def test_migration_loses_nothing(old: Path) -> None:
    """Every row of before is there, as it was; the history has room for who decided."""
    tables = ("purchases", "images", "owners")
    before, events = dump(old, *tables), dump(old, "events")["events"]
    with Ledger(old, PROFILE) as ledger:
        assert ledger.recall("form:vtrix:https://h") == "wrapped"
        assert sum(ledger.counts().values()) == len(MONEY) * len(DAYS)
    assert version(old) == str(schema.SCHEMA_VERSION) == "3"
    assert dump(old, *tables) == before
    assert dump(old, "events")["events"] == [{**event, "who": None} for event in events]


@pytest.mark.parametrize("profile", [PROFILE, "another"])
def test_spending_is_what_the_purchases_say(old: Path, profile: str) -> None:
    """In all, per day, per set and per run, to the nano-dollar."""
    rows = [row for row in purchases() if row[0] == profile]

    def total(position: int, value: str) -> Decimal:
        return sum(
            (
                Decimal(row[5] + (row[6] or 0)).scaleb(-9)
                for row in rows
                if str(row[position]).startswith(value)
            ),
            Decimal(0),
        )

    with Ledger(old, profile) as ledger:
        assert ledger.committed() == total(0, profile) == ledger.spent() + ledger.reserved()
        for day in ("2026-11-20", "2026-11-21"):
            assert ledger.committed(day=day) == total(8, day) > 0
        for prompt_set in ("set 0", "set 1"):
            assert ledger.committed(prompt_set=prompt_set) == total(3, prompt_set) > 0
        for run_id in ("run 0", "run 1", "run 2"):
            assert ledger.committed(run_id=run_id) == total(4, run_id) > 0


def test_second_open_does_nothing(old: Path) -> None:
    """Sums are made once, not twice."""
    with Ledger(old, PROFILE):
        pass
    before = content(old)
    with Ledger(old, PROFILE):
        pass
    assert content(old) == before


async def test_migrated_ledger_goes_on(old: Path) -> None:
    """Money moves on from the sums, old rows are taken up, caps hold."""
    time = FakeTime()
    time.now = datetime(2026, 11, 21, 13, tzinfo=UTC)
    with Ledger(old, PROFILE, now=time) as ledger, ledger.owner("run 0") as owner:
        before = ledger.committed()
        taken = await ledger.take_over(owner)
        assert {purchase.state for purchase in taken} == {
            PurchaseState.UNKNOWN,
            PurchaseState.SUBMITTED,
            PurchaseState.SUCCEEDED,
        }
        assert ledger.committed() == before
        submitted = next(each for each in taken if each.state is PurchaseState.SUBMITTED)
        await ledger.succeeded(
            submitted.key,
            owner,
            links=[("https://h/i", "job")],
            url_expires_at=time() + timedelta(hours=1),
            cost_usd=Decimal("0.05"),
            cost_source="reported",
        )
        assert ledger.committed() == before - Decimal("0.01")
        with pytest.raises(BudgetExceededError):
            await ledger.intend(intention("new", caps=Caps(total=before)), owner=owner)
        wanted = intention("new", caps=Caps(total=before + Decimal("0.02")))
        assert isinstance(await ledger.intend(wanted, owner=owner), PurchaseKey)
        assert ledger.committed() == ledger.spent() + ledger.reserved()


def test_migrated_schema_is_a_fresh_one(old: Path, tmp_path: Path) -> None:
    """Tables, columns in their order, types, nulls, keys and indexes."""
    fresh = tmp_path / "fresh.sqlite"
    for path in (old, fresh):
        with Ledger(path, PROFILE):
            pass
    assert outline(old) == outline(fresh)


def outline(path: Path) -> dict[str, Any]:
    """The schema without its layout."""
    engine = sa.create_engine(f"sqlite:///{path}", poolclass=sa.NullPool)
    inspector = sa.inspect(engine)
    found: dict[str, Any] = {}
    for table in inspector.get_table_names():
        indexes = inspector.get_indexes(table)
        found[table] = {
            "columns": [
                (column["name"], str(column["type"]), column["nullable"])
                for column in inspector.get_columns(table)
            ],
            "key": inspector.get_pk_constraint(table)["constrained_columns"],
            "indexes": sorted((index["name"], index["column_names"]) for index in indexes),
        }
    with closing(sqlite3.connect(path)) as connection:
        statements = connection.execute("SELECT name, sql FROM sqlite_master WHERE type = 'table'")
        found["counters"] = sorted(name for name, sql in statements if "AUTOINCREMENT" in str(sql))
    return found


def test_error_in_the_middle_leaves_version_1(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All steps and the version are one transaction, which the next open makes."""
    before = content(old)
    steps = dict(migrations._STEPS)

    def fails_late(connection: sa.Connection) -> None:
        steps[1](connection)
        raise RuntimeError("power cut")

    with monkeypatch.context() as patched:
        patched.setitem(migrations._STEPS, 1, fails_late)
        with pytest.raises(RuntimeError, match="power cut"):
            Ledger(old, PROFILE)
    assert content(old) == before
    assert version(old) == "1"
    with Ledger(old, PROFILE) as ledger:
        assert ledger.committed() == ledger.spent() + ledger.reserved() > 0


KILLED = """
import os, signal, sys
from pathlib import Path
from wan_pipeline.ledger import migrations
from wan_pipeline.ledger.ledger import Ledger

steps = dict(migrations._STEPS)

def dies_late(connection):
    steps[1](connection)
    os.kill(os.getpid(), signal.SIGKILL)

migrations._STEPS[1] = dies_late
Ledger(Path(sys.argv[1]), "emulator")
"""


def test_kill_in_the_middle_leaves_version_1(old: Path) -> None:
    """The same by kill -9, with the file as the process left it."""
    before = content(old)
    killed = subprocess.run([sys.executable, "-c", KILLED, str(old)], check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert content(old) == before
    with Ledger(old, PROFILE) as ledger:
        assert ledger.committed() == ledger.spent() + ledger.reserved() > 0
    assert version(old) == str(schema.SCHEMA_VERSION)


def content(path: Path) -> list[str]:
    """All of it as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())
