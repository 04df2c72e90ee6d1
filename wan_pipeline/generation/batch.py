"""One batch: take up what earlier runs left, buy what is missing, follow everything to its end."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import TYPE_CHECKING

from wan_pipeline.generation.buying import Buying
from wan_pipeline.generation.collect import Collector
from wan_pipeline.generation.course import Course
from wan_pipeline.generation.ends import Ends
from wan_pipeline.generation.files import restore_found
from wan_pipeline.generation.heartbeat import kept_alive
from wan_pipeline.generation.pacing import Window
from wan_pipeline.generation.progress import BatchReport, Progress, SilentProgress
from wan_pipeline.generation.submit import Submitter
from wan_pipeline.generation.taking_up import TakingUp
from wan_pipeline.generation.waiting import await_other_runs
from wan_pipeline.ledger.account import AccountLimits

if TYPE_CHECKING:
    from collections.abc import Iterable

    from wan_pipeline.generation.terms import Ports, Terms
    from wan_pipeline.prompts.request import GenerationRequest

__all__ = ["recover", "run_batch"]

ZERO = Decimal(0)


async def run_batch(
    requests: Iterable[GenerationRequest],
    *,
    ports: Ports,
    terms: Terms,
    progress: Progress | None = None,
    total: int | None = None,
) -> BatchReport:
    """Bring every request to its end, buying each at most once.

    Errors of single requests are counted and stand in the ledger; what ends the batch early is
    in the report. A cancellation stops submitting, waits for creates on their way, records
    them, and is raised on; tasks at the provider are taken up by the next batch.

    Args:
        requests: in the order in which they are bought; streamed, repeats are skipped.
        ports: what the batch works through.
        terms: on which terms it buys.
        progress: told about every change.
        total: distinct requests, where it is known beforehand, for the progress.

    Raises:
        LedgerUnavailableError: nothing is bought without a ledger, and no batch is over whose
            ledger was moved meanwhile.
    """
    batch = _Batch(ports, terms, progress or SilentProgress())
    return await batch.run(requests, total=total)


async def recover(*, ports: Ports, terms: Terms, progress: Progress | None = None) -> BatchReport:
    """Poll and fetch everything that dead runs left unfinished; never creates."""
    batch = _Batch(ports, terms, progress or SilentProgress())
    return await batch.run((), everything=True)


class _Batch:
    """The parts of one batch, put together."""

    def __init__(self, ports: Ports, terms: Terms, progress: Progress) -> None:
        self._course = course = Course(ports=ports, terms=terms, progress=progress)
        account = AccountLimits(ports.ledger, ports.owner, now=ports.clock.pace_now)
        self._window = Window(account, terms.window, stop=course.stop, sleep=ports.clock.sleep)
        self._submitter = Submitter(ports, terms, tally=course.tally, stop=course.stop)
        self._collector = Collector(
            ports,
            terms,
            tally=course.tally,
            stop=course.stop,
            window=self._window,
            breaker=self._submitter.breaker,
            form=self._submitter.form,
        )

    async def run(
        self,
        requests: Iterable[GenerationRequest],
        *,
        everything: bool = False,
        total: int | None = None,
    ) -> BatchReport:
        """See `run_batch` and `recover`.

        Args:
            requests: what is bought.
            everything: take up whatever any dead run left, not these requests' only.
            total: how many they are, where that is known.
        """
        course = self._course
        course.tally.requests = total or 0
        try:
            async with kept_alive(course.ports.ledger, course.ports.owner):
                try:
                    ends = await self._work(
                        requests, everything=everything, counted=total is not None
                    )
                finally:
                    course.stop.cancel()
                    await self._submitter.finish()
        except BaseExceptionGroup as errors:
            raise _first(errors) from errors
        finally:
            course.told()
        course.ports.ledger.check_place()  # else this would be told of a folder that is gone
        return BatchReport(
            tally=course.tally,
            stop=course.stop.reason,
            stop_detail=course.stop.detail,
            left=ends.left,
            left_cost_usd=(course.terms.price_usd or ZERO) * ends.left_images,
        )

    async def _work(
        self, requests: Iterable[GenerationRequest], *, everything: bool, counted: bool
    ) -> Ends:
        """Take up, buy and follow, until nothing is left to do."""
        course = self._course
        async with asyncio.TaskGroup() as group:
            ends = Ends(course, group, self._collector)
            taking_up = TakingUp(course, window=self._window, collector=self._collector, ends=ends)
            taken = await self._take_up(taking_up, everything=everything)
            buying = Buying(
                course,
                group,
                window=self._window,
                submitter=self._submitter,
                taking_up=taking_up,
                ends=ends,
            )
            await buying.buy(requests, counted=counted, taken=taken)
            await await_other_runs(course, buying=buying, taking_up=taking_up, ends=ends)
        return ends

    async def _take_up(self, taking_up: TakingUp, *, everything: bool) -> set[str]:
        """Go on with what earlier runs left; ids of those that this set bought."""
        taken: set[str] = set()
        if everything:
            await taking_up.take_up(None)
        else:
            taken = await taking_up.take_up_own()
        await taking_up.take_up_rescued()
        if everything:
            ports = self._course.ports
            await restore_found(ports, ports.ledger.lost_images())
            await taking_up.fetch_again(ports.ledger.stored_images_alive(ports.clock.now()))
        return taken


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The first single error: a batch ends by one cause, the others follow from it."""
    error: BaseException = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
