"""Errors of releases; each message says what is wrong and what to do.

ReleaseError
+-- ReleaseUsageError      no such release, or a name, ratio or choice that cannot be
+-- IncompleteSetError     a prompt set is not complete, and nobody said that this is fine
+-- StaleTableError        a table or file of the pipeline is not what the ledger says
+-- ReleaseAccessError     this user may not read or write what is needed; nothing need be damaged
+-- DamagedReleaseError    a release is not what its manifest says; it is not read
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path
    from typing import Self

__all__ = [
    "DamagedReleaseError",
    "IncompleteSetError",
    "ReleaseAccessError",
    "ReleaseError",
    "ReleaseUsageError",
    "StaleTableError",
]


class ReleaseError(Exception):
    """A release cannot be made, found or trusted."""


class ReleaseUsageError(ReleaseError):
    """No such release, or a name, ratio or choice that cannot be."""


class IncompleteSetError(ReleaseError):
    """A prompt set is not complete, and nobody said that this is fine."""


class StaleTableError(ReleaseError):
    """A table or file of the pipeline is not what the ledger says; nothing was released."""


class ReleaseAccessError(ReleaseError):
    """This user may not read or write what is needed; nothing need be damaged."""

    @classmethod
    def of_file(cls, path: Path, says: str) -> Self:
        """That a file may not be read, in words that follow its path."""
        return cls(
            f"{path}: {says}. Let it read the file and the folders above it (`ls -ld` tells who"
            " may)"
        )


class DamagedReleaseError(ReleaseError):
    """A release is not what its manifest says; it is not read."""
