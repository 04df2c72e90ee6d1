"""Every fault that the emulator knows, and what the ledger makes of it, now and in the next run.

One row per fault and step. Each row is checked twice: after the batch that met the fault, and
after a second batch on the same ledger that meets none. The provider's bill is the other witness.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.faults import _STEPS as STEPS
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, LatencyLaw
from wan_pipeline.wan.client import Timeouts
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wan_pipeline.emulator.faults import Step
    from wan_pipeline.generation.progress import BatchReport
    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline_tests.generation.batch_fixture import Workbench

K = FaultKind
SHORT = LatencyLaw(queue_max_s=0.1, service_median_s=5.0)
HASTY = Timeouts(create_read_s=1.0, poll_read_s=1.0, download_read_s=1.0, download_total_s=2.0)
ONE = Decimal("0.03")
TWO = ONE * 2
NOTHING = Decimal(0)
ENDED = ("completed", "failed")


@dataclass(frozen=True, kw_only=True)
class Standing:
    """What is true after a batch."""

    state: str = "stored"
    images: tuple[str, ...] = ("stored",)
    spent: Decimal = ONE
    reserved: Decimal = NOTHING
    bill: Decimal = ONE
    accepted: int = 1


STORED = Standing()
UNKNOWN_UNBILLED = Standing(
    state="unknown", images=(), spent=NOTHING, reserved=ONE, bill=NOTHING, accepted=0
)
UNKNOWN_BILLED = Standing(state="unknown", images=(), spent=NOTHING, reserved=ONE)
REFUSED = Standing(state="refused", images=(), spent=NOTHING, bill=NOTHING, accepted=0)
PLANNED = Standing(state="planned", images=(), spent=NOTHING, bill=NOTHING, accepted=0)
FAILED = Standing(state="failed", images=(), spent=NOTHING, bill=NOTHING)
LEFT = Standing(state="submitted", images=(), spent=NOTHING, reserved=ONE)
STUCK = Standing(state="submitted", images=(), spent=NOTHING, reserved=ONE, bill=NOTHING)
DAMAGED = Standing(state="succeeded", images=("damaged",))
NOT_FETCHED = Standing(state="succeeded", images=("expected",))


@dataclass(frozen=True, kw_only=True)
class Row:
    """A fault, what it leaves behind, and what the next batch makes of that.

    `then` is None where the next batch changes nothing; `complete` tells whether the batch that
    met the fault may count the request as done.
    """

    kind: FaultKind
    on: Step = "create"
    times: int | None = None
    n: int = 1
    now: Standing = STORED
    then: Standing | None = None
    stop: StopReason | None = None
    complete: bool = True
    patience_s: float = 1200.0
    timeouts: Timeouts = field(default_factory=Timeouts)
    attempts: int = 6

    def __str__(self) -> str:
        times = "" if self.times is None else f"-times-{self.times}"
        return f"{self.on}-{self.kind.value}{times}-n-{self.n}"


def doubtful(kind: FaultKind, *, billed: bool, hasty: bool = False) -> Row:
    """A create after which a task may exist: parked, its price set aside, never sent again."""
    return Row(
        kind=kind,
        now=UNKNOWN_BILLED if billed else UNKNOWN_UNBILLED,
        complete=False,
        timeouts=HASTY if hasty else Timeouts(),
    )


def polled_again(kind: FaultKind, *, hasty: bool = False) -> Row:
    """A poll that fails twice and then goes well."""
    return Row(kind=kind, on="poll", times=2, timeouts=HASTY if hasty else Timeouts())


def fetched_again(kind: FaultKind, *, hasty: bool = False) -> Row:
    """A download that fails once and then goes well."""
    return Row(kind=kind, on="download", times=1, timeouts=HASTY if hasty else Timeouts())


def fetched_next_time(kind: FaultKind, now: Standing, *, hasty: bool = False) -> Row:
    """A download that fails for a whole batch; the image is at the provider for the next one."""
    return Row(
        kind=kind,
        on="download",
        now=now,
        then=STORED,
        complete=False,
        timeouts=HASTY if hasty else Timeouts(),
        attempts=1 if hasty else 3,
    )


def stops_creating(kind: FaultKind, stop: StopReason) -> Row:
    """A create after which no other can succeed: nothing is burned, the next batch buys."""
    return Row(kind=kind, now=PLANNED, then=STORED, stop=stop, complete=False)


def stops_polling(kind: FaultKind, stop: StopReason) -> Row:
    """A poll refused for the account's sake: the paid task is for the next batch."""
    return Row(kind=kind, on="poll", now=LEFT, then=STORED, stop=stop, complete=False)


def fewer(kind: FaultKind) -> Row:
    """One image of two: stored, what came is paid, the rest is never bought by itself."""
    return Row(kind=kind, n=2)


ROWS = (
    # Refusals for the moment: sent again after the pause.
    Row(kind=K.RATE_LIMITED, times=2),
    Row(kind=K.RATE_LIMITED_NO_RETRY_AFTER, times=2),
    # Doubt, with and without a task behind it.
    doubtful(K.ERROR_408_BEFORE, billed=False),
    doubtful(K.ERROR_409_BEFORE, billed=False),
    doubtful(K.ERROR_500_BEFORE, billed=False),
    doubtful(K.ERROR_502_BEFORE, billed=False),
    doubtful(K.ERROR_503_BEFORE, billed=False),
    doubtful(K.ERROR_504_BEFORE, billed=False),
    doubtful(K.ERROR_500_AFTER, billed=True),
    doubtful(K.ERROR_502_AFTER, billed=True),
    doubtful(K.ERROR_503_AFTER, billed=True),
    doubtful(K.ERROR_504_AFTER, billed=True),
    doubtful(K.RESET_BEFORE, billed=False),
    doubtful(K.RESET_AFTER, billed=True),
    doubtful(K.HUNG_BEFORE, billed=False, hasty=True),
    doubtful(K.HUNG_AFTER, billed=True, hasty=True),
    doubtful(K.MALFORMED_JSON, billed=True),
    doubtful(K.OK_UNREADABLE, billed=False),
    doubtful(K.REDIRECT, billed=False),
    # Proven refusals.
    Row(kind=K.OK_WITHOUT_ID_WITH_ERROR, now=REFUSED, complete=False),
    Row(kind=K.REFUSED_400, now=REFUSED, complete=False),
    Row(kind=K.REFUSED_413, now=REFUSED, complete=False),
    Row(kind=K.REFUSED_422, now=REFUSED, complete=False),
    stops_creating(K.NO_CREDIT, StopReason.NO_CREDIT),
    stops_creating(K.BAD_KEY, StopReason.BAD_KEY),
    stops_creating(K.FORBIDDEN_MODEL, StopReason.FORBIDDEN),
    stops_creating(K.MISSING_MODEL, StopReason.MISSING_MODEL),
    # Tasks that end badly.
    Row(kind=K.TASK_FAILED, now=FAILED, complete=False),
    Row(
        kind=K.TASK_FAILED_BILLED,
        now=Standing(state="failed", images=()),
        complete=False,
    ),
    Row(kind=K.MODERATION_FAILED, now=FAILED, complete=False),
    Row(kind=K.STUCK_TASK, now=STUCK, complete=False, patience_s=3.0),
    # Tasks that end oddly.
    fewer(K.MISSING_IMAGES),
    fewer(K.DUPLICATE_URL),
    fewer(K.ENTRY_WITHOUT_URL),
    fewer(K.ENTRY_WITH_EMPTY_URL),
    fewer(K.VIDEO_ENTRY),
    # Done, for nothing, at no cost: there is no image to keep.
    Row(kind=K.MISSING_IMAGES, now=FAILED, complete=False),
    Row(kind=K.VIDEO_ENTRY, now=FAILED, complete=False),
    Row(
        kind=K.TOO_MANY_IMAGES,
        now=Standing(images=("stored", "stored"), spent=TWO, bill=TWO),
        stop=StopReason.BODY_NOT_UNDERSTOOD,
    ),
    # Polls are free: asked again, and what this batch cannot learn the next one does.
    polled_again(K.RATE_LIMITED),
    polled_again(K.RATE_LIMITED_NO_RETRY_AFTER),
    polled_again(K.ERROR_408_BEFORE),
    polled_again(K.ERROR_500_BEFORE),
    polled_again(K.ERROR_502_BEFORE),
    polled_again(K.ERROR_503_BEFORE),
    polled_again(K.ERROR_504_BEFORE),
    polled_again(K.RESET_BEFORE),
    Row(kind=K.HUNG_BEFORE, on="poll", times=1, timeouts=HASTY),
    polled_again(K.OK_UNREADABLE),
    polled_again(K.MALFORMED_JSON),
    polled_again(K.UNKNOWN_TASK),
    polled_again(K.LATE_IMAGES),
    Row(kind=K.UNKNOWN_TASK, on="poll", now=LEFT, then=STORED, complete=False),
    Row(kind=K.ERROR_500_BEFORE, on="poll", now=LEFT, then=STORED, complete=False, attempts=3),
    Row(kind=K.ERROR_409_BEFORE, on="poll", now=LEFT, then=STORED, complete=False),
    stops_polling(K.BAD_KEY, StopReason.BAD_KEY),
    stops_polling(K.NO_CREDIT, StopReason.NO_CREDIT),
    stops_polling(K.FORBIDDEN_MODEL, StopReason.FORBIDDEN),
    # Downloads are free too.
    fetched_again(K.RATE_LIMITED),
    fetched_again(K.RATE_LIMITED_NO_RETRY_AFTER),
    fetched_again(K.ERROR_500_BEFORE),
    fetched_again(K.ERROR_502_BEFORE),
    fetched_again(K.ERROR_503_BEFORE),
    fetched_again(K.ERROR_504_BEFORE),
    fetched_again(K.RESET_BEFORE),
    fetched_again(K.RESET_AFTER),
    fetched_again(K.HUNG_BEFORE, hasty=True),
    fetched_again(K.TRUNCATED_IMAGE),
    fetched_again(K.REDIRECT),
    fetched_next_time(K.ERROR_503_BEFORE, NOT_FETCHED),
    fetched_next_time(K.TRUNCATED_IMAGE, DAMAGED),
    fetched_next_time(K.CORRUPTED_IMAGE, DAMAGED),
    fetched_next_time(K.HTML_IMAGE, DAMAGED),
    fetched_next_time(K.EMPTY_IMAGE, DAMAGED),
    fetched_next_time(K.REDIRECT_LOOP, NOT_FETCHED),
    fetched_next_time(K.SLOW_DOWNLOAD, NOT_FETCHED, hasty=True),
    Row(kind=K.WRONG_SIZE_IMAGE, on="download"),
    fetched_next_time(K.EXPIRED_URL, NOT_FETCHED),
)


def test_every_fault_has_its_row() -> None:
    """No fault of the emulator, at no step, is left without an expectation here."""
    wanted = {(kind, step) for kind, steps in STEPS.items() for step in steps}
    assert {(row.kind, row.on) for row in ROWS} == wanted


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """One emulator for all rows: starting one for each would take longer than the rows."""
    with RunningEmulator(tmp_path_factory.mktemp("emulator")) as running:
        yield running


@dataclass(frozen=True, kw_only=True)
class Witness:
    """The ledger and the provider's book, asked about one request; ledger and store are fresh."""

    request: GenerationRequest
    emulator: RunningEmulator
    bench: Workbench
    before: dict[str, str]

    async def check(self, standing: Standing) -> None:
        """The ledger says so, the bill says so, and every stored file is there."""
        books = self.bench.books()
        assert books.state(self.request) == standing.state
        assert books.image_states(self.request) == standing.images
        assert (books.spent, books.reserved) == (standing.spent, standing.reserved)
        bill = await final_bill(self.emulator)
        assert int(bill["creates_accepted"]) - int(self.before["creates_accepted"]) == (
            standing.accepted
        )
        billed = Decimal(bill["usd"]) - Decimal(self.before["usd"])
        assert billed == standing.bill
        assert books.spent <= billed <= books.spent + books.reserved
        for record in books.images.get(self.request.request_id, []):
            assert (record.path is not None) == (record.state.value == "stored")
            if record.path is not None:
                assert (self.bench.folder / record.path).stat().st_size == record.bytes


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_fault_and_the_run_after_it(
    row: Row, emulator: RunningEmulator, bench: Workbench
) -> None:
    """The fault leaves its row of the ledger behind, and the next run makes the best of it."""
    request = make_request(f"the case of {row}", n=row.n)
    witness = Witness(
        request=request, emulator=emulator, bench=bench, before=await final_bill(emulator)
    )
    fault = Fault(kind=row.kind, on=row.on, times=row.times)
    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SHORT, faults=(fault,)))
    bench.timeouts = row.timeouts
    bench.retry = RetryPolicy(attempts=row.attempts)

    report = await bench.buy([request], run_id="first", task_patience_s=row.patience_s)
    await witness.check(row.now)
    assert report.stop == row.stop
    assert (report.tally.done, report.tally.failed) == ((1, 0) if row.complete else (0, 1))

    emulator.set_plan(EmulatorPlan(speed_up=1000, latency=SHORT))
    bench.timeouts = Timeouts()
    again = await bench.buy([request], run_id="second", task_patience_s=row.patience_s)
    then = row.then or row.now
    await witness.check(then)
    assert again.stop is None
    assert again.tally.created == then.accepted - row.now.accepted
    check_counts(again, then)


def check_counts(report: BatchReport, then: Standing) -> None:
    """Each request is counted once: stored before, done now, or not complete."""
    tally = report.tally
    complete = then.state == "stored" and "lost" not in then.images
    assert tally.already_stored + tally.done == int(complete)
    assert tally.failed == int(not complete)


async def final_bill(emulator: RunningEmulator) -> dict[str, str]:
    """The bill when no accepted task can still change it; a stuck one never does."""
    for _ in range(200):
        tasks = await asyncio.to_thread(emulator.tasks)
        if all(task["outcome"] == "stuck_task" or task["state"] in ENDED for task in tasks):
            return await asyncio.to_thread(emulator.bill)
        await asyncio.sleep(0.01)
    raise AssertionError("accepted tasks did not end within 2 s")
