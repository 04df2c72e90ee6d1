"""A bounded piece of a prompt file: what every reader yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.prompts.prompt import Rejection, display

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.prompts.errors import RuleViolation
    from wan_pipeline.prompts.prompt import RawRow

__all__ = ["CHUNK_CHARACTERS", "CHUNK_ROWS", "Chunk", "broken_row"]

CHUNK_ROWS = 8192
#: A chunk also ends here, so that a few huge rows do not make it unbounded.
CHUNK_CHARACTERS = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Some consecutive rows of a prompt file.

    Attributes:
        rows: the readable ones.
        broken: rejections of those that could not even be read as a row.
    """

    rows: list[RawRow]
    broken: list[Rejection]


def broken_row(file: Path, row: int, text: str, violation: RuleViolation) -> Rejection:
    """The rejection of a row as a whole; `text` is what the file has there."""
    return Rejection(
        file=file.name,
        row=row,
        column=None,
        value=display(text),
        rule=violation.rule,
        remedy=violation.remedy,
    )
