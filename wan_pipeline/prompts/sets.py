"""Which prompt sets a folder holds: file names to prompt set names, nothing about their content.

A prompt set is one file directly in the folder; its name is the file name without the extensions
listed here. Hidden files and the usual README, LICENSE and NOTICE files are not prompt sets, and
neither is the folder of wildcard files.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from wan_pipeline.prompts.errors import DuplicatePromptSetError, UnknownPromptFileTypeError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

__all__ = [
    "WILDCARDS",
    "FileFormat",
    "FolderProblem",
    "PromptFileType",
    "PromptFolder",
    "file_type",
    "find_prompt_file",
    "find_prompt_sets",
    "scan",
    "set_name",
]


class FileFormat(StrEnum):
    """How the rows of a prompt file are written."""

    CSV = "csv"
    TSV = "tsv"
    JSONL = "jsonl"
    PARQUET = "parquet"
    YAML = "yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFileType:
    """What a file name says about the file: its format and whether it is gzip'd."""

    format: FileFormat
    gzipped: bool


_TEXT = {
    "csv": FileFormat.CSV,
    "tsv": FileFormat.TSV,
    "jsonl": FileFormat.JSONL,
    "ndjson": FileFormat.JSONL,
}
_TYPES = {
    **{f".{ext}": PromptFileType(format=fmt, gzipped=False) for ext, fmt in _TEXT.items()},
    **{f".{ext}.gz": PromptFileType(format=fmt, gzipped=True) for ext, fmt in _TEXT.items()},
    ".parquet": PromptFileType(format=FileFormat.PARQUET, gzipped=False),
    ".yaml": PromptFileType(format=FileFormat.YAML, gzipped=False),
    ".yml": PromptFileType(format=FileFormat.YAML, gzipped=False),
}
_KNOWN_TYPES = (
    "known types are .csv, .tsv, .jsonl, .ndjson (each also with .gz), .parquet, and .yaml or .yml"
    " for a prompt matrix"
)

#: The folder of wildcard files that prompt matrices draw on.
WILDCARDS = "wildcards"

_NOT_PROMPTS = re.compile(
    r"(readme|licen[cs]e|notice|copying)(-[^.]*)?(\.[a-z]{2})?(\.(md|txt|rst))?", re.IGNORECASE
)
_MAX_NAME_BYTES = 150
_FORBIDDEN_IN_NAME = re.compile(r"[\x00-\x1f\x7f/\\]|\.\.\.|^[.\s]|[.\s]$")


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderProblem:
    """Something in the folder that looks like a prompt set and cannot be one.

    Attributes:
        files: the files concerned; more than one for a name used twice.
        message: what is wrong and what to do, naming the files.
    """

    files: tuple[Path, ...]
    message: str

    @property
    def hides_prompts(self) -> bool:
        """Whether prompts are meant: a file of a type nobody reads is only in the way."""
        return any(_split(file.name)[1] is not None for file in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptFolder:
    """A folder of prompt files: the usable sets by name, and what is in the way of others."""

    sets: Mapping[str, Path]
    problems: tuple[FolderProblem, ...]


def file_type(file: Path) -> PromptFileType:
    """Return the type that the name of `file` declares; case does not matter.

    Raises:
        UnknownPromptFileTypeError: no reader knows the extension.
    """
    _, extension = _split(file.name)
    if extension is None:
        raise UnknownPromptFileTypeError(
            file, "not a known type of prompt file", f"Convert it: {_KNOWN_TYPES}"
        )
    return _TYPES[extension]


def set_name(file: Path) -> str:
    """Return the prompt set name of `file`: ``data/prompts/foo.v2.csv.gz`` is ``foo.v2``.

    Raises:
        UnknownPromptFileTypeError: no reader knows the extension.
    """
    file_type(file)
    return _split(file.name)[0]


def scan(folder: Path) -> PromptFolder:
    """Look at the files directly in `folder`; a folder that does not exist holds no sets.

    Files of an unknown type, unusable names and names used twice are problems, not exceptions, so
    that one stray file does not hide the others.
    """
    found: dict[str, list[Path]] = {}
    problems: list[FolderProblem] = []
    for file in sorted(folder.iterdir()) if folder.is_dir() else []:
        if file.name.startswith(".") or _NOT_PROMPTS.fullmatch(file.name):
            continue
        if file.name == WILDCARDS and file.is_dir():
            continue
        message = _problem(file)
        if message is None:
            found.setdefault(_key(set_name(file)), []).append(file)
        else:
            problems.append(FolderProblem(files=(file,), message=message))
    sets: dict[str, Path] = {}
    for files in found.values():
        name = set_name(files[0])
        if len(files) == 1:
            sets[name] = files[0]
        else:
            error = DuplicatePromptSetError(name, tuple(files))
            problems.append(FolderProblem(files=tuple(files), message=str(error)))
    return PromptFolder(sets=dict(sorted(sets.items())), problems=tuple(problems))


def find_prompt_sets(folder: Path) -> dict[str, Path]:
    """Return prompt set name to file, sorted by name; see `scan` for what is left out.

    Raises:
        DuplicatePromptSetError: two files have one name.
    """
    result = scan(folder)
    for problem in result.problems:
        if len(problem.files) > 1:
            raise DuplicatePromptSetError(set_name(problem.files[0]), problem.files)
    return dict(result.sets)


def find_prompt_file(folder: Path, name: str) -> Path | None:
    """Return the file of one prompt set, whatever is wrong with others; None when there is none.

    Raises:
        DuplicatePromptSetError: two files have its name.
    """
    result = scan(folder)
    for problem in result.problems:
        if len(problem.files) > 1 and _key(set_name(problem.files[0])) == _key(name):
            raise DuplicatePromptSetError(name, problem.files)
    return result.sets.get(name)


def _key(name: str) -> str:
    """Names that differ only in case would share one folder on some file systems."""
    return unicodedata.normalize("NFC", name).casefold()


def _split(file_name: str) -> tuple[str, str | None]:
    lower = file_name.lower()
    for extension in _TYPES:
        if lower.endswith(extension):
            return file_name[: -len(extension)], extension
    return file_name, None


def _problem(file: Path) -> str | None:
    if not file.is_file():
        return (
            f"{file} is not a file. Prompt sets are files directly in this folder: "
            "move the prompt files up or remove it."
        )
    name, extension = _split(file.name)
    if extension is None:
        values = f" Values for a matrix belong into {WILDCARDS}/." if file.suffix == ".txt" else ""
        return (
            f"{file} is not a known type of prompt file. Convert or remove it: {_KNOWN_TYPES}."
            f"{values}"
        )
    if not name or _FORBIDDEN_IN_NAME.search(name) or not name.isprintable():
        return (
            f"{str(file)!r} cannot name a prompt set: names are not empty, do not begin or end "
            'with a dot or a space and have no control characters, backslash or "...". Rename it.'
        )
    if len(name.encode("utf-8", "surrogatepass")) > _MAX_NAME_BYTES:
        return f"{file} has a name over {_MAX_NAME_BYTES} bytes. Give it a shorter one."
    return None
