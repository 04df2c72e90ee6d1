"""The ledger as files that other tools read: three Parquet tables of one moment, or CSV.

Rows are streamed, so that the size of the ledger does not matter, and sorted, so that the same
ledger gives the same files on any database. The columns are described in `arrow`.
"""

from __future__ import annotations

import csv
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, TextIO

import sqlalchemy as sa
from filelock import FileLock, Timeout

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.arrow import EVENTS, IMAGES, PURCHASES, TABLES
from wan_pipeline.ledger.filters import RowFilter
from wan_pipeline.ledger.snapshot import Snapshot, snapshot
from wan_pipeline.prompts.tables import AtomicParquetWriter

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

    from wan_pipeline.ledger.arrow import ExportTable
    from wan_pipeline.ledger.reading import LedgerReader

__all__ = [
    "EVENTS",
    "IMAGES",
    "LAST_EVENT",
    "PURCHASES",
    "TABLES",
    "ExportSummary",
    "export_ledger",
    "export_lock",
    "export_snapshot",
    "write_csv",
]

LAST_EVENT = b"wan_pipeline.last_event"
"""Key in each file's metadata: which moment it shows. Files that belong together agree on it."""

LOCK_FILE = ".export.lock"
PATIENCE_S = 120.0  # an export of a million rows takes a sixth of it
CHUNK = 10_000  # rows held in memory, and rows of a Parquet row group
COLLATIONS = {"sqlite": "BINARY", "postgresql": "C"}  # by bytes, whatever the server's language


EVERYTHING = RowFilter()


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportSummary:
    """What was written.

    Attributes:
        purchases: rows.
        images: rows.
        events: rows.
        last_event: the moment that the files show.
        files: paths of the three files, by table.
    """

    purchases: int
    images: int
    events: int
    last_event: int
    files: dict[str, Path]


@contextmanager
def export_lock(folder: Path) -> Generator[None]:
    """Let no other process export into `folder`; to be held before the snapshot is taken.

    Else files of two moments could end up side by side, or old ones replace new ones.

    Raises:
        TimeoutError: another process does not come to its end.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / LOCK_FILE, timeout=PATIENCE_S)
    try:
        lock.acquire()
    except Timeout as error:
        raise TimeoutError(
            f"another process has been exporting into {folder} for {PATIENCE_S:g} s. Look whether"
            f" it hangs (it holds {lock.lock_file}), end it, then run again; nothing was written"
        ) from error
    try:
        yield
    finally:
        lock.release()


def export_ledger(
    reader: LedgerReader, folder: Path, only: RowFilter = EVERYTHING
) -> ExportSummary:
    """Write the three Parquet files, all of one moment, replacing older ones.

    Args:
        reader: the ledger.
        folder: where to; made if missing.
        only: which rows.

    Raises:
        LedgerUnavailableError: the database cannot be read.
        OSError: the disk refused, or another export hangs; the files that were there stay.
    """
    with export_lock(folder), snapshot(reader) as view:
        return export_snapshot(view, folder, only)


def export_snapshot(view: Snapshot, folder: Path, only: RowFilter = EVERYTHING) -> ExportSummary:
    """Write the three Parquet files of a snapshot, for who reads more of it than these.

    Args:
        view: taken while the caller holds `export_lock`.
        folder: where to.
        only: which rows.

    Raises:
        LedgerUnavailableError: the database cannot be read.
        OSError: the disk refused; the files that were there stay.
    """
    counts = dict.fromkeys(TABLES, 0)
    moment = {LAST_EVENT: str(view.last_event).encode()}
    with ExitStack() as stack:
        writers: list[AtomicParquetWriter] = []
        for name, what in TABLES.items():
            arrow = what.arrow.with_metadata(moment)
            writer = stack.enter_context(AtomicParquetWriter(folder / what.file, arrow))
            with _rows(view, what, only) as result:
                for rows in result.partitions():
                    columns = zip(*rows, strict=True)
                    writer.write_columns(dict(zip(arrow.names, columns, strict=True)))
                    counts[name] += len(rows)
            writer.finish()
            writers.append(writer)
        for writer in writers:
            writer.publish()
    return ExportSummary(
        **counts,
        last_event=view.last_event,
        files={name: folder / what.file for name, what in TABLES.items()},
    )


def write_csv(
    reader: LedgerReader, table: str, stream: TextIO, only: RowFilter = EVERYTHING
) -> int:
    """Write one table as CSV with a header; returns how many rows.

    Money is plain decimal text, times are ISO 8601 with their zone, what is not known is empty.

    Args:
        reader: the ledger.
        table: `purchases`, `images` or `events`.
        stream: opened with ``newline=""`` where it is a file.
        only: which rows.

    Raises:
        LedgerUnavailableError: the database cannot be read.
    """
    what = TABLES[table]
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(what.arrow.names)
    count = 0
    with snapshot(reader) as view, _rows(view, what, only) as result:
        for rows in result.partitions():
            writer.writerows([_plain(value) for value in row] for row in rows)
            count += len(rows)
    return count


def _rows(view: Snapshot, what: ExportTable, only: RowFilter) -> sa.Result[*tuple[Any, ...]]:
    """The table's rows in order, fetched in parts that fit into memory; to be closed."""
    source, bought = what.source, schema.purchases
    query = (
        sa.select(*(source.c[name] for name in what.arrow.names))
        .where(source.c.profile == view.profile)
        .order_by(*what.ordered_by(COLLATIONS[view.connection.dialect.name]))
    )
    conditions = only.conditions()
    if conditions and source is not bought:
        key = [source.c[name] == bought.c[name] for name in ("profile", "request_id", "attempt")]
        query = query.join_from(source, bought, sa.and_(*key))
    return view.connection.execute(query.where(*conditions).execution_options(yield_per=CHUNK))


def _plain(value: object) -> object:
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value.isoformat() if isinstance(value, datetime) else value
