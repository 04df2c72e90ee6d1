"""Column names of a prompt table: which have a meaning, which are carried along."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.prompts.errors import (
    AmbiguousColumnsError,
    MissingPromptColumnError,
    UnreadablePromptFileError,
)
from wan_pipeline.prompts.prompt import KNOWN_COLUMNS
from wan_pipeline.prompts.text_source import is_clean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

__all__ = ["Columns", "known_name", "missing_prompt_column"]

_KNOWN = frozenset(KNOWN_COLUMNS)
_SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "vertical bars"}


def known_name(name: str) -> str | None:
    """Return the column of `KNOWN_COLUMNS` that `name` means, ignoring case and outer spaces."""
    folded = name.strip().casefold()
    return folded if folded in _KNOWN else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of one table by position.

    Attributes:
        known: name in `KNOWN_COLUMNS` to position.
        extra: name as the file has it, outer spaces removed, to position.
    """

    known: dict[str, int]
    extra: dict[str, int]

    @classmethod
    def from_header(cls, names: Sequence[str], *, file: Path) -> Columns:
        """Sort out a header.

        Raises:
            AmbiguousColumnsError: two columns with one name.
            MissingPromptColumnError: no ``prompt`` column.
            UnreadablePromptFileError: the header is not text.
        """
        known: dict[str, int] = {}
        extra: dict[str, int] = {}
        seen: dict[str, str] = {}
        for position, raw in enumerate(names):
            if "\0" in raw or not is_clean(raw):
                raise UnreadablePromptFileError(
                    file, f"the header is not UTF-8 text ({raw[:40]!a})", "Save the file as UTF-8"
                )
            name = raw.strip() or f"column {position + 1}"
            folded = name.casefold()
            if folded in seen:
                raise AmbiguousColumnsError(
                    file,
                    f"has two columns named {seen[folded]!r} and {name!r}; case does not matter",
                    "Rename or remove one of them",
                )
            seen[folded] = name
            (known if folded in _KNOWN else extra)[folded if folded in _KNOWN else name] = position
        if "prompt" not in known:
            raise missing_prompt_column(file, names)
        return cls(known=known, extra=extra)


def missing_prompt_column(file: Path, names: Sequence[str]) -> MissingPromptColumnError:
    """The error for a table whose columns are `names`, with the likeliest remedy."""
    found = ", ".join(repr(name) for name in names[:20]) or "none"
    what = f'has no "prompt" column; columns found: {found}'
    if len(names) == 1:
        for separator, word in _SEPARATORS.items():
            if separator in names[0]:
                remedy = (
                    f"Its columns seem to be separated by {word}: "
                    "save it with commas as .csv or with tabs as .tsv"
                )
                return MissingPromptColumnError(file, what, remedy)
    return MissingPromptColumnError(file, what, 'Name the column with the prompts "prompt"')
