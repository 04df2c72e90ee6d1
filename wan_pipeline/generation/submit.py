"""The create side of a batch: intent, one POST, and what its outcome does to the ledger."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

from wan_pipeline.generation.breaker import Breaker
from wan_pipeline.generation.circuit import Circuit
from wan_pipeline.generation.pacing import Pacer
from wan_pipeline.generation.rescue import RescuedTask
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.ledger.errors import BudgetExceededError, LedgerUnavailableError
from wan_pipeline.ledger.records import Intention, Purchase, PurchaseKey
from wan_pipeline.wan.answers import (
    CreateAccepted,
    CreateDoubtful,
    CreateNotSent,
    CreateRefused,
    CreateThrottled,
    TaskAnswer,
)
from wan_pipeline.wan.errors import ConfigurationError, StopReason
from wan_pipeline.wan.profiles import RequestForm

if TYPE_CHECKING:
    from collections.abc import Generator
    from datetime import datetime
    from decimal import Decimal

    from wan_pipeline.generation.circuit import Turn
    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Ports, Terms
    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline.wan.answers import CreateOutcome

__all__ = ["CREATES", "NotBought", "Submitted", "Submitter"]

CREATES = "creates"  # the account's limit on submissions

LEDGER_WAITS_S = (1.0, 5.0, 15.0, 30.0)  # beside the database's own patience
OTHER_FORM = {
    RequestForm.FLAT: RequestForm.WRAPPED,
    RequestForm.WRAPPED: RequestForm.FLAT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Submitted:
    """A purchase with a task at the provider.

    Attributes:
        key: the purchase.
        n: images asked for.
        price_usd: per image, as it stood at the intent.
        task_id: the provider's task.
        submitted_at: when the create was accepted.
        deadline_at: when the task's record and results die.
        task: the create's answer, if it was this batch's.
        ours: whether this batch bought it.
        trips: how often the batch's circuit had been opened before the create.
    """

    key: PurchaseKey
    n: int
    price_usd: Decimal
    task_id: str
    submitted_at: datetime
    deadline_at: datetime
    task: TaskAnswer | None = None
    ours: bool = True
    trips: int = 0


class NotBought(Enum):
    """Why a request has no task after an attempt to buy it.

    Attributes:
        LEFT: the batch stopped before it was sent; it can be bought later.
        RECORDED: the ledger says why: refused or unknown.
    """

    LEFT = "left"
    RECORDED = "recorded"


class Submitter:
    """Sends creates, one POST per intent."""

    def __init__(self, ports: Ports, terms: Terms, *, tally: Tally, stop: Stop) -> None:
        self._ports = ports
        self._terms = terms
        self._tally = tally
        self._stop = stop
        pacer = Pacer(
            AccountLimits(ports.ledger, ports.owner, now=ports.clock.pace_now),
            CREATES,
            terms.limits.submissions_per_second,
            clock=ports.clock.monotonic,
            sleep=ports.clock.sleep,
        )
        self._memory = f"form:{terms.profile}:{terms.base_url}"
        remembered = ports.ledger.recall(self._memory)
        self._form = terms.form
        if self._form is RequestForm.AUTO:
            self._form = RequestForm(remembered) if remembered else terms.first_form
        self._circuit = Circuit(pacer, terms, tally=tally, stop=stop)
        self.breaker = Breaker(
            pacer, self._circuit, terms, tally=tally, stop=stop, clock=ports.clock
        )
        self._sending: set[asyncio.Task[Submitted | Purchase | NotBought]] = set()
        self._committed: set[asyncio.Task[Any]] = set()  # between their intent and its outcome
        self.understood = False  # one create of this batch was accepted: its form is right

    async def submit(self, request: GenerationRequest) -> Submitted | Purchase | NotBought:
        """Buy a request, unless somebody did.

        A cancellation does not reach a create that is on its way; see `finish`.

        Returns:
            The submitted purchase; or the purchase that already stands and is somebody else's;
            or why it has no task.
        """
        sending = asyncio.ensure_future(self._submit(request))
        self._sending.add(sending)
        sending.add_done_callback(self._sending.discard)
        try:
            return await asyncio.shield(sending)
        except asyncio.CancelledError:
            if sending not in self._committed:
                sending.cancel()  # it must not begin a create now
            raise

    async def finish(self) -> None:
        """Drop creates not begun, give those on their way their grace, record the rest unknown."""
        for waiting in self._sending - self._committed:
            waiting.cancel()
        if self._committed:
            _, late = await asyncio.wait(set(self._committed), timeout=self._terms.create_grace_s)
            for sending in late:
                sending.cancel()
        if self._sending:
            await asyncio.wait(set(self._sending))

    async def _submit(self, request: GenerationRequest) -> Submitted | Purchase | NotBought:
        forms = [self._form]  # the last one is sent; more than one were refused
        while not self._stop:
            async with self._circuit.turn() as turn:
                if turn is None:
                    break
                with self._uninterrupted():
                    standing = await self._intend(request, forms[-1])
                    if standing is None:
                        break
                    if isinstance(standing, Purchase):
                        return standing
                    outcome = await self._create(request, standing, forms[-1], turn)
                    if outcome is None:
                        continue
                    other_follows = len(forms) == 1 and self._form_may_be_wrong(outcome)
                    submitted = await self._record(
                        standing, request, forms[-1], outcome, turn, other_follows=other_follows
                    )
            if submitted is not None:
                return submitted
            if isinstance(outcome, CreateThrottled | CreateNotSent):
                continue
            if isinstance(outcome, CreateRefused) and outcome.stop is not None:
                break
            if not other_follows:
                return NotBought.RECORDED
            forms.append(OTHER_FORM[forms[0]])
        return NotBought.LEFT

    @contextmanager
    def _uninterrupted(self) -> Generator[None]:
        """From the intent to the record of its outcome a cancellation waits; see `finish`."""
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  we are in a coroutine
        self._committed.add(task)
        try:
            yield
        finally:
            self._committed.discard(task)

    async def _intend(
        self, request: GenerationRequest, form: RequestForm
    ) -> PurchaseKey | Purchase | None:
        """Write the intent; None when it would pass a cap, which stops the batch."""
        intention = Intention(
            profile=self._terms.profile,
            request_id=request.request_id,
            request=request.canonical_json().decode(),
            n=request.n,
            price_usd=self._price(),
            bought_by_set=self._terms.prompt_set,
            dialect=self._terms.dialect,
            form=form.value,
            code_version=self._terms.code_version,
            caps=self._terms.caps,
            retry=self._terms.retry,
            reproduction=self._terms.reproduction,
        )
        try:
            return await self._ports.ledger.intend(intention, owner=self._ports.owner)
        except BudgetExceededError as error:
            self._stop.set(StopReason.BUDGET, str(error))
            return None

    def _price(self) -> Decimal:
        """Nothing is bought at a price that nobody knows."""
        if self._terms.price_usd is None:
            raise ConfigurationError(
                "no price per image is known: set WAN_PRICE_USD, then run again"
            )
        return self._terms.price_usd

    async def _create(
        self, request: GenerationRequest, key: PurchaseKey, form: RequestForm, turn: Turn
    ) -> CreateOutcome | None:
        """Send the create; None when the batch stopped or began to pause before it was sent."""
        ledger, owner = self._ports.ledger, self._ports.owner
        if self._stop or not self._circuit.holds(turn):
            what = "stopped" if self._stop else "began to pause"
            await ledger.not_sent(key, owner, f"the batch {what} before it was sent")
            return None
        try:
            outcome = await self._ports.provider.create(request, form)
        except asyncio.CancelledError:
            self._tally.created += 1
            await ledger.unknown(key, owner, "the run was cancelled before the create answered")
            raise
        if not isinstance(outcome, CreateNotSent):
            self._tally.created += 1
        return outcome

    async def _record(
        self,
        key: PurchaseKey,
        request: GenerationRequest,
        form: RequestForm,
        outcome: CreateOutcome,
        turn: Turn,
        *,
        other_follows: bool,
    ) -> Submitted | None:
        """Make the outcome durable and draw the batch's conclusions from it."""
        ledger, owner = self._ports.ledger, self._ports.owner
        match outcome:
            case CreateAccepted(task=task):
                deadline = await self._keep_task(key, task.task_id)
                await self._learn(form, turn)
                if deadline is None:
                    return None
                return Submitted(
                    key=key,
                    n=request.n,
                    price_usd=self._price(),
                    task_id=task.task_id,
                    submitted_at=self._ports.clock.now(),
                    deadline_at=deadline,
                    task=task,
                    trips=turn.trips,
                )
            case CreateThrottled():
                await ledger.not_sent(key, owner, "429: over the rate limit")
                await self.breaker.throttled(outcome.retry_after_s)
            case CreateNotSent(reason=reason):
                await ledger.not_sent(key, owner, reason)
                await self.breaker.unreached(reason)
            case CreateDoubtful(reason=reason, answer=answer):
                await ledger.unknown(key, owner, reason, answer=answer)
                await self.breaker.doubted(reason, turn)
            case CreateRefused(error=error, stop=stop):
                if stop is not None:
                    await ledger.not_sent(key, owner, str(error))
                    self._stop.set(stop, str(error))
                elif other_follows:
                    # Not refused yet: should we die now, the next run has both tries again.
                    reason = f"refused in form {form}, the other one is tried: {error}"
                    await ledger.not_sent(key, owner, reason)
                    self.breaker.refused(error)
                else:
                    await ledger.refused(
                        key, owner, code=error.code, message=error.message, kind=error.kind
                    )
                    self.breaker.refused(error)
        return None

    async def _keep_task(self, key: PurchaseKey, task_id: str) -> datetime | None:
        """Make a paid task's id durable; while the ledger cannot be written, in the rescue file."""
        ledger, waits = self._ports.ledger, iter(LEDGER_WAITS_S)
        rescued: RescuedTask | None = None
        while True:
            try:
                deadline = await ledger.submitted(
                    key,
                    self._ports.owner,
                    task_id=task_id,
                    lifetime_s=self._terms.result_lifetime_s,
                )
            except LedgerUnavailableError as error:
                if rescued is None:
                    self._stop.set(StopReason.DISK, str(error))
                    rescued = self._rescue(key, task_id, error)
                wait = next(waits, None)
                if wait is None:
                    raise
                await self._ports.clock.sleep(wait)
            except asyncio.CancelledError as error:
                # The change is queued, but whether it succeeds nobody would hear any more.
                if rescued is None:
                    self._rescue(key, task_id, error)
                raise
            else:
                if rescued is not None:
                    self._ports.rescue.forget(rescued)
                return deadline

    def _rescue(self, key: PurchaseKey, task_id: str, error: BaseException) -> RescuedTask:
        task = RescuedTask(request_id=key.request_id, task_id=task_id, series=self._terms.series)
        try:
            self._ports.rescue.note(task)
        except OSError as full:
            raise LedgerUnavailableError(
                f"request {key.request_id} is task {task_id} at the provider, and that could be"
                f" written down neither in the ledger ({_told(error)}) nor beside it ({full}). Keep"
                f" this line: the task is paid; `wan ledger adopt {key.request_id} {task_id}`"
                " enters it"
            ) from error
        return task

    async def _learn(self, form: RequestForm, turn: Turn) -> None:
        """An accepted create ends every streak and proves its form."""
        await self.breaker.accepted(turn)
        if not self.understood:
            self.understood = True
            self._form = form
            if self._terms.form is RequestForm.AUTO:
                await self._ports.ledger.remember(self._memory, form.value)

    def _form_may_be_wrong(self, outcome: CreateOutcome) -> bool:
        """Whether the body's other layout is worth a try: none is proven, and we may choose."""
        return (
            self._terms.form is RequestForm.AUTO
            and not self.understood
            and isinstance(outcome, CreateRefused)
            and outcome.form_suspect
        )


def _told(error: BaseException) -> str:
    return str(error) or "it did not answer before the run was cancelled"
