"""The provider's own book: every task it accepted, on disk before the create is answered.

A task's whole future (start, end, outcome, price) is fixed at acceptance and stored, so its state
is a function of the clock alone and goes on while the server is down.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from wan_pipeline.emulator.contract import TaskContent
from wan_pipeline.emulator.faults import FaultKind
from wan_pipeline.emulator.plan import ImageFormat

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Bill", "Book", "Task", "TaskState", "money"]

TaskState = Literal["queued", "running", "completed", "failed"]

_FAILURES = frozenset(
    {FaultKind.TASK_FAILED, FaultKind.TASK_FAILED_BILLED, FaultKind.MODERATION_FAILED}
)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS tasks (
    number INTEGER PRIMARY KEY,
    task_id TEXT NOT NULL UNIQUE,
    digest TEXT NOT NULL,
    occurrence INTEGER NOT NULL,
    content TEXT NOT NULL,
    accepted_at REAL NOT NULL,
    start_at REAL NOT NULL,
    end_at REAL,
    expires_at REAL,
    outcome TEXT,
    amount INTEGER NOT NULL,
    images INTEGER NOT NULL,
    billed INTEGER NOT NULL,
    price_usd TEXT NOT NULL,
    image_format TEXT NOT NULL,
    model_revision INTEGER NOT NULL DEFAULT 0,
    UNIQUE (digest, occurrence)
);
CREATE INDEX IF NOT EXISTS tasks_by_end ON tasks (end_at);
CREATE TABLE IF NOT EXISTS counters (name TEXT PRIMARY KEY, value INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS secrets (name TEXT PRIMARY KEY, value BLOB NOT NULL);
"""
_COLUMNS = (
    "task_id, digest, occurrence, content, accepted_at, start_at, end_at, expires_at, outcome, "
    "amount, images, billed, price_usd, image_format, model_revision"
)
_INSERT = f"INSERT INTO tasks ({_COLUMNS}) VALUES ({', '.join('?' * 15)})"  # noqa: S608  constants


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One accepted create call with its whole future.

    Attributes:
        occurrence: how many tasks with the same content came before it.
        accepted_at, start_at: seconds since the epoch.
        end_at: likewise; None for a task that never ends.
        expires_at: when its URLs die; None for a task that never ends.
        outcome: the fault this task carries, if any.
        amount: how many images that fault concerns.
        images: entries with an image of their own in its output.
        billed: images billed once it has ended.
        price_usd: price of one of them.
        model_revision: of the model that paints them.
    """

    task_id: str
    content: TaskContent
    digest: str
    occurrence: int
    accepted_at: float
    start_at: float
    end_at: float | None
    expires_at: float | None
    outcome: FaultKind | None
    amount: int
    images: int
    billed: int
    price_usd: Decimal
    image_format: ImageFormat
    model_revision: int = 0

    @property
    def seed(self) -> int:
        """The seed used: the caller's, or else one of the provider's choice."""
        if self.content.seed is not None:
            return self.content.seed
        return int(self.digest[:7], 16) + self.occurrence

    @property
    def cost_usd(self) -> Decimal:
        """What the task costs once it has ended."""
        return self.price_usd * self.billed

    def state(self, now: float) -> TaskState:
        """The state at a moment, in seconds since the epoch."""
        if now < self.start_at:
            return "queued"
        if self.end_at is None or now < self.end_at:
            return "running"
        return "failed" if self.outcome in _FAILURES else "completed"

    def progress(self, now: float) -> float:
        """Share of its running time that has passed, 0 to 1; a stuck task stays below 1."""
        if now <= self.start_at:
            return 0.0
        if self.end_at is None:
            return 0.99
        if now >= self.end_at:
            return 1.0
        return round((now - self.start_at) / (self.end_at - self.start_at), 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What the account owes by now.

    ``images`` counts what was made; ``usd`` is exact.
    """

    images: int
    usd: Decimal
    tasks: dict[TaskState, int]
    creates_received: int
    creates_accepted: int
    refused: int


def money(usd: Decimal) -> str:
    """An amount as plain text with all of its digits, two decimals at least."""
    cents = usd.quantize(Decimal("0.01"))
    return str(cents) if cents == usd else f"{usd.normalize():f}"


class Book:
    """Tasks and counters in one SQLite file. Used from one thread at a time."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # NORMAL survives the death of the process, which is what the emulator is tested for; it
        # does not promise to survive the death of the machine.
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(_SCHEMA)
        self._add_revision()
        self._db.execute(
            "INSERT OR IGNORE INTO secrets VALUES ('signing', ?)", (secrets.token_bytes(32),)
        )
        row = self._db.execute("SELECT value FROM secrets WHERE name = 'signing'").fetchone()
        self.secret: bytes = row[0]
        self._committed_usd = sum(
            (Decimal(price) * units for price, units in self._units()), Decimal(0)
        )

    def _add_revision(self) -> None:
        """A book of before there were revisions gets the column; its tasks are of the first one."""
        columns = self._db.execute("SELECT name FROM pragma_table_info('tasks')").fetchall()
        if ("model_revision",) not in columns:
            self._db.execute(
                "ALTER TABLE tasks ADD COLUMN model_revision INTEGER NOT NULL DEFAULT 0"
            )

    @property
    def committed_usd(self) -> Decimal:
        """Billed plus what the unfinished tasks are going to cost."""
        return self._committed_usd

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def count(self, name: str) -> None:
        """Add one to a counter."""
        self._db.execute(
            "INSERT INTO counters VALUES (?, 1) ON CONFLICT DO UPDATE SET value = value + 1",
            (name,),
        )

    def occurrences(self, digest: str) -> int:
        """How many tasks have this content."""
        query = "SELECT MAX(occurrence) FROM tasks WHERE digest = ?"
        last = self._db.execute(query, (digest,)).fetchone()[0]
        return 0 if last is None else int(last) + 1

    def add(self, task: Task) -> None:
        """Write an accepted task; it is on disk when this returns."""
        self._db.execute(
            _INSERT,
            (
                task.task_id,
                task.digest,
                task.occurrence,
                json.dumps(asdict(task.content)),
                task.accepted_at,
                task.start_at,
                task.end_at,
                task.expires_at,
                task.outcome,
                task.amount,
                task.images,
                task.billed,
                str(task.price_usd),
                task.image_format,
                task.model_revision,
            ),
        )
        self._committed_usd += task.cost_usd

    def get(self, task_id: str) -> Task | None:
        """One task, or None."""
        query = f"SELECT {_COLUMNS} FROM tasks WHERE task_id = ?"  # noqa: S608  constants
        row = self._db.execute(query, (task_id,)).fetchone()
        return None if row is None else _task(row)

    def tasks(self) -> Iterator[Task]:
        """Every task, in the order of acceptance."""
        query = f"SELECT {_COLUMNS} FROM tasks ORDER BY number"  # noqa: S608  constants
        return map(_task, self._db.execute(query))

    def latest_ends(self, count: int) -> list[float]:
        """When the last tasks to end do so, in seconds since the epoch."""
        query = "SELECT end_at FROM tasks WHERE end_at IS NOT NULL ORDER BY end_at DESC LIMIT ?"
        return [row[0] for row in self._db.execute(query, (count,))]

    def bill(self, now: float) -> Bill:
        """The bill at a moment, tasks that ended while the server was down included."""
        counters: dict[str, int] = dict(self._db.execute("SELECT name, value FROM counters"))
        received, refused = counters.get("received", 0), counters.get("refused", 0)
        units = list(self._units("WHERE end_at <= ?", now))
        failures = ", ".join(f"'{kind}'" for kind in sorted(_FAILURES))
        query = (
            "SELECT CASE WHEN start_at > :now THEN 'queued' "  # noqa: S608  constants
            "WHEN end_at IS NULL OR end_at > :now THEN 'running' "
            f"WHEN outcome IN ({failures}) THEN 'failed' ELSE 'completed' END AS state, "
            "COUNT(*), COALESCE(SUM(images), 0) FROM tasks GROUP BY state"
        )
        rows = self._db.execute(query, {"now": now}).fetchall()
        states: dict[TaskState, int] = dict.fromkeys(
            ("queued", "running", "completed", "failed"), 0
        )
        states.update({row[0]: row[1] for row in rows})
        return Bill(
            images=sum(row[2] for row in rows if row[0] == "completed"),
            usd=sum((Decimal(price) * count for price, count in units), Decimal(0)),
            tasks=states,
            creates_received=received,
            creates_accepted=sum(states.values()),
            refused=refused,
        )

    def _units(self, where: str = "", *values: float) -> Iterator[tuple[str, int]]:
        query = f"SELECT price_usd, SUM(billed) FROM tasks {where} GROUP BY price_usd"  # noqa: S608
        yield from self._db.execute(query, values)


def _task(row: tuple[Any, ...]) -> Task:
    return Task(
        task_id=row[0],
        digest=row[1],
        occurrence=row[2],
        content=TaskContent(**json.loads(row[3])),
        accepted_at=row[4],
        start_at=row[5],
        end_at=row[6],
        expires_at=row[7],
        outcome=None if row[8] is None else FaultKind(row[8]),
        amount=row[9],
        images=row[10],
        billed=row[11],
        price_usd=Decimal(row[12]),
        image_format=ImageFormat(row[13]),
        model_revision=row[14],
    )
