"""Reading back what `quality` wrote."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.prompts.errors import UnreadablePromptFileError

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["flag_counts", "read_table"]

_REMEDY = "Materialize the asset `quality` of its prompt set, which writes it"


def read_table(table: Path, *, schema: Any = None) -> Any:
    """A whole table of the asset `quality`.

    Args:
        table: its file.
        schema: whose columns it has, where that matters.

    Raises:
        UnreadablePromptFileError: it is missing or damaged, or has other columns; the message says
            how to have it again.
    """
    try:
        read = pq.read_table(table)
    except (pa.ArrowException, OSError) as error:
        raise UnreadablePromptFileError(
            table, f"cannot be read as a table ({str(error).splitlines()[0]})", _REMEDY
        ) from error
    if schema is not None and read.schema.names != schema.names:
        raise UnreadablePromptFileError(
            table, "has the columns of another version of wan_pipeline", _REMEDY
        )
    return read


def flag_counts(table: Path) -> Counter[str]:
    """How many images of a quality table bear each flag; each image counts once.

    Raises:
        OSError: the table cannot be read.
        pyarrow.ArrowException: it is damaged.
    """
    read = pq.read_table(table, columns=["image_id", "flags"])
    by_image = dict(zip(read["image_id"].to_pylist(), read["flags"].to_pylist(), strict=True))
    return Counter(flag for flags in by_image.values() for flag in flags)
