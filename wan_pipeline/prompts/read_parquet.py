"""Parquet: the columns as they are, in batches, values with their own types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.prompts.chunk import Chunk
from wan_pipeline.prompts.columns import Columns
from wan_pipeline.prompts.errors import EmptyPromptFileError, UnreadablePromptFileError
from wan_pipeline.prompts.prompt import RawRow

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["read_parquet"]

_BATCH_ROWS = 2048


def read_parquet(file: Path) -> Iterator[Chunk]:
    """Yield the rows of a Parquet file.

    Raises:
        PromptFileError: see `wan_pipeline.prompts.errors`.
    """
    try:
        if file.stat().st_size == 0:
            raise EmptyPromptFileError(file, "the file is empty", "Write it again")
        with pq.ParquetFile(file) as table:
            columns = Columns.from_header(table.schema_arrow.names, file=file)
            row = 0
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                yield Chunk(rows=_rows(batch, columns, row), broken=[])
                row += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise UnreadablePromptFileError(
            file,
            f"cannot be read as Parquet ({str(error).splitlines()[0]})",
            "Check that it is a complete Parquet file and that you may read it",
        ) from error


def _rows(batch: Any, columns: Columns, before: int) -> list[RawRow]:
    cells = [_values(column) for column in batch.columns]
    return [
        RawRow(
            row=before + index + 1,
            known={name: cells[position][index] for name, position in columns.known.items()},
            extra={name: cells[position][index] for name, position in columns.extra.items()},
        )
        for index in range(batch.num_rows)
    ]


def _values(column: Any) -> list[Any]:
    try:
        return column.to_pylist()
    except UnicodeDecodeError:
        # Arrow does not check text when it reads it. The surrogates get the row rejected.
        raw = column.cast(pa.large_binary()).to_pylist()
        return [None if cell is None else cell.decode("utf-8", "surrogateescape") for cell in raw]
