"""One data folder, the requests that are bought into it, and the batches that are killed there."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline_tests.crash.person import decide
from wan_pipeline_tests.crash.proof import Proof, examine
from wan_pipeline_tests.crash.worker import DATA, Job, Outcome, run
from wan_pipeline_tests.generation.batch_fixture import PROFILE
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

__all__ = ["Case"]

ROUNDS = 14
PATIENT_ROUNDS = 6  # after so many the provider's bad day is over
SETTLING_S = 20.0


@dataclass(kw_only=True)
class Case:
    """A trial of the engine without Dagster.

    Attributes:
        folder: of the trial.
        emulator: the provider.
        requests: what is bought.
        others: requests that the ledger holds besides.
        terms: other terms than the workbench's.
        runs: batches so far.
    """

    folder: Path
    emulator: RunningEmulator
    requests: list[GenerationRequest]
    others: list[GenerationRequest] = field(default_factory=list)
    terms: dict[str, Any] = field(default_factory=dict)
    runs: int = 0

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / DATA

    def ledger(self) -> Ledger:
        """The ledger; to be closed."""
        return Ledger(self.data / "ledger.sqlite", PROFILE)

    def batch(self, *, kill_at: str | None = None, kill_after_s: float | None = None) -> Outcome:
        """One batch over all requests."""
        self.runs += 1
        job = Job(
            folder=self.folder,
            base_url=self.emulator.base_url,
            requests=[*self.others, *self.requests],
            run_id=f"run-{self.runs}",
            terms=self.terms,
            kill_at=kill_at,
            kill_after_s=kill_after_s,
        )
        return run(job)

    def finish(self) -> Outcome:
        """Go on as a person does: run again, decide what is unknown, until nothing is left."""
        for number in range(ROUNDS):
            if number == PATIENT_ROUNDS:
                calm = self.emulator.plan().model_copy(update={"faults": ()})
                self.emulator.set_plan(calm)
            outcome = self.batch()
            if not self.decide() and not self._left():
                return outcome
        raise RuntimeError(f"after {ROUNDS} runs something is still left: {self._left()}")

    def decide(self) -> int:
        """Look into the provider's console about each unknown create; how many there were."""
        book = self.book()
        with self.ledger() as ledger:
            return decide(ledger, book)

    def prove(self, broken: Sequence[str] = ()) -> Proof:
        """Hold ledger, files and the provider's book against each other.

        Args:
            broken: promises that are known to be broken already.
        """
        found = examine(self.data, self.book(), self.emulator.bill(), self.emulator.tasks())
        return dataclasses.replace(found, violations=(*broken, *found.violations))

    def book(self) -> dict[str, list[dict[str, Any]]]:
        """The provider's tasks by request id, when nothing is under way there any more."""
        self._settle()
        found: dict[str, list[dict[str, Any]]] = {
            request.request_id: [] for request in [*self.others, *self.requests]
        }
        by_content = {_content(each): each for each in [*self.others, *self.requests]}
        for task in self.emulator.tasks():
            given = task["content"]
            request = by_content.get((given["prompt"], given["seed"], given["n"]))
            if request is not None:
                found[request.request_id].append(task)
        return found

    def _left(self) -> Sequence[str]:
        with self.ledger() as ledger:
            return [f"{each.request_id[:8]} {each.state}" for each in ledger.unfinished()]

    def _settle(self) -> None:
        """Until nothing is under way at the provider and nothing more arrives there."""
        bills: list[dict[str, Any]] = [{}]

        def settled() -> bool:
            bills.append(self.emulator.bill())
            before, bill = bills[-2:]
            return bill == before and not bill["tasks"]["queued"] + bill["tasks"]["running"]

        wait_for(settled, what="the provider's rest", within_s=SETTLING_S)


def _content(request: GenerationRequest) -> tuple[str, int, int]:
    return request.prompt, request.seed, request.n
