"""What can go wrong with prompt files, as one exception tree.

::

    PromptError
    ├── DuplicatePromptSetError        two files claim one prompt set name
    ├── NoUsableRowsError              every row was rejected, or there is none
    ├── RuleViolation                  one value breaks one rule (becomes a rejected row)
    └── PromptFileError                the file as a whole cannot be used
        ├── UnknownPromptFileTypeError     an extension nobody reads
        ├── UnreadablePromptFileError      missing, forbidden, truncated, not what it claims
        ├── EmptyPromptFileError           nothing in it, not even a header
        ├── MissingPromptColumnError       no ``prompt`` column
        ├── AmbiguousColumnsError          two columns with one name
        ├── BrokenQuotingError             a quote makes it unclear where rows end
        ├── MatrixTooLargeError            a prompt matrix makes more prompts than is allowed
        └── MatrixFileError                a prompt matrix breaks a rule of its format; lives in
                                           `wan_pipeline.prompts.matrix.problems`

A row that breaks a rule is never an exception for the caller: it becomes a
`wan_pipeline.prompts.validate.Rejection` and the other rows go on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = [
    "AmbiguousColumnsError",
    "BrokenQuotingError",
    "DuplicatePromptSetError",
    "EmptyPromptFileError",
    "MatrixTooLargeError",
    "MissingPromptColumnError",
    "NoUsableRowsError",
    "PromptError",
    "PromptFileError",
    "RuleViolation",
    "UnknownPromptFileTypeError",
    "UnreadablePromptFileError",
]


class PromptError(Exception):
    """Anything wrong with prompt sets, files or values."""


class DuplicatePromptSetError(PromptError):
    """Two or more files in the prompt folder have the same prompt set name."""

    def __init__(self, name: str, files: tuple[Path, ...]) -> None:
        super().__init__(name, files)
        self.name = name
        self.files = files

    def __str__(self) -> str:
        """Name the set and every file, and say what to do."""
        files = " and ".join(str(file) for file in self.files)
        return (
            f"{len(self.files)} files are named as prompt set {self.name!r}: {files}. "
            "Rename or remove all but one of them."
        )


class NoUsableRowsError(PromptError):
    """A prompt set without one good row; its rejects table was written."""

    def __init__(self, set_name: str, rows_read: int, rejects: Path) -> None:
        super().__init__(set_name, rows_read, rejects)
        self.set_name = set_name
        self.rows_read = rows_read
        self.rejects = rejects

    def __str__(self) -> str:
        """Say how many rows were looked at and where the reasons are."""
        if not self.rows_read:
            return f"prompt set {self.set_name!r} has a header but no rows. Add at least one row."
        return (
            f"prompt set {self.set_name!r} has no usable row: all {self.rows_read} were rejected. "
            f"The reasons, with what to do about each, are in {self.rejects}."
        )


class RuleViolation(PromptError):  # noqa: N818  reads as what it is: a value breaking a rule
    """One value breaks one rule.

    Attributes:
        rule: the rule, as a statement about good values.
        remedy: what the author of the row should do.
    """

    def __init__(self, rule: str, remedy: str) -> None:
        super().__init__(rule, remedy)
        self.rule = rule
        self.remedy = remedy

    def __str__(self) -> str:
        """Rule first, remedy second."""
        return f"{self.rule}; {self.remedy}"


class PromptFileError(PromptError):
    """The file as a whole cannot be used.

    Attributes:
        file: the file.
        what: what is wrong with it.
        remedy: what its author should do.
    """

    def __init__(self, file: Path, what: str, remedy: str) -> None:
        super().__init__(file, what, remedy)
        self.file = file
        self.what = what
        self.remedy = remedy

    def __str__(self) -> str:
        """File, problem and remedy in one line."""
        return f"{self.file}: {self.what}. {self.remedy}."


class UnknownPromptFileTypeError(PromptFileError):
    """The file name has an extension that no reader knows."""


class UnreadablePromptFileError(PromptFileError):
    """The bytes cannot be read as what the file name says they are."""


class EmptyPromptFileError(PromptFileError):
    """The file has no content at all."""


class MissingPromptColumnError(PromptFileError):
    """The table has no column named ``prompt``."""


class AmbiguousColumnsError(PromptFileError):
    """Two columns have the same name when case and outer spaces are ignored."""


class BrokenQuotingError(PromptFileError):
    """A quote is opened and not closed, so nobody can say where the rows end."""


class MatrixTooLargeError(PromptFileError):
    """A prompt matrix makes more prompts than is allowed; it was counted, not made."""
