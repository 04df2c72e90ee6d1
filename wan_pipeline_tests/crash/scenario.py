"""The life whose points are enumerated: it passes through every transition that a run can make.

It starts where a killed run left it: one image to be polled for, one to be fetched, one whose file
is gone, one that counts as lost and whose file is back. Then it buys, in both forms of the body,
with a pause, two doubts and a failure.
"""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import sqlalchemy as sa

from wan_pipeline.emulator.plan import (
    EmulatorPlan,
    Fault,
    FaultKind,
    ImageFormat,
    LatencyLaw,
    ReplyStyle,
)
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.wan.profiles import Limits, RequestForm
from wan_pipeline_tests.crash.case import Case
from wan_pipeline_tests.crash.points import names_of
from wan_pipeline_tests.crash.worker import DATA
from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from collections import Counter
    from pathlib import Path
    from types import TracebackType

    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline_tests.crash.proof import Proof
    from wan_pipeline_tests.crash.worker import Outcome

__all__ = ["EXPECTED", "Scenario", "names_of_life"]

K = FaultKind
LEFT = ("left stored", "left submitted", "left succeeded", "left lost")
NEW = ("other form", "pair", "failing", "damaged once", "doubt made", "doubt not made", "refused")
EXPECTED = {PurchaseState.STORED: 9, PurchaseState.FAILED: 1, PurchaseState.REFUSED: 1}
# One moment per call and room for everybody, so that two runs pass the same points.
TERMS = {
    "form": RequestForm.AUTO,
    "limits": Limits(submissions_per_second=19, queries_per_second=19, running_at_once=20),
}
FAULTS = (
    Fault(kind=K.REFUSED_400, prompt_contains="other form", times=1),
    Fault(kind=K.UNKNOWN_TASK, prompt_contains="pair", times=1),
    Fault(kind=K.RATE_LIMITED_NO_RETRY_AFTER, prompt_contains="pair", times=1),
    Fault(kind=K.TASK_FAILED, prompt_contains="failing"),
    Fault(kind=K.TRUNCATED_IMAGE, prompt_contains="damaged once", times=1),
    Fault(kind=K.ERROR_500_AFTER, prompt_contains="doubt made", times=1),
    Fault(kind=K.ERROR_500_BEFORE, prompt_contains="doubt not made", times=1),
    Fault(kind=K.REFUSED_413, prompt_contains="refused"),
)
PLAN = EmulatorPlan(
    speed_up=1000,
    latency=LatencyLaw(queue_min_s=0, queue_max_s=0, service_median_s=1, service_sigma=0),
    url_lifetime_s=1e9,  # what was left before the first trial is fetched in the last one too
    replies=ReplyStyle(image_format=ImageFormat.JPEG),  # small, so that hundreds of trials are fast
    faults=FAULTS,
)


AWAY = PLAN.model_copy(update={"faults": (Fault(kind=K.EXPIRED_URL),)})


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What came of one trial.

    Attributes:
        reached: how many of its kills met their point.
        proof: what was found in the end.
    """

    reached: int
    proof: Proof


class Scenario:
    """An emulator, and a data folder to start each trial from.

    Args:
        folder: an empty one.
        series: buys reproductions for it, instead of the dataset's own.
    """

    def __init__(self, folder: Path, *, series: str | None = None) -> None:
        self._folder = folder
        self._trials = 0
        self._series = series
        self._terms = TERMS
        if series is not None:
            self._terms = {**TERMS, "prompt_set": series, "reproduction": True}

    def __enter__(self) -> Self:
        self._emulator = RunningEmulator(self._folder / "provider", PLAN).__enter__()
        try:
            self._left = self._prepare()
        except BaseException:
            self._emulator.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._emulator.__exit__(kind, error, trace)

    def points(self, *first: str) -> Counter[str]:
        """What a run passes, after runs that were killed at the given points."""
        case = self._case()
        for point in first:
            case.batch(kill_at=point)
        passed = case.batch().passed
        shutil.rmtree(case.folder)
        return passed

    def trial(self, *points: str) -> Trial:
        """Runs that are killed at the points, one after the other; then the way of a person."""
        case = self._case()
        reached = 0
        for point in points:
            outcome: Outcome = case.batch(kill_at=point)
            reached += outcome.killed
            if not outcome.killed:
                break
        case.finish()
        proof = case.prove()
        if not proof.violations:
            shutil.rmtree(case.folder)
        return Trial(reached=reached, proof=proof)

    def as_without_a_crash(self, states: Counter[PurchaseState]) -> bool:
        """Whether everything ended so; a reproduction that a person released stays released."""
        if self._series is None or not states[PurchaseState.RELEASED]:
            return states == EXPECTED
        less = {state: EXPECTED.get(state, 0) - states[state] for state in states}
        released = -less.pop(PurchaseState.RELEASED)
        missing = (EXPECTED[state] - states[state] for state in EXPECTED)
        return min(less.values()) >= 0 and sum(missing) == released

    def _case(self) -> Case:
        """A trial's own copy of what was left, with requests that nobody has asked for before."""
        self._trials += 1
        self._emulator.set_plan(PLAN)
        folder = self._folder / f"trial-{self._trials}"
        shutil.copytree(self._left.folder, folder)
        return Case(
            folder=folder,
            emulator=self._emulator,
            requests=_requests(NEW, f"trial {self._trials}"),
            others=self._left.requests,
            terms=self._terms,
            runs=self._left.runs,
        )

    def _prepare(self) -> Case:
        """A run that was killed with one task under way and one image not fetched."""
        folder = self._folder / "left"
        (folder / DATA).mkdir(parents=True)
        stored, submitted, succeeded, lost = _requests(LEFT, "earlier")
        case = Case(folder=folder, emulator=self._emulator, requests=[lost], terms=self._terms)
        case.batch()
        [found_again] = _lose(case)
        case.requests = [stored]
        case.batch()
        case.requests = [succeeded]
        case.batch(kill_at="download.sent#1")
        case.requests = [submitted]
        self._emulator.set_plan(AWAY)  # the image of the other is tried for, in vain
        case.batch(kill_at="submitted.committed#1")
        self._emulator.set_plan(PLAN)
        case.requests = [stored, submitted, succeeded, lost]
        with case.ledger() as ledger:
            standing = ledger.purchases(series=self._series)
            states = [standing[each.request_id].state for each in case.requests]
        s = PurchaseState
        if states != [s.STORED, s.SUBMITTED, s.SUCCEEDED, s.STORED]:
            raise RuntimeError(f"the scenario does not begin as it should: {states}")
        for image in (case.data / "images").glob("*/*"):
            if image != found_again:
                image.unlink()
        return case


def _lose(case: Case) -> list[Path]:
    """Files that were away in one run after their URLs had died, and are back."""
    with case.ledger() as ledger:
        over = sa.update(schema.images).values(url_expires_at=ledger.now())
        ledger.apply_now(lambda tx: tx.connection.execute(over))
    images = case.data / "images"
    away = images.rename(case.folder / "not mounted")
    case.emulator.set_plan(AWAY)
    case.batch()
    case.emulator.set_plan(PLAN)
    away.rename(images)
    return list(images.glob("*/*"))


def names_of_life(scenario: Scenario) -> list[str]:
    """The names of the points that three runs pass alike; what differs is a matter of timing."""
    passed = scenario.points() & scenario.points() & scenario.points()
    return names_of(passed)


def _requests(words: tuple[str, ...], tag: str) -> list[GenerationRequest]:
    return [
        make_request(f"{tag}: {word}", n=1 + (word == "pair"), size="960*1696") for word in words
    ]
