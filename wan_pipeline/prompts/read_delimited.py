"""CSV and TSV: well-formed records through pandas, in chunks, every cell as text."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pandas as pd

from wan_pipeline.prompts.chunk import CHUNK_CHARACTERS, CHUNK_ROWS, Chunk, broken_row
from wan_pipeline.prompts.columns import Columns
from wan_pipeline.prompts.prompt import RawRow
from wan_pipeline.prompts.records import RecordReader
from wan_pipeline.prompts.text_source import open_lines

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.prompts.prompt import Rejection

__all__ = ["read_delimited"]


def read_delimited(file: Path, *, delimiter: str, gzipped: bool) -> Iterator[Chunk]:
    """Yield the rows of a CSV or TSV file.

    Raises:
        PromptFileError: see `wan_pipeline.prompts.errors`.
    """
    with open_lines(file, gzipped=gzipped) as lines:
        records = RecordReader(lines, file=file, delimiter=delimiter)
        # An empty file has no header to speak of; the line source says so below.
        columns = Columns.from_header(records.header, file=file) if records.header else None
        numbers: list[int] = []
        texts: list[str] = []
        broken: list[Rejection] = []
        size = 0
        for row, record in enumerate(records, start=1):
            size += len(record.text)
            if record.problem is None:
                numbers.append(row)
                texts.append(record.text)
            else:
                broken.append(broken_row(file, row, record.text, record.problem))
            if columns and (len(texts) + len(broken) >= CHUNK_ROWS or size >= CHUNK_CHARACTERS):
                rows = _parse(texts, numbers, columns, delimiter)
                yield Chunk(rows=rows, broken=broken)
                numbers, texts, broken, size = [], [], [], 0
        if columns and (texts or broken):
            yield Chunk(rows=_parse(texts, numbers, columns, delimiter), broken=broken)


def _parse(texts: list[str], numbers: list[int], columns: Columns, delimiter: str) -> list[RawRow]:
    if not texts:
        return []
    frame = pd.read_csv(
        io.StringIO("\n".join(texts)),
        sep=delimiter,
        header=None,
        names=range(len(columns.known) + len(columns.extra)),
        index_col=False,
        dtype=object,
        # 007, NA and 1.10 stay the text they are.
        keep_default_na=False,
        na_filter=False,
        skip_blank_lines=False,
        engine="c",
    )
    cells = [frame[position].tolist() for position in frame.columns]
    known = _dicts(columns.known, cells, len(texts))
    extra = _dicts(columns.extra, cells, len(texts))
    return [
        RawRow(row=row, known=a, extra=b) for row, a, b in zip(numbers, known, extra, strict=True)
    ]


def _dicts(names: dict[str, int], cells: list[list[str]], count: int) -> list[dict[str, object]]:
    if not names:
        return [{} for _ in range(count)]
    wanted = [cells[position] for position in names.values()]
    return [dict(zip(names, row, strict=True)) for row in zip(*wanted, strict=True)]
