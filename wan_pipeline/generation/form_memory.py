"""What the ledger remembers of the forms of the create body, for each profile and base URL."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from wan_pipeline.wan.profiles import RequestForm

if TYPE_CHECKING:
    from wan_pipeline.generation.terms import Terms
    from wan_pipeline.ledger.ledger import Ledger

__all__ = ["FormMemory", "Verdict", "form_named"]


class Verdict(StrEnum):
    """What a form is known to be.

    Attributes:
        PROVEN: a task of it finished with no more images than asked for, where ignoring the body
            would have brought more.
        MISUNDERSTOOD: a task of it brought more; accepted, but what is in the body is ignored.
    """

    PROVEN = "proven"
    MISUNDERSTOOD = "misunderstood"


class FormMemory:
    """Facts of the ledger. A version before the verdicts kept the last accepted form only.

    Raises from every method:
        LedgerUnavailableError: the database cannot be read or written.
    """

    def __init__(self, ledger: Ledger, terms: Terms) -> None:
        self._ledger = ledger
        self._name = f"form:{terms.profile}:{terms.base_url}"

    def last(self) -> RequestForm | None:
        """The one that was understood last, which is no proof."""
        return form_named(self._ledger.recall(self._name))

    def verdict(self, form: RequestForm) -> Verdict | None:
        """What is known of a form; None when nothing is."""
        kept = self._ledger.recall(f"{self._name}:{form}")
        return Verdict(kept) if kept else None

    async def keep_last(self, form: RequestForm | None) -> None:
        """For later runs; None forgets it."""
        await self._ledger.remember(self._name, form.value if form else "")

    async def keep_verdict(self, form: RequestForm, verdict: Verdict) -> None:
        """For later runs, over an older verdict."""
        await self._ledger.remember(f"{self._name}:{form}", verdict.value)


def form_named(name: str | None) -> RequestForm | None:
    """A form by the name that a ledger has of it, or None."""
    return RequestForm(name) if name else None
