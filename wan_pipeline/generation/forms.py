"""The layout of the create body: given, remembered of the provider, or found out.

An accepted create proves little: a provider may take a body and ignore what is in it, and then the
API's own n holds. So a form is proven by a finished task with no more images than asked for, and
misunderstood by one with more; both are remembered for later runs.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from wan_pipeline.generation.form_memory import FormMemory, Verdict
from wan_pipeline.wan.answers import CreateRefused, TaskState
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.profiles import RequestForm

if TYPE_CHECKING:
    from wan_pipeline.generation.outcomes import Submitted
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Terms
    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.wan.answers import CreateOutcome, TaskAnswer

__all__ = ["BodyForm"]

OTHER_FORM = {
    RequestForm.FLAT: RequestForm.WRAPPED,
    RequestForm.WRAPPED: RequestForm.FLAT,
}
API_DEFAULT_N = 4  # images of a body whose n is not read (API page, parameter n)


class BodyForm:
    """What a batch knows of it.

    Args:
        ledger: remembers it for later runs.
        terms: whether it is given, and what is tried first.
        stop: set when nothing can be bought in a form that is understood.

    Attributes:
        current: the form to send next.
        understood: whether a create of this batch was accepted, so that its form is right.
    """

    def __init__(self, ledger: Ledger, terms: Terms, stop: Stop) -> None:
        self._memory = FormMemory(ledger, terms)
        self._terms = terms
        self._stop = stop
        self._may_choose = terms.form is RequestForm.AUTO
        self._look()
        self.current = self._choice()
        self.understood = False
        # A person names it once more although it was misunderstood: it may have been repaired.
        self._tries_again = not self._may_choose and self._is_misunderstood(self.current)
        self._tries = 0  # its creates that may cost something
        self._refuted: set[RequestForm] = set()  # by tasks of this batch

    def allows_creates(self) -> bool:
        """Whether something may be bought, by what other runs learned too; else the batch stops."""
        if self._verdicts[self.current] is Verdict.PROVEN:
            return True
        self._look()
        if not self._is_misunderstood(self.current):
            return True
        if self._may_choose:
            self.current, self.understood = self._choice(), False
            if not self._is_misunderstood(self.current):
                return True
            self._give_up(
                "each form of the create body was accepted once and ignored, so nothing was sent"
            )
        elif self._tries or not self._tries_again:
            tried = "was tried again and is not proven" if self._tries else "is misunderstood"
            self._give_up(f"the form {self.current} {tried}")
        else:
            return True
        return False

    def goes_alone(self, n: int) -> bool:
        """Whether a create of n images might bring more than asked for, by all that is known."""
        if self._verdicts[self.current] is not Verdict.PROVEN:
            self._look()
        if self._verdicts[self.current] is Verdict.PROVEN:
            return False
        return n < API_DEFAULT_N or self._is_misunderstood(self.current)

    def accepted(self, form: RequestForm) -> None:
        """The form of an accepted create is the batch's; only its finished task proves it."""
        self._count(form)
        if not self.understood:
            self.understood = True
            self.current = form

    def doubted(self, form: RequestForm) -> None:
        """A task may exist, and cost as much as a misunderstood one."""
        self._count(form)

    async def ended(self, submitted: Submitted, answer: TaskAnswer) -> None:
        """Learn from a task how its form is understood, durably; too many images stop the batch.

        One whose form is not known, since a person named the task, says nothing about any.
        """
        form = submitted.form
        if form is None:
            return
        brought = 0 if answer.state is TaskState.FAILED else len(answer.images)
        if brought > submitted.n:
            await self._misunderstood(submitted, form, brought)
        elif brought:
            await self._kept_to(submitted, form)
        elif submitted.ours and answer.state is TaskState.FAILED and not answer.cost_usd:
            self._tries = 0  # it cost nothing, so another may be sent

    def other(self, refused: RequestForm, outcome: CreateOutcome) -> RequestForm | None:
        """The other layout, when a refusal may mean it: none is proven, and we may choose."""
        other = OTHER_FORM[refused]
        may_help = self._may_be_wrong(outcome) and not self._is_misunderstood(other)
        return other if may_help else None

    def read(self, refused: RequestForm, outcome: CreateOutcome) -> CreateOutcome:
        """An outcome; a refusal stops the batch where it may mean a form that has no other."""
        other = OTHER_FORM[refused]
        if (
            not isinstance(outcome, CreateRefused)
            or outcome.stop is not None
            or not self._may_be_wrong(outcome)
            or self._verdicts[refused] is Verdict.PROVEN
            or not self._is_misunderstood(other)
        ):
            return outcome
        message = (
            f"{outcome.error.message}; that refused the form {refused}, or this request, and the"
            f" form {other} was accepted before and ignored. WAN_REQUEST_FORM={refused} takes such"
            " a refusal for the request's own"
        )
        error = dataclasses.replace(outcome.error, message=message)
        return dataclasses.replace(outcome, error=error, stop=StopReason.BODY_NOT_UNDERSTOOD)

    def _may_be_wrong(self, outcome: CreateOutcome) -> bool:
        return (
            self._may_choose
            and not self.understood
            and isinstance(outcome, CreateRefused)
            and outcome.form_suspect
        )

    def _look(self) -> None:
        """Read what is remembered by now."""
        self._verdicts = {form: self._memory.verdict(form) for form in OTHER_FORM}
        self._last = self._memory.last()

    def _choice(self) -> RequestForm:
        """The form given; else the first that is not known to be misunderstood, if there is one."""
        if not self._may_choose:
            return self._terms.form
        proven = [form for form in OTHER_FORM if self._verdicts[form] is Verdict.PROVEN]
        first = self._terms.first_form
        order = [*([self._last] if self._last else []), *proven, first, OTHER_FORM[first]]
        return next((form for form in order if not self._is_misunderstood(form)), first)

    def _is_misunderstood(self, form: RequestForm) -> bool:
        return self._verdicts[form] is Verdict.MISUNDERSTOOD

    def _count(self, form: RequestForm) -> None:
        self._tries += self._is_misunderstood(form)

    def _give_up(self, detail: str) -> None:
        self._stop.set(StopReason.BODY_NOT_UNDERSTOOD, detail)

    async def _misunderstood(self, submitted: Submitted, form: RequestForm, brought: int) -> None:
        """Stop before anything is awaited: nobody must create meanwhile."""
        is_news = not self._is_misunderstood(form)
        # What an earlier run left of a form that is avoided by now is only fetched.
        if is_news or submitted.ours:
            self._give_up(
                f"task {submitted.task_id} brought {brought} images instead of {submitted.n}"
                f" in the form {form}"
            )
        self._refuted.add(form)
        if is_news:
            self._verdicts[form] = Verdict.MISUNDERSTOOD
            await self._memory.keep_verdict(form, Verdict.MISUNDERSTOOD)
        if self._memory.last() is form:
            await self._memory.keep_last(None)

    async def _kept_to(self, submitted: Submitted, form: RequestForm) -> None:
        """As many images as asked for, or fewer."""
        if form in self._refuted:
            return
        if self._verdicts[form] is not Verdict.PROVEN:
            self._look()
        is_repaired = self._tries_again and submitted.ours
        if self._is_misunderstood(form) and not is_repaired:
            return  # a task of before that says nothing about now
        if submitted.n < API_DEFAULT_N and self._verdicts[form] is not Verdict.PROVEN:
            self._verdicts[form] = Verdict.PROVEN
            await self._memory.keep_verdict(form, Verdict.PROVEN)
        if self._last is not form and not self._is_misunderstood(form):
            self._last = form
            await self._memory.keep_last(form)
