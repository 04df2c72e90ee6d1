"""Prompt files to raw rows, streamed, whatever the format; no rule about any value.

`read_chunks` is the only entry. CSV and TSV go through pandas, chunk by chunk, with every cell as
the text it is in the file; JSONL and Parquet keep the types of their values.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.prompts.read_delimited import read_delimited
from wan_pipeline.prompts.read_jsonl import read_jsonl
from wan_pipeline.prompts.read_parquet import read_parquet
from wan_pipeline.prompts.sets import FileFormat, file_type

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.prompts.chunk import Chunk

__all__ = ["read_chunks"]


def read_chunks(file: Path) -> Iterator[Chunk]:
    """Yield the rows of `file` in file order, a bounded number at a time.

    Raises:
        PromptFileError: the file as a whole cannot be used; chunks may have been yielded before.
    """
    kind = file_type(file)
    match kind.format:
        case FileFormat.CSV:
            return read_delimited(file, delimiter=",", gzipped=kind.gzipped)
        case FileFormat.TSV:
            return read_delimited(file, delimiter="\t", gzipped=kind.gzipped)
        case FileFormat.JSONL:
            return read_jsonl(file, gzipped=kind.gzipped)
        case FileFormat.PARQUET:
            return read_parquet(file)
