"""Wildcard files: one value per line, in a folder beside the prompt files, never outside it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.sets import WILDCARDS
from wan_pipeline.prompts.text_source import read_bounded
from wan_pipeline.prompts.validate import MAX_PROMPT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["MAX_VALUES", "Wildcards", "read_wildcards"]

MAX_VALUES = 100_000
_MAX_BYTES = 16_000_000
_SHOWN = 80
_LINE_END = re.compile(r"\r\n|\r|\n")  # str.splitlines knows eight more


@dataclass(frozen=True, slots=True, kw_only=True)
class Wildcards:
    """What a wildcard file holds.

    Attributes:
        values: different ones, in the order of the file.
        repeated: how many further lines say one of them again.
    """

    values: tuple[str, ...]
    repeated: int = 0


def read_wildcards(path: str, *, prompts_dir: Path) -> Wildcards:
    """Return the values of a wildcard file in its order, each once.

    A line is a value without its outer spaces. Empty lines, and lines that begin with ``# ``, are
    not.

    Args:
        path: as the matrix file has it, ``wildcards/…/name.txt``.
        prompts_dir: folder of the prompt files.

    Raises:
        UnreadablePromptFileError: missing, no file, outside the folder, no text, too long, empty.
    """
    file = prompts_dir / path
    _check_place(file, prompts_dir)
    values: dict[str, None] = {}
    repeated = 0
    text = read_bounded(file, _MAX_BYTES, too_long="Make several files of it")
    for number, line in enumerate(_LINE_END.split(text), start=1):
        value = line.strip()
        if not value or value == "#" or value.startswith("# "):
            continue
        _check(value, file, number)
        repeated += value in values
        values[value] = None
        if len(values) > MAX_VALUES:
            raise UnreadablePromptFileError(
                file, f"has more than {MAX_VALUES:,} values", "Make several files of it"
            )
    if not values:
        raise UnreadablePromptFileError(file, "has no values", "Write one value per line")
    return Wildcards(values=tuple(values), repeated=repeated)


def _check_place(file: Path, prompts_dir: Path) -> None:
    try:
        is_file = file.is_file()
        # What a link points to is judged, not where the link lies.
        inside = file.resolve().is_relative_to(prompts_dir.resolve() / WILDCARDS)
    except (OSError, RuntimeError):  # a name that is too long, links in a circle
        is_file = inside = False
    if not is_file:
        raise UnreadablePromptFileError(
            file, "there is no such wildcard file", "Make it, one value per line, or mend its path"
        )
    if not inside:
        raise UnreadablePromptFileError(
            file,
            f"is a link that leads out of {prompts_dir / WILDCARDS}",
            "Put a copy of the file there instead",
        )


def _check(value: str, file: Path, number: int) -> None:
    if value.startswith("#"):
        raise UnreadablePromptFileError(
            file,
            f"line {number} ({value[:_SHOWN]!r}) begins with # and no space after it, so it could"
            " be a comment or a value",
            'Write "# " for a comment; a value with # in front goes into a list in the YAML file',
        )
    if len(value) > MAX_PROMPT:
        raise UnreadablePromptFileError(
            file,
            f"line {number} has more than {MAX_PROMPT} characters",
            "Write one value per line, shorter than a prompt",
        )
