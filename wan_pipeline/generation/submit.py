"""The create side of a batch: an intent, then one POST. The only caller of the paid call."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any

from wan_pipeline.generation.breaker import Breaker
from wan_pipeline.generation.circuit import Circuit
from wan_pipeline.generation.forms import BodyForm
from wan_pipeline.generation.outcomes import Outcomes, Sent, Submitted
from wan_pipeline.generation.pacing import Pacer
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.ledger.errors import BudgetExceededError
from wan_pipeline.ledger.records import Intention, Purchase, PurchaseKey
from wan_pipeline.wan.answers import CreateNotSent, CreateRefused, CreateThrottled
from wan_pipeline.wan.errors import ConfigurationError, StopReason

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
    from wan_pipeline.wan.profiles import RequestForm

__all__ = ["NotBought", "Submitter"]

CREATES = "creates"  # the account's limit on submissions
# Between intent and create: a lease lasts a minute and is renewed every 15 s, so that within these
# nobody takes the row over.
MOST_HELD_UP = timedelta(seconds=30)


class NotBought(Enum):
    """Why a request has no task after an attempt to buy it.

    Attributes:
        LEFT: the batch stopped before it was sent; it can be bought later.
        RECORDED: the ledger says why: refused or unknown.
    """

    LEFT = "left"
    RECORDED = "recorded"


class Submitter:
    """Sends creates, one POST per intent.

    Attributes:
        breaker: counts bad answers.
        form: layout of the bodies.
    """

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
        self._circuit = Circuit(pacer, terms, tally=tally, stop=stop)
        self.breaker = Breaker(
            pacer, self._circuit, terms, tally=tally, stop=stop, clock=ports.clock
        )
        self.form = BodyForm(ports.ledger, terms, stop)
        self._outcomes = Outcomes(ports, terms, breaker=self.breaker, form=self.form, stop=stop)
        self._sending: set[asyncio.Task[Submitted | Purchase | NotBought]] = set()
        self._committed: set[asyncio.Task[Any]] = set()  # between their intent and its outcome

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
        form, is_first = self.form.current, True
        while not self._stop:
            async with self._circuit.turn() as turn:
                if turn is None:
                    break
                with self._uninterrupted():
                    began = self._ports.ledger.now()
                    standing = await self._intend(request, form)
                    if standing is None:
                        break
                    if isinstance(standing, Purchase):
                        return standing
                    reason = self._too_late(turn, began)
                    if reason is not None:
                        await self._ports.ledger.not_sent(standing, self._ports.owner, reason)
                        continue
                    outcome = await self._create(request, standing, form)
                    outcome = self.form.read(form, outcome)
                    other = self.form.other(form, outcome) if is_first else None
                    sent = Sent(
                        key=standing, n=request.n, price_usd=self._price(), form=form, turn=turn
                    )
                    submitted = await self._outcomes.record(
                        sent, outcome, other_follows=other is not None
                    )
            if submitted is not None:
                return submitted
            if isinstance(outcome, CreateThrottled | CreateNotSent):
                continue
            if isinstance(outcome, CreateRefused) and outcome.stop is not None:
                break
            if other is None:
                return NotBought.RECORDED
            form, is_first = other, False
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

    def _too_late(self, turn: Turn, began: datetime) -> str | None:
        """Why a create must not be sent any more although its intent stands; None when it may.

        A process that was stopped after its intent, by a signal or a sleeping machine, is given up
        by the others when its lease ends, and a person may have decided by then.
        """
        if self._stop:
            return "the batch stopped before it was sent"
        if not self._circuit.holds(turn):
            return "the batch began to pause before it was sent"
        held_up = self._ports.ledger.now() - began
        if held_up > MOST_HELD_UP:
            return f"the run stood still for {held_up.total_seconds():.0f} s before it was sent"
        return None

    async def _create(
        self, request: GenerationRequest, key: PurchaseKey, form: RequestForm
    ) -> CreateOutcome:
        """Send the create. The only call that costs money."""
        try:
            outcome = await self._ports.provider.create(request, form)
        except asyncio.CancelledError:
            self._tally.created += 1
            await self._ports.ledger.unknown(
                key, self._ports.owner, "the run was cancelled before the create answered"
            )
            raise
        if not isinstance(outcome, CreateNotSent):
            self._tally.created += 1
        return outcome
