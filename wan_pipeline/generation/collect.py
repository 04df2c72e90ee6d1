"""The result side of a batch: polls until a task ends, and writes down how it ended."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from wan_pipeline.generation.confirming import confirmed, falls_short, is_empty
from wan_pipeline.generation.fetching import ImageFetch
from wan_pipeline.generation.pacing import Pacer
from wan_pipeline.generation.polling import PollSchedule
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.wan.answers import ApiError, ErrorKind, TaskAnswer, TaskMissing, TaskState
from wan_pipeline.wan.errors import AccountStopError, PollError

if TYPE_CHECKING:
    from decimal import Decimal

    from wan_pipeline.generation.breaker import Breaker
    from wan_pipeline.generation.forms import BodyForm
    from wan_pipeline.generation.outcomes import Submitted
    from wan_pipeline.generation.pacing import Window
    from wan_pipeline.generation.progress import Tally
    from wan_pipeline.generation.stop import Stop
    from wan_pipeline.generation.terms import Ports, Terms
    from wan_pipeline.ledger.records import PurchaseKey

__all__ = ["TASK_NOT_KNOWN", "Collector"]

QUERIES = "queries"  # the account's limit on polls
MISSING_POLLS = 3  # a task that the provider does not know is left to the next run after so many
CLOCK_JUMP_S = 60.0  # what the date gains on the seconds that passed is no drift
WRONG_TYPE = "wrong_type"
NOT_KNOWN = "not known to the provider"
LEFT = "left to the next run: {}"
TASK_NOT_KNOWN = LEFT.format(NOT_KNOWN)
"""The problem, in a tally, of a task that the provider says it does not have."""


class Collector:
    """Brings submitted purchases to their end."""

    def __init__(
        self,
        ports: Ports,
        terms: Terms,
        *,
        tally: Tally,
        stop: Stop,
        window: Window,
        breaker: Breaker,
        form: BodyForm,
    ) -> None:
        self._ports = ports
        self._terms = terms
        self._tally = tally
        self._stop = stop
        self._window = window
        self._breaker = breaker
        self._form = form
        self._schedule = PollSchedule()
        self._pacer = Pacer(
            AccountLimits(ports.ledger, ports.owner, now=ports.clock.pace_now),
            QUERIES,
            terms.limits.queries_per_second,
            clock=ports.clock.monotonic,
            sleep=ports.clock.sleep,
        )
        self.images = ImageFetch(ports, tally=tally, stop=stop, polls=self._pacer)
        self._born = ports.clock.now(), ports.clock.monotonic()

    async def collect(self, submitted: Submitted) -> bool:
        """Poll a task to its end and keep its images; whether its request is complete.

        The caller has entered the window for it. It is left here, as soon as the task ends; while
        no image of the batch has arrived, only when it is known what came of this one's, so that
        no more than a window of tasks is paid for meanwhile.
        """
        self._tally.in_flight += 1
        try:
            answer = await self._ended(submitted)
            if answer is None:
                return False
            await self._form.ended(submitted, answer)
            if submitted.ours and self._breaker.awaits_first_image:
                return await self._settled(submitted, answer)
        finally:
            self._tally.in_flight -= 1
            await self._window.leave()
        return await self._settled(submitted, answer)

    async def _settled(self, submitted: Submitted, answer: TaskAnswer) -> bool:
        """Write down how a task ended and keep its images; whether its request is complete."""
        if is_empty(answer) and answer.cost_usd != 0:
            return await self._brought_nothing(submitted)
        if answer.state is TaskState.FAILED or not answer.images:
            await self._failed(submitted, answer)
            return False
        await self._succeeded(submitted, answer)
        fetched = await self.images.fetch(submitted.key)
        if fetched.any_stored or fetched.problem:  # else our own disk refused
            problem = None if fetched.any_stored else fetched.problem
            await self._tell_breaker(submitted, problem)
        return fetched.complete

    async def _tell_breaker(
        self, submitted: Submitted, problem: str | None, *, free: bool = False
    ) -> None:
        """What came of a task in this run, once it is known."""
        await self._breaker.finished(
            problem=problem, trips=submitted.trips, paid=submitted.ours and not free
        )

    # --- polling ---

    async def _ended(self, submitted: Submitted) -> TaskAnswer | None:
        """The task's final answer; None when this run leaves it, told why in the tally."""
        answer = submitted.task
        if answer is None or answer.state is TaskState.RUNNING:
            answer = await self._polled(submitted)
        if answer is None or not falls_short(answer, submitted.n):
            return answer
        answer = await confirmed(
            answer,
            submitted.n,
            poll=lambda: self._asked_again(submitted),
            sleep=self._ports.clock.sleep,
            confirm_s=self._terms.confirm_s,
        )
        return answer or self._left("done for nothing, which is not confirmed yet")

    async def _asked_again(self, submitted: Submitted) -> TaskAnswer | TaskMissing | None:
        """One more answer of an ended task; None when there is none to be had now."""
        await self._pacer.slot()
        try:
            return await self._ports.provider.poll(submitted.task_id)
        except AccountStopError as error:
            self._stop.set(error.reason, error.detail)
            return None
        except PollError:
            return None

    async def _polled(self, submitted: Submitted) -> TaskAnswer | None:
        """The first answer that is no longer `running`; None when this run leaves the task."""
        clock = self._ports.clock
        began, polls, missing = clock.monotonic(), 0, 0
        while True:
            age_s = (clock.now() - submitted.submitted_at).total_seconds()
            await clock.sleep(self._schedule.wait_s(age_s=age_s, polls=polls))
            await self._pacer.slot()
            polls += 1
            try:
                answer = await self._ports.provider.poll(submitted.task_id)
            except AccountStopError as error:
                self._stop.set(error.reason, error.detail)
                return self._left("not polled: the account was stopped")
            except PollError:
                if self._too_late(submitted):
                    return await self._expired(submitted.key, "could not be polled")
                return self._left("could not be polled")
            if isinstance(answer, TaskAnswer) and answer.state is not TaskState.RUNNING:
                self._learn(submitted)
                return answer
            missing += isinstance(answer, TaskMissing)
            why = NOT_KNOWN if missing else "still running"
            if self._too_late(submitted):
                return await self._expired(submitted.key, why)
            impatient = clock.monotonic() - began > self._terms.task_patience_s
            if missing >= MISSING_POLLS or impatient:
                return self._left(why)

    def _too_late(self, submitted: Submitted) -> bool:
        """By a clock that was not set forward during this batch, else the next one may judge."""
        clock, (born_at, born) = self._ports.clock, self._born
        jump_s = (clock.now() - born_at).total_seconds() - (clock.monotonic() - born)
        return clock.now() >= submitted.deadline_at and jump_s < CLOCK_JUMP_S

    def _learn(self, submitted: Submitted) -> None:
        """Only tasks that this run watched from the start teach how long tasks take."""
        if submitted.ours:
            latency = (self._ports.clock.now() - submitted.submitted_at).total_seconds()
            self._schedule.learn(latency)
            self._tally.latencies_s.append(latency)

    def _left(self, why: str) -> None:
        self._tally.problems[LEFT.format(why)] += 1

    async def _expired(self, key: PurchaseKey, why: str) -> None:
        await self._ports.ledger.expired(
            key, self._ports.owner, f"{why} when its result's lifetime ended"
        )
        self._tally.problems["expired"] += 1

    # --- ends of a task ---

    async def _brought_nothing(self, submitted: Submitted) -> bool:
        """What it is charged for may be where we cannot read it, so it is asked for again later."""
        told = "done, without an image that we can read"
        if self._ports.clock.now() >= submitted.deadline_at:
            await self._expired(submitted.key, f"{told},")
        else:
            self._left(told)
        await self._tell_breaker(submitted, told)
        return False

    async def _failed(self, submitted: Submitted, answer: TaskAnswer) -> None:
        error, cost, source = answer.error, answer.cost_usd, "reported"
        if error is None:
            error = _no_image(answer)
        if cost is None and answer.foreign_items:  # something was made, so it is billed
            cost, source = submitted.price_usd * len(answer.foreign_items), "price_table"
        await self._ports.ledger.failed(
            submitted.key,
            self._ports.owner,
            code=error.code,
            message=error.message,
            kind=error.kind,
            cost_usd=cost,
            cost_source=source,
            final_answer=answer.raw,
        )
        await self._tell_breaker(submitted, str(error), free=not cost)
        if cost and submitted.ours:
            self._tally.cost_usd += cost

    async def _succeeded(self, submitted: Submitted, answer: TaskAnswer) -> None:
        cost, source, told = self._cost(answer, submitted.price_usd)
        await self._ports.ledger.succeeded(
            submitted.key,
            self._ports.owner,
            links=[(link.url, link.job_id) for link in answer.images],
            url_expires_at=self._ports.clock.now()
            + timedelta(seconds=self._terms.result_lifetime_s),
            cost_usd=cost,
            cost_source=source,
            cost_told=told,
            discount=answer.discount,
            # By the provider's clock, which may be behind ours: no task is done before it began.
            completed_at=max(
                answer.completed_at or self._ports.clock.now(), submitted.submitted_at
            ),
            actual_prompt=answer.actual_prompt,
            provider_metadata=answer.metadata_json,
            final_answer=answer.raw,
        )
        if submitted.ours:
            self._tally.cost_usd += cost
        if len(answer.images) < submitted.n:
            self._tally.problems["fewer images than asked for"] += 1

    def _cost(self, answer: TaskAnswer, price_usd: Decimal) -> tuple[Decimal, str, str]:
        """The reported cost, else the intent's price for each image received.

        Returns:
            USD, their source, and what was reported where that is no amount.
        """
        if answer.cost_usd is not None:
            return answer.cost_usd, "reported", ""
        source = "unreadable" if answer.cost_told else "price_table"
        return price_usd * len(answer.images), source, answer.cost_told


def _no_image(answer: TaskAnswer) -> ApiError:
    """Why a task that is done has failed all the same."""
    if answer.foreign_items:
        message = f"results of type {', '.join(answer.foreign_items)}, no image"
        return ApiError(code=WRONG_TYPE, message=message, kind=ErrorKind.OTHER)
    return ApiError(code="no_image", message="done, for nothing", kind=ErrorKind.OTHER)
