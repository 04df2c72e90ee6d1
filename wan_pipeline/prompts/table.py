"""A prompt file to its two tables: ``prompts.parquet`` and ``rejects.parquet``.

The rules about more than one row live here: equal rows are one prompt, and one given id for
different prompts is nobody's id. Rows are validated once, streamed into an unnamed temporary file,
and copied from there without the duplicates, so memory does not grow with the text of the table.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.prompts.digests import Digests
from wan_pipeline.prompts.errors import NoUsableRowsError, UnreadablePromptFileError
from wan_pipeline.prompts.matrix.count import MatrixCount
from wan_pipeline.prompts.prompt import Rejection
from wan_pipeline.prompts.read import open_rows
from wan_pipeline.prompts.tables import PROMPTS, REJECTS, AtomicParquetWriter
from wan_pipeline.prompts.validate import AcceptedRow, validate_row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from wan_pipeline.prompts.chunk import Chunk
    from wan_pipeline.prompts.matrix.count import Ceiling
    from wan_pipeline.prompts.prompt import Prompt

__all__ = [
    "PROMPTS_FILE",
    "REJECTS_FILE",
    "PromptTableSummary",
    "build_prompt_table",
    "matrix_of",
    "rows_in",
]

PROMPTS_FILE = "prompts.parquet"
REJECTS_FILE = "rejects.parquet"
_NAMED_ROWS = 10
_MATRIX_NOTE = "wan_matrix"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTableSummary:
    """What became of a prompt file.

    Attributes:
        set_name: the prompt set.
        file: the prompt file.
        rows_read: data rows in the file.
        accepted: prompts in the table.
        rejected_rows: rows that break at least one rule.
        rejections: rows of the rejects table; one per broken rule.
        duplicates: rows that say the same as an earlier one.
        truncated: texts cut to their limit.
        data_version: hash of the accepted prompts that does not depend on the order of rows.
        columns: the columns carried along, sorted.
        matrix: what the rows were made of, where the file is a prompt matrix.
    """

    set_name: str
    file: Path
    rows_read: int
    accepted: int
    rejected_rows: int
    rejections: int
    duplicates: int
    truncated: int
    data_version: str
    columns: tuple[str, ...]
    matrix: MatrixCount | None = None


def build_prompt_table(
    source: Path,
    *,
    out_dir: Path,
    set_name: str,
    truncate: bool = False,
    ceiling: Ceiling | None = None,
) -> PromptTableSummary:
    """Validate `source` and write its prompts and rejects to `out_dir`, both or neither.

    Args:
        source: the prompt file.
        out_dir: folder of the two tables; made when it is missing.
        set_name: name of the prompt set, for messages.
        truncate: cut texts over their limit instead of rejecting the row.
        ceiling: how many prompts a matrix may make.

    Raises:
        PromptFileError: the file as a whole cannot be used; nothing is written.
        NoUsableRowsError: not one good row; the tables are written, the prompts one empty.
    """
    rows = open_rows(source, ceiling)
    out_dir.mkdir(parents=True, exist_ok=True)
    prompts_path, rejects_path = out_dir / PROMPTS_FILE, out_dir / REJECTS_FILE
    with (
        tempfile.TemporaryFile(dir=out_dir, prefix=".prompts.") as spool,
        AtomicParquetWriter(prompts_path, PROMPTS) as prompts,
        AtomicParquetWriter(rejects_path, REJECTS) as rejects,
    ):
        tally = _Tally()
        _validate(rows.chunks, source.name, spool, rejects, tally, truncate=truncate)
        plan = tally.sort_out()
        _copy(spool, plan, source.name, prompts, rejects)
        if rows.matrix is not None:
            prompts.note(_MATRIX_NOTE, rows.matrix.to_json())
        prompts.finish()
        rejects.finish()
        rejects.publish()
        prompts.publish()
    summary = PromptTableSummary(
        set_name=set_name,
        file=source,
        rows_read=tally.rows_read,
        accepted=int(plan.keep.sum()),
        rejected_rows=tally.rejected_rows + int(plan.conflict.sum()),
        rejections=tally.rejections + int(plan.conflict.sum()),
        duplicates=int((~plan.keep & ~plan.conflict).sum()),
        truncated=tally.truncated,
        data_version=tally.contents.combined(plan.keep),
        columns=tuple(sorted(tally.columns)),
        matrix=rows.matrix,
    )
    if not summary.accepted:
        raise NoUsableRowsError(set_name, summary.rows_read, rejects_path)
    return summary


def rows_in(table: Path) -> int:
    """How many rows one of the two tables has; no row is read.

    Raises:
        UnreadablePromptFileError: the table is missing or damaged.
    """
    return _metadata(table).num_rows


def matrix_of(prompts_parquet: Path) -> MatrixCount | None:
    """What the rows of a prompt table were made of, or None when it was no prompt matrix.

    Raises:
        UnreadablePromptFileError: the table is missing or damaged.
    """
    note = (_metadata(prompts_parquet).metadata or {}).get(_MATRIX_NOTE.encode())
    try:
        return None if note is None else MatrixCount.from_json(note)
    except ValueError as error:
        raise _unreadable(prompts_parquet) from error


def _metadata(table: Path) -> Any:
    try:
        return pq.read_metadata(table)
    except (pa.ArrowException, OSError) as error:
        raise _unreadable(table) from error


def _unreadable(table: Path) -> UnreadablePromptFileError:
    return UnreadablePromptFileError(
        table, "cannot be read as a table", "Plan the prompt set again"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Plan:
    """What to do with each valid row, decided when all are known.

    Attributes:
        keep: rows for the prompts table.
        conflict: rows whose given id also belongs to a different prompt.
        others: number of a group of conflicting rows to their row numbers in the file.
        groups: number of the id group of each row.
    """

    keep: NDArray[np.bool_]
    conflict: NDArray[np.bool_]
    others: dict[int, list[int]]
    groups: NDArray[np.int64]


@dataclass(slots=True)
class _Tally:
    """What is remembered of the rows: counters, and some bytes for each valid one."""

    ids: Digests = field(default_factory=Digests)
    contents: Digests = field(default_factory=Digests)
    id_given: bytearray = field(default_factory=bytearray)
    rows: list[NDArray[np.int64]] = field(default_factory=list["NDArray[np.int64]"])
    rows_read: int = 0
    rejected_rows: int = 0
    rejections: int = 0
    truncated: int = 0
    columns: set[str] = field(default_factory=set[str])

    def add(self, accepted: list[AcceptedRow]) -> None:
        for row in accepted:
            prompt = row.prompt
            self.ids.append(hashlib.sha256(prompt.prompt_id.encode()).digest())
            self.contents.append(prompt.content_digest())
            self.id_given.append(row.id_given)
            self.truncated += len(row.truncated)
        self.rows.append(np.array([row.prompt.row for row in accepted], dtype=np.int64))

    def sort_out(self) -> _Plan:
        """Decide about duplicates and conflicts; the order of rows changes nothing.

        Rows share a derived id when their texts are equal, and may differ in all else. A given id
        names one prompt: when rows with it differ, all of them are in conflict.
        """
        groups = self.ids.groups()
        first = self.contents.first_of_each()
        count = int(groups.max(initial=0)) + 1
        variants = np.bincount(groups[first], minlength=count)
        given = np.bincount(groups, weights=np.frombuffer(self.id_given, np.uint8), minlength=count)
        conflict = ((variants > 1) & (given > 0))[groups]
        rows = np.concatenate([np.empty(0, dtype=np.int64), *self.rows])
        others: dict[int, list[int]] = {}
        for index in np.flatnonzero(conflict):
            others.setdefault(int(groups[index]), []).append(int(rows[index]))
        return _Plan(keep=first & ~conflict, conflict=conflict, others=others, groups=groups)


def _validate(
    chunks: Iterator[Chunk],
    file: str,
    spool: Any,
    rejects: AtomicParquetWriter,
    tally: _Tally,
    *,
    truncate: bool,
) -> None:
    """Write valid rows to `spool` and the other ones to `rejects`."""
    with pa.ipc.new_stream(
        spool, PROMPTS, options=pa.ipc.IpcWriteOptions(compression="lz4")
    ) as out:
        for chunk in chunks:
            accepted: list[AcceptedRow] = []
            rejections = list(chunk.broken)
            for row in chunk.rows:
                if not row.extra.keys() <= tally.columns:
                    tally.columns.update(row.extra)
                result = validate_row(row, file=file, truncate=truncate)
                if isinstance(result, AcceptedRow):
                    accepted.append(result)
                else:
                    rejections.extend(result)
            tally.rows_read += len(chunk.rows) + len(chunk.broken)
            tally.rejected_rows += len(chunk.rows) + len(chunk.broken) - len(accepted)
            tally.rejections += len(rejections)
            tally.add(accepted)
            rejections.sort(key=lambda rejection: rejection.row)
            rejects.write_records(rejections)
            if accepted:
                out.write_batch(_batch([row.prompt for row in accepted]))


def _batch(prompts: list[Prompt]) -> Any:
    columns = {name: [getattr(prompt, name) for prompt in prompts] for name in PROMPTS.names}
    return pa.RecordBatch.from_pydict(columns, schema=PROMPTS)


def _copy(
    spool: Any, plan: _Plan, file: str, prompts: AtomicParquetWriter, rejects: AtomicParquetWriter
) -> None:
    """Copy the rows to keep to `prompts` and explain the conflicting ones in `rejects`."""
    spool.seek(0)
    start = 0
    with pa.ipc.open_stream(spool) as batches:
        for batch in batches:
            part = slice(start, start + batch.num_rows)
            prompts.write_batch(batch.filter(pa.array(plan.keep[part])))
            if plan.conflict[part].any():
                rejects.write_records(list(_conflicts(batch, plan, start, file)))
            start += batch.num_rows


def _conflicts(batch: Any, plan: _Plan, start: int, file: str) -> Iterator[Rejection]:
    ids: list[str] = batch.column("prompt_id").to_pylist()
    rows: list[int] = batch.column("row").to_pylist()
    for index, (prompt_id, row) in enumerate(zip(ids, rows, strict=True)):
        if plan.conflict[start + index]:
            others = plan.others[int(plan.groups[start + index])]
            yield Rejection(
                file=file,
                row=row,
                column="prompt_id",
                value=prompt_id,
                rule=f"a prompt_id names one prompt; {_name(row, others)} differ from this one",
                remedy="give each prompt an id of its own, or leave prompt_id empty",
            )


def _name(row: int, rows: list[int]) -> str:
    """The rows that share an id with `row`: "rows 3, 9 and 2 more"."""
    few = [str(other) for other in rows[: _NAMED_ROWS + 1] if other != row][:_NAMED_ROWS]
    more = len(rows) - 1 - len(few)
    listed = ", ".join(few) + (f" and {more} more" if more else "")
    return f"rows with the same id and other content ({listed})"
