"""The layout of the create body: given, remembered of the provider, or found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.wan.answers import CreateRefused
from wan_pipeline.wan.profiles import RequestForm

if TYPE_CHECKING:
    from wan_pipeline.generation.terms import Terms
    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.wan.answers import CreateOutcome

__all__ = ["BodyForm"]

OTHER_FORM = {
    RequestForm.FLAT: RequestForm.WRAPPED,
    RequestForm.WRAPPED: RequestForm.FLAT,
}


class BodyForm:
    """What a batch knows of it.

    Attributes:
        current: the form to send next.
        understood: whether a create of this batch was accepted, so that its form is right.
    """

    def __init__(self, ledger: Ledger, terms: Terms) -> None:
        self._ledger = ledger
        self._may_choose = terms.form is RequestForm.AUTO
        self._memory = f"form:{terms.profile}:{terms.base_url}"
        remembered = ledger.recall(self._memory)
        self.current = terms.form
        if self._may_choose:
            self.current = RequestForm(remembered) if remembered else terms.first_form
        self.understood = False

    async def accepted(self, form: RequestForm) -> None:
        """An accepted create proves its form, for later runs too."""
        if self.understood:
            return
        self.understood = True
        self.current = form
        if self._may_choose:
            await self._ledger.remember(self._memory, form.value)

    def other(self, refused: RequestForm, outcome: CreateOutcome) -> RequestForm | None:
        """The other layout, when a refusal may mean it: none is proven, and we may choose."""
        may_be_wrong = (
            self._may_choose
            and not self.understood
            and isinstance(outcome, CreateRefused)
            and outcome.form_suspect
        )
        return OTHER_FORM[refused] if may_be_wrong else None
