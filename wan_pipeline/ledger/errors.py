"""Errors of the ledger.

LedgerError
+-- LedgerUnavailableError   cannot be opened or written: damaged, read-only, disk full
+-- LedgerVersionError       written by a newer version of this package
+-- TransitionError          a row is not in the state that a change starts from
+-- BudgetExceededError      a purchase would pass a cap
+-- DecisionError            a person's decision does not fit what the ledger knows
+-- UnclearRequestError      the beginning of a request id names none, or several
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from decimal import Decimal

__all__ = [
    "BudgetExceededError",
    "DecisionError",
    "LedgerError",
    "LedgerUnavailableError",
    "LedgerVersionError",
    "TransitionError",
    "UnclearRequestError",
]


class LedgerError(Exception):
    """Base of everything the ledger raises."""


class LedgerUnavailableError(LedgerError):
    """The database cannot be opened, read or written; nothing may be bought without it."""


class LedgerVersionError(LedgerError):
    """The ledger's schema is newer than this package understands."""


class TransitionError(LedgerError):
    """Compare-and-set failed: somebody else changed the row first, or the change is not allowed."""


class DecisionError(LedgerError):
    """A person wants to adopt, release or write off what cannot be; nothing was changed."""


class UnclearRequestError(LedgerError):
    """The beginning of a request id names no request, or more than one; nothing was changed."""


class BudgetExceededError(LedgerError):
    """One more purchase would pass a cap; nothing was reserved or sent.

    Attributes:
        cap_name: run, day, prompt_set or total.
    """

    def __init__(self, cap_name: str, *, cap: Decimal, committed: Decimal, price: Decimal) -> None:
        self.cap_name = cap_name
        super().__init__(
            f"the {_SPOKEN[cap_name]} is {cap:f} USD, {committed:f} USD of it are paid or reserved,"
            f" and the next request costs {price:f} USD. Raise {_VARIABLES[cap_name]}"
            # The next run or day brings a fresh cap, of the same height.
            f"{_OR_WAIT.get(cap_name, '') if price <= cap else ''}; what is bought stays bought"
        )


_SPOKEN = {
    "run": "budget of one run",
    "day": "budget of this UTC day",
    "prompt_set": "budget of this prompt set",
    "total": "budget of the profile",
}
_VARIABLES = {
    "run": "WAN_BUDGET_RUN_USD or --budget",
    "day": "WAN_BUDGET_DAY_USD",
    "prompt_set": "WAN_BUDGET_SET_USD",
    "total": "WAN_BUDGET_TOTAL_USD",
}
_OR_WAIT = {"run": ", or run again", "day": " or run again tomorrow"}
