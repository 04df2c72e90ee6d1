"""A provider whose answers a test gives one by one, and creates that wait for them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wan_pipeline.dataset.keeper import ImageKeeper
from wan_pipeline.dataset.store import ImageStore
from wan_pipeline.generation.progress import Tally
from wan_pipeline.generation.rescue import RescueFile
from wan_pipeline.generation.stop import Stop
from wan_pipeline.generation.submit import Submitter
from wan_pipeline.generation.terms import Clock, Ports
from wan_pipeline.wan.answers import CreateAccepted, TaskAnswer, TaskState
from wan_pipeline.wan.download import Downloader
from wan_pipeline.wan.profiles import Limits
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_request

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline.wan.answers import CreateOutcome, TaskMissing
    from wan_pipeline.wan.profiles import RequestForm
    from wan_pipeline_tests.generation.clocked import Scene

__all__ = ["Counter", "accepted"]


def accepted(task_id: str) -> CreateAccepted:
    """The provider has a task."""
    return CreateAccepted(task=TaskAnswer(task_id=task_id, state=TaskState.RUNNING, raw="{}"))


@dataclass
class Counter:
    """Where creates come in: when each did, and its answer, which the test gives.

    Attributes:
        scene: the account and its clock.
        folder: of the rescue file.
        terms: other terms than the workbench's.
        sent: when each create came, by the fake clock.
    """

    scene: Scene
    folder: Path
    terms: dict[str, Any] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)
    stop: Stop = field(default_factory=Stop)
    sent: list[float] = field(default_factory=list)
    asking: list[asyncio.Task[Any]] = field(default_factory=list)
    _answers: list[asyncio.Future[CreateOutcome]] = field(default_factory=list)
    submitter: Submitter = field(init=False)

    def __post_init__(self) -> None:
        clock = self.scene.clock
        ports = Ports(
            ledger=self.scene.ledger,
            provider=self,
            fetcher=Downloader(allow_private=True),
            keeper=ImageKeeper(ImageStore(self.folder)),
            owner=self.scene.owner,
            rescue=RescueFile(self.folder / "rescue", self.scene.owner.owner_id),
            clock=Clock(now=clock.date, monotonic=clock, sleep=clock.sleep, pace_now=clock.date),
        )
        given = {"limits": Limits(submissions_per_second=5.0), "breaker_pause_s": 30.0}
        terms = Workbench(folder=self.folder, base_url="http://nobody").terms(
            **{**given, **self.terms}
        )
        self.submitter = Submitter(ports, terms, tally=self.tally, stop=self.stop)

    async def create(self, request: GenerationRequest, form: RequestForm) -> CreateOutcome:
        """Wait for the test's answer."""
        self.sent.append(self.scene.clock.now)
        self._answers.append(asyncio.get_running_loop().create_future())
        return await self._answers[-1]

    async def poll(self, task_id: str) -> TaskAnswer | TaskMissing:
        """Never asked here."""
        raise AssertionError(task_id)

    async def ask(self, count: int) -> None:
        """Begin to buy so many further requests, and let time pass as far as it goes."""
        for _ in range(count):
            request = make_request(f"kite number {len(self.asking)}")
            self.asking.append(asyncio.ensure_future(self.submitter.submit(request)))
        await self.scene.clock.run_out()

    async def answer(self, number: int, outcome: CreateOutcome, *, then_wait: bool = True) -> None:
        """Answer the create that came as the so-manieth, and let time pass as far as it goes."""
        self._answers[number].set_result(outcome)
        if then_wait:
            await self.scene.clock.run_out()
        else:
            await self.scene.clock.settle()

    def states(self) -> list[str]:
        """The states of all purchases, sorted."""
        return sorted(each.state.value for each in self.scene.ledger.purchases().values())
