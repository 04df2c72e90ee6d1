"""What came of a create: made durable, and what it means for the batch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.generation.task_ids import keep_task_id
from wan_pipeline.wan.answers import (
    CreateAccepted,
    CreateDoubtful,
    CreateNotSent,
    CreateRefused,
    CreateThrottled,
)

if TYPE_CHECKING:
    from datetime import datetime
    from decimal import Decimal

    from wan_pipeline.generation.breaker import Breaker
    from wan_pipeline.generation.circuit import Turn
    from wan_pipeline.generation.forms import BodyForm
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Ports, Terms
    from wan_pipeline.ledger.records import PurchaseKey
    from wan_pipeline.wan.answers import CreateOutcome, TaskAnswer
    from wan_pipeline.wan.profiles import RequestForm

__all__ = ["Outcomes", "Sent", "Submitted"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A create that was sent.

    Attributes:
        key: the purchase whose intent it follows.
        n: images asked for.
        price_usd: per image, as the intent has it.
        form: layout of its body.
        turn: on which it went.
    """

    key: PurchaseKey
    n: int
    price_usd: Decimal
    form: RequestForm
    turn: Turn


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
        form: layout of its body; None where that is not known, since a person named the task.
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
    form: RequestForm | None
    task: TaskAnswer | None = None
    ours: bool = True
    trips: int = 0


class Outcomes:
    """Writes outcomes down, and tells the breaker, the form and the stop about them."""

    def __init__(
        self, ports: Ports, terms: Terms, *, breaker: Breaker, form: BodyForm, stop: Stop
    ) -> None:
        self._ports = ports
        self._terms = terms
        self._breaker = breaker
        self._form = form
        self._stop = stop

    async def record(
        self, sent: Sent, outcome: CreateOutcome, *, other_follows: bool
    ) -> Submitted | None:
        """Make an outcome durable, then draw the batch's conclusions from it.

        Args:
            sent: the create.
            outcome: what came of it.
            other_follows: whether the same request is sent in the other form next.

        Returns:
            The purchase with its task, if there is one and it is still ours.
        """
        ledger, owner, key = self._ports.ledger, self._ports.owner, sent.key
        match outcome:
            case CreateAccepted(task=task):
                return await self._accepted(sent, task)
            case CreateThrottled():
                await ledger.not_sent(key, owner, "429: over the rate limit")
                await self._breaker.throttled(outcome.retry_after_s)
            case CreateNotSent(reason=reason):
                await ledger.not_sent(key, owner, reason)
                await self._breaker.unreached(reason)
            case CreateDoubtful(reason=reason, answer=answer):
                await ledger.unknown(key, owner, reason, answer=answer)
                self._form.doubted(sent.form)
                await self._breaker.doubted(reason, sent.turn)
            case CreateRefused():
                await self._refused(sent, outcome, other_follows=other_follows)
        return None

    async def _accepted(self, sent: Sent, task: TaskAnswer) -> Submitted | None:
        deadline = await keep_task_id(
            sent.key, task.task_id, ports=self._ports, terms=self._terms, stop=self._stop
        )
        await self._breaker.accepted(sent.turn)
        self._form.accepted(sent.form)
        if deadline is None:
            return None
        return Submitted(
            key=sent.key,
            n=sent.n,
            price_usd=sent.price_usd,
            task_id=task.task_id,
            submitted_at=self._ports.clock.now(),
            deadline_at=deadline,
            form=sent.form,
            task=task,
            trips=sent.turn.trips,
        )

    async def _refused(self, sent: Sent, outcome: CreateRefused, *, other_follows: bool) -> None:
        ledger, owner, error = self._ports.ledger, self._ports.owner, outcome.error
        if outcome.stop is not None:
            await ledger.not_sent(sent.key, owner, str(error))
            self._stop.set(outcome.stop, str(error))
            return
        if other_follows:
            # Not refused yet: should we die now, the next run has both tries again.
            reason = f"refused in form {sent.form}, the other one is tried: {error}"
            await ledger.not_sent(sent.key, owner, reason)
        else:
            await ledger.refused(
                sent.key, owner, code=error.code, message=error.message, kind=error.kind
            )
            for key in self._breaker.refused(sent.key, error):
                await ledger.put_back(key, owner, f"refused like all others before it: {error}")
