"""Errors of the ledger.

LedgerError
+-- LedgerUnavailableError   cannot be opened or written: damaged, read-only, disk full
+-- LedgerVersionError       written by a newer version of this package
+-- TransitionError          a row is not in the state that a change starts from
"""

from __future__ import annotations

__all__ = ["LedgerError", "LedgerUnavailableError", "LedgerVersionError", "TransitionError"]


class LedgerError(Exception):
    """Base of everything the ledger raises."""


class LedgerUnavailableError(LedgerError):
    """The database cannot be opened, read or written; nothing may be bought without it."""


class LedgerVersionError(LedgerError):
    """The ledger's schema is newer than this package understands."""


class TransitionError(LedgerError):
    """Compare-and-set failed: somebody else changed the row first, or the change is not allowed."""
