"""The exported ledger: every row, exactly, of one moment, whole files or none."""

from __future__ import annotations

import csv
import io
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa
from filelock import FileLock

from wan_pipeline.ledger import export
from wan_pipeline.ledger.columns import UtcTime
from wan_pipeline.ledger.export import (
    LAST_EVENT,
    TABLES,
    export_ledger,
    export_lock,
    export_snapshot,
    write_csv,
)
from wan_pipeline.ledger.filters import RowFilter
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.prompts.tables import AtomicParquetWriter
from wan_pipeline.temp_files import TEMP_PREFIX
from wan_pipeline_tests.ledger.entries import MORNING, Book, event_row, image_row, purchase_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ODD = 'line one\nline "two", 水墨画\t= cmd | \N{REPLACEMENT CHARACTER}'
PURCHASES = [
    purchase_row("b" * 64, cost_usd=Decimal("0.000000001"), error_message=ODD, discount="0.8"),
    purchase_row("a" * 64, state="unknown", attempt=2, bought_by_set="水墨画"),
    purchase_row("a" * 64, state="released", reserved_usd=Decimal(0), cost_usd=None),
    purchase_row("c" * 64, price_usd=Decimal("123456789.987654321"), cost_usd=Decimal("1E+2")),
]
IMAGES = [
    image_row("b" * 64, 1, state="damaged", path=None, bytes=None, problem="truncated"),
    image_row("b" * 64, 0),
]
EVENTS = [event_row("b" * 64), event_row("a" * 64, to_state="released", who="Ana", detail=ODD)]


@pytest.fixture
def book(where: Path | str) -> Iterator[Book]:
    """A ledger to write into, on each database."""
    with Book(where) as book:
        yield book


def rows_of(folder: Path, table: str) -> list[dict[str, Any]]:
    """What is in an exported file."""
    return pq.read_table(folder / TABLES[table].file).to_pylist()


def test_every_row_arrives_exactly(book: Book, tmp_path: Path) -> None:
    """Money to the nano-dollar, times with their zone, foreign words, and what is not known."""
    book.add(PURCHASES, IMAGES, EVENTS)
    summary = export_ledger(book.reader, tmp_path / "out")
    assert (summary.purchases, summary.images, summary.events) == (4, 2, 2)
    by_key = sorted(PURCHASES, key=lambda row: (row["request_id"], row["attempt"]))
    assert rows_of(tmp_path / "out", "purchases") == by_key
    by_index = sorted(IMAGES, key=lambda row: row["image_index"])
    assert rows_of(tmp_path / "out", "images") == by_index
    events = rows_of(tmp_path / "out", "events")
    assert [{**row, "seq": None} for row in events] == [{**row, "seq": None} for row in EVENTS]
    assert [row["seq"] for row in events] == sorted(row["seq"] for row in events)


def test_only_the_profiles_own_rows(book: Book, tmp_path: Path) -> None:
    """Another account in the same database is nobody's business."""
    foreign = {"profile": "vtrix"}
    book.add(
        [purchase_row(), purchase_row("x", **foreign)],
        [image_row(), image_row("x", **foreign)],
        [event_row(), event_row("x", **foreign)],
    )
    export_ledger(book.reader, tmp_path / "out")
    for table in TABLES:
        assert {row["profile"] for row in rows_of(tmp_path / "out", table)} == {"emulator"}


def test_nothing_bought_yet_is_three_empty_tables(book: Book, tmp_path: Path) -> None:
    """Readable, with all columns and no row."""
    summary = export_ledger(book.reader, tmp_path / "out")
    assert (summary.purchases, summary.images, summary.events, summary.last_event) == (0, 0, 0, 0)
    for name, table in TABLES.items():
        assert pq.read_table(summary.files[name]).schema.equals(table.arrow)


def test_tables_of_any_size_are_written_in_parts(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is lost or doubled where one part ends and the next begins."""
    monkeypatch.setattr(export, "CHUNK", 3)
    ids = [f"{number:064x}" for number in range(10)]
    book.add(map(purchase_row, ids), map(image_row, ids), map(event_row, ids))
    export_ledger(book.reader, tmp_path / "out")
    for table in TABLES:
        assert [row["request_id"] for row in rows_of(tmp_path / "out", table)] == ids
    assert pq.ParquetFile(tmp_path / "out" / "purchases.parquet").metadata.num_row_groups == 4


def test_all_files_show_one_moment_whoever_writes_meanwhile(book: Book, tmp_path: Path) -> None:
    """A purchase that is committed after the snapshot began is in none of the three files."""
    book.add([purchase_row("r1")], [image_row("r1")], [event_row("r1")])
    with snapshot(book.reader) as view:
        book.add([purchase_row("r2")], [image_row("r2")], [event_row("r2")])
        summary = export_snapshot(view, tmp_path / "out")
    assert (summary.purchases, summary.images, summary.events) == (1, 1, 1)
    for table in TABLES:
        assert [row["request_id"] for row in rows_of(tmp_path / "out", table)] == ["r1"]
        assert _moment(tmp_path / "out", table) == summary.last_event
    newer = export_ledger(book.reader, tmp_path / "out")
    assert newer.purchases == 2
    assert newer.last_event > summary.last_event
    assert {_moment(tmp_path / "out", table) for table in TABLES} == {newer.last_event}


def test_the_same_ledger_gives_the_same_bytes(book: Book, tmp_path: Path) -> None:
    """Whatever the order in which rows were written, and however often it is exported."""
    names = ["f", "aa", "0", "ab", "9"]
    book.add([purchase_row(name) for name in names], events=[event_row()])
    first = export_ledger(book.reader, tmp_path / "first")
    again = export_ledger(book.reader, tmp_path / "again")
    for table in TABLES:
        assert first.files[table].read_bytes() == again.files[table].read_bytes()
    written = [row["request_id"] for row in rows_of(tmp_path / "first", "purchases")]
    assert written == sorted(names)


@pytest.mark.postgres
def test_the_servers_language_does_not_matter(postgres_url: str, tmp_path: Path) -> None:
    """In Danish `aa` is the last letter, also of a hash."""
    names = ["f", "aa", "0", "ab", "9"]
    with Book(postgres_url) as book:
        book.add([purchase_row(name) for name in names])
        with book.engine.begin() as connection:
            for table in ("purchases", "images", "events"):
                connection.exec_driver_sql(
                    f'ALTER TABLE {table} ALTER COLUMN request_id TYPE text COLLATE "da-x-icu"'
                )
            query = "SELECT request_id FROM purchases ORDER BY request_id"
            assert connection.exec_driver_sql(query).scalars().all()[-1] == "aa"
        export_ledger(book.reader, tmp_path)
    assert [row["request_id"] for row in rows_of(tmp_path, "purchases")] == sorted(names)


@pytest.mark.parametrize("failing", ["write_columns", "finish"])
def test_a_full_disk_leaves_the_old_files(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: str
) -> None:
    """Not one of the three is replaced when one cannot be written, and nothing is left over."""
    out = tmp_path / "out"
    book.add([purchase_row("r1")], [image_row("r1")], [event_row("r1")])
    old = {path: path.read_bytes() for path in export_ledger(book.reader, out).files.values()}
    book.add([purchase_row("r2")], [image_row("r2")], [event_row("r2")])
    real = getattr(AtomicParquetWriter, failing)
    calls: list[object] = []

    def fail_on_the_third(self: AtomicParquetWriter, *args: object) -> None:
        calls.append(self)
        if len(calls) == 3:
            raise OSError(28, "No space left on device")
        real(self, *args)

    monkeypatch.setattr(AtomicParquetWriter, failing, fail_on_the_third)
    with pytest.raises(OSError, match="No space left"):
        export_ledger(book.reader, out)
    assert {path: path.read_bytes() for path in old} == old
    assert [path.name for path in out.iterdir() if path.name.startswith(TEMP_PREFIX)] == []


def test_exports_into_one_folder_wait_for_each_other(
    book: Book, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second one begins when the first has ended; and says so when that does not happen."""
    book.add([purchase_row()])
    out, done = tmp_path / "out", threading.Event()

    def second() -> None:
        export_ledger(book.reader, out)
        done.set()

    with export_lock(out):
        waiting = threading.Thread(target=second)
        waiting.start()
        assert not done.wait(0.3)
        assert not (out / "purchases.parquet").exists()
    waiting.join(30)
    assert done.is_set()

    monkeypatch.setattr(export, "PATIENCE_S", 0.05)
    with (
        FileLock(out / export.LOCK_FILE),
        pytest.raises(TimeoutError, match="another process") as told,
    ):
        export_ledger(book.reader, out)
    assert str(out) in str(told.value)


# --- the schemas ---


@pytest.mark.parametrize("name", TABLES)
def test_the_schema_is_the_databases(name: str) -> None:
    """Every column of the table, in its order but for events' keys, with the same nullability."""
    table = TABLES[name]
    assert set(table.arrow.names) == set(table.source.c.keys())
    for field in table.arrow:
        column = table.source.c[field.name]
        assert field.nullable == column.nullable, field.name
        assert _arrow_kind(column) == str(field.type), field.name


@pytest.mark.parametrize("name", TABLES)
def test_every_column_is_explained(name: str) -> None:
    """In the file itself, too."""
    for field in TABLES[name].arrow:
        assert len((field.metadata or {})[b"description"].decode().split()) >= 1, field.name


def _arrow_kind(column: sa.Column[Any]) -> str:
    if type(column.type).__name__ == "Usd":
        return "decimal128(18, 9)"
    if isinstance(column.type, UtcTime):
        return "timestamp[us, tz=UTC]"
    if isinstance(column.type, sa.BigInteger):
        return "int64"
    return "int32" if isinstance(column.type, sa.Integer) else "string"


def _moment(folder: Path, table: str) -> int:
    return int(pq.read_schema(folder / TABLES[table].file).metadata[LAST_EVENT])


# --- filters ---

BEGAN = [MORNING + timedelta(days=day) for day in range(4)]
FILTERED = [
    purchase_row("a1", bought_by_set="kites", created_at=BEGAN[0]),
    purchase_row("a2", bought_by_set="tea", created_at=BEGAN[1], state="unknown"),
    purchase_row("b%", bought_by_set="tea", created_at=BEGAN[2]),
    purchase_row("bb", bought_by_set="kites", created_at=BEGAN[3], state="failed"),
]


@pytest.mark.parametrize(
    ("only", "expected"),
    [
        (RowFilter(), ["a1", "a2", "b%", "bb"]),
        (RowFilter(states=["unknown", "failed"]), ["a2", "bb"]),
        (RowFilter(states=[]), []),
        (RowFilter(prompt_sets=["tea"]), ["a2", "b%"]),
        (RowFilter(requests=["a"]), ["a1", "a2"]),
        (RowFilter(requests=["b%"]), ["b%"]),
        (RowFilter(requests=["a1", "bb"]), ["a1", "bb"]),
        (RowFilter(requests=[]), []),
        (RowFilter(since=BEGAN[1]), ["a2", "b%", "bb"]),
        (RowFilter(until=BEGAN[1]), ["a1"]),
        (RowFilter(prompt_sets=["tea"], since=BEGAN[2]), ["b%"]),
    ],
)
def test_filters(book: Book, tmp_path: Path, only: RowFilter, expected: list[str]) -> None:
    """They combine, and images and events follow their purchase."""
    ids = [row["request_id"] for row in FILTERED]
    book.add(FILTERED, map(image_row, ids), map(event_row, ids))
    export_ledger(book.reader, tmp_path / "out", only)
    for table in TABLES:
        assert [row["request_id"] for row in rows_of(tmp_path / "out", table)] == expected


# --- CSV ---


def test_csv_says_the_same_as_parquet(book: Book, tmp_path: Path) -> None:
    """Read back by the rules of the format, every value is the same."""
    book.add(PURCHASES, IMAGES, EVENTS)
    export_ledger(book.reader, tmp_path / "out")
    for name, table in TABLES.items():
        stream = io.StringIO(newline="")
        count = write_csv(book.reader, name, stream)
        found = list(csv.DictReader(io.StringIO(stream.getvalue(), newline="")))
        assert count == len(found)
        assert list(found[0]) == table.arrow.names
        read = [
            {field.name: _parsed(row[field.name], field) for field in table.arrow} for row in found
        ]
        assert read == rows_of(tmp_path / "out", name)


def test_csv_is_plain(book: Book) -> None:
    """No exponent, no local time, nothing where nothing is known."""
    book.add([purchase_row(cost_usd=Decimal("0.000000001"), reserved_usd=Decimal("1E+2"))])
    stream = io.StringIO(newline="")
    write_csv(book.reader, "purchases", stream, RowFilter(states=["stored"]))
    (row,) = csv.DictReader(io.StringIO(stream.getvalue(), newline=""))
    assert (row["cost_usd"], row["reserved_usd"], row["discount"]) == ("0.000000001", "100", "")
    assert row["created_at"] == "2026-11-22T07:28:00+00:00"


def _parsed(text: str, field: pa.Field) -> object:
    if not text:
        return None
    if pa.types.is_decimal(field.type):
        return Decimal(text)
    if pa.types.is_timestamp(field.type):
        return datetime.fromisoformat(text).astimezone(UTC)
    return int(text) if pa.types.is_integer(field.type) else text
