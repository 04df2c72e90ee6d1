"""Prompt files to raw rows, streamed, whatever the format; no rule about any value.

`open_rows` is the only entry. CSV and TSV go through pandas, chunk by chunk, with every cell as
the text it is in the file; JSONL and Parquet keep the types of their values; a YAML file is a
matrix, whose rows are made.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.prompts.matrix.count import Ceiling
from wan_pipeline.prompts.matrix.rows import open_matrix
from wan_pipeline.prompts.read_delimited import read_delimited
from wan_pipeline.prompts.read_jsonl import read_jsonl
from wan_pipeline.prompts.read_parquet import read_parquet
from wan_pipeline.prompts.sets import FileFormat, file_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.prompts.chunk import Chunk
    from wan_pipeline.prompts.matrix.count import MatrixCount

__all__ = ["PromptRows", "open_rows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRows:
    """The rows of a prompt file.

    Attributes:
        chunks: the rows in file order, a bounded number at a time; to be read once.
        matrix: what they are made of, where the file is a prompt matrix.
    """

    chunks: Iterator[Chunk]
    matrix: MatrixCount | None = None


def open_rows(file: Path, ceiling: Ceiling | None = None) -> PromptRows:
    """Open a prompt file; a matrix is counted at once and held to `ceiling`, or to the default one.

    Raises:
        PromptFileError: the file as a whole cannot be used. Reading the chunks may raise it too,
            after some of them.
    """
    kind = file_type(file)
    match kind.format:
        case FileFormat.CSV:
            return PromptRows(chunks=read_delimited(file, delimiter=",", gzipped=kind.gzipped))
        case FileFormat.TSV:
            return PromptRows(chunks=read_delimited(file, delimiter="\t", gzipped=kind.gzipped))
        case FileFormat.JSONL:
            return PromptRows(chunks=read_jsonl(file, gzipped=kind.gzipped))
        case FileFormat.PARQUET:
            return PromptRows(chunks=read_parquet(file))
        case FileFormat.YAML:
            matrix = open_matrix(file, ceiling or Ceiling())
            return PromptRows(chunks=matrix.chunks(), matrix=matrix.count)
