"""While no task has proven the form of the body, what it can cost is one task."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.generation.batch_fixture import PRICE, make_requests

if TYPE_CHECKING:
    from wan_pipeline_tests.generation.batch_fixture import Workbench
    from wan_pipeline_tests.generation.deaf_provider import DeafProvider

FLAT, WRAPPED = RequestForm.FLAT, RequestForm.WRAPPED
BOTH = {FLAT, WRAPPED}
STOPPED = StopReason.BODY_NOT_UNDERSTOOD
NEVER: dict[str, Any] = {"proof_patience_s": 1e9, "task_patience_s": 60.0}  # task patience: 3 s


@pytest.mark.parametrize("n", [1, 3])
@pytest.mark.parametrize("form", [FLAT, RequestForm.AUTO])
async def test_a_form_that_is_misunderstood_costs_one_task(
    n: int, form: RequestForm, deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """And not a window of them."""
    deaf.deaf = BOTH
    report = await deaf_bench.buy(make_requests(30, n=n), form=form)
    assert (report.stop, len(deaf.sent), report.left) == (STOPPED, 1, 29)
    assert deaf.bill == 4 * PRICE == deaf_bench.books().spent


async def test_after_the_proof_the_window_opens_for_this_run_and_the_next(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """The proof costs one task's time, once per account."""
    await deaf_bench.buy(make_requests(12))
    assert deaf.beside[:2] == [0, 0]
    deaf.holds = {"number 0"}
    report = await deaf_bench.buy(make_requests(12, seed=8), **NEVER)
    assert report.tally.done == 11
    assert min(deaf.beside[13:]) >= 1  # beside the one that does not end


async def test_where_nothing_can_be_overpaid_nobody_waits(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """A body whose n is not read makes four images, and four were asked for."""
    deaf.holds = {"number 0"}
    report = await deaf_bench.buy(make_requests(8, n=4), **NEVER)
    assert report.tally.done == 7
    assert min(deaf.beside[1:]) >= 1


async def test_one_image_after_four_of_four_goes_alone(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """What proved nothing was nothing to rely on."""
    deaf.deaf = BOTH
    report = await deaf_bench.buy([*make_requests(6, n=4), *make_requests(9, seed=8)])
    assert (report.stop, len(deaf.sent), report.left) == (STOPPED, 7, 8)
    assert deaf.beside[-1] == 0


@pytest.mark.parametrize("stops", [False, True])
async def test_a_task_that_fails_proves_nothing_and_the_next_goes_alone(
    stops: bool, deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """Two that fail, then one that tells."""
    deaf.fails, deaf.deaf = {"number 0", "number 1"}, BOTH if stops else set()
    report = await deaf_bench.buy(make_requests(9))
    assert deaf.beside[:3] == [0, 0, 0]
    assert (report.stop, len(deaf.sent)) == ((STOPPED, 3) if stops else (None, 9))


async def test_a_task_that_never_ends_does_not_hold_the_batch_for_ever(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """After the patience the rest goes as if the form were proven, and its tasks prove it."""
    deaf.holds = {"number 0"}
    report = await deaf_bench.buy(make_requests(9), proof_patience_s=10.0, task_patience_s=60.0)
    assert (report.stop, report.tally.done) == (None, 8)
    assert min(deaf.beside[1:]) >= 1


async def test_a_misunderstood_form_is_tried_again_with_one_create(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """However many images a row asks for: also beside four of four it may ignore everything."""
    deaf.deaf = {FLAT}
    requests = make_requests(9)
    await deaf_bench.buy(requests, form=FLAT)
    for nights in (2, 3):
        report = await deaf_bench.buy(requests, form=FLAT)
        assert (report.stop, len(deaf.sent)) == (STOPPED, nights)
    report = await deaf_bench.buy(make_requests(9, n=4), form=FLAT)
    assert (report.stop, len(deaf.sent)) == (STOPPED, 4)
    assert "not proven" in report.stop_detail
    deaf.holds = {"kite"}
    report = await deaf_bench.buy(
        make_requests(9, seed=9), form=FLAT, proof_patience_s=10.0, task_patience_s=60.0
    )
    assert (report.stop, len(deaf.sent)) == (STOPPED, 5)


async def test_a_try_that_fails_for_nothing_may_be_followed_by_another(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """Else one moderated prompt kept a repaired form misunderstood."""
    deaf.deaf = {FLAT}
    await deaf_bench.buy(make_requests(1, seed=8), form=FLAT)
    deaf.deaf, deaf.fails = set(), {"number 0"}
    report = await deaf_bench.buy(make_requests(9), form=FLAT)
    assert (report.stop, report.tally.done) == (None, 8)


@pytest.mark.parametrize("stops", [False, True])
async def test_a_task_of_a_dead_run_decides_for_the_next(
    stops: bool, deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """Nothing is created beside it; with its proof the window opens, else nothing is bought."""
    deaf.holds, deaf.deaf = {"kite"}, BOTH if stops else set()
    await deaf_bench.buy(make_requests(1), task_patience_s=2.0)
    deaf.holds = set()
    report = await deaf_bench.buy(make_requests(9), **NEVER)
    assert (report.stop, len(deaf.sent)) == ((STOPPED, 1) if stops else (None, 9))
    assert deaf.beside[:2] == [0, 0][: len(deaf.beside)]


async def test_recovery_proves_a_form(deaf: DeafProvider, deaf_bench: Workbench) -> None:
    """The run after it waits for nothing."""
    deaf.holds = {"kite"}
    await deaf_bench.buy(make_requests(1, seed=8), task_patience_s=2.0)
    deaf.holds = set()
    await deaf_bench.recover()
    deaf.holds = {"number 0"}
    report = await deaf_bench.buy(make_requests(9), **NEVER)
    assert report.tally.done == 8


@pytest.mark.parametrize("stops", [False, True])
async def test_two_runs_of_one_account_send_one_create_between_them(
    stops: bool, deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """Each has its own connection to the ledger; what one learns holds for the other."""
    deaf.deaf = BOTH if stops else set()
    one, other = await asyncio.gather(
        deaf_bench.buy(make_requests(9), run_id="one"),
        deaf_bench.buy(make_requests(9, seed=8), run_id="other"),
    )
    assert deaf.beside[:2] == [0, 0][: len(deaf.beside)]
    if stops:
        assert (one.stop, other.stop, len(deaf.sent)) == (STOPPED, STOPPED, 1)
        assert one.left + other.left == 17
    else:
        assert (one.tally.done, other.tally.done, len(deaf.sent)) == (9, 9, 18)


async def test_of_two_runs_the_one_that_may_choose_goes_on_in_the_other_form(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """The lesson is paid for once."""
    deaf.deaf = {FLAT}
    reports = await asyncio.gather(
        deaf_bench.buy(make_requests(9), run_id="one", form=RequestForm.AUTO),
        deaf_bench.buy(make_requests(9, seed=8), run_id="other", form=RequestForm.AUTO),
    )
    assert sorted(report.tally.done for report in reports) == [1, 9]
    assert deaf.sent == [FLAT, *[WRAPPED] * 9]


async def test_a_cancellation_ends_the_wait(deaf: DeafProvider, deaf_bench: Workbench) -> None:
    """The task goes on at the provider, nothing else was sent, and the next run goes on with it."""
    deaf.holds = {"kite"}
    buying = asyncio.ensure_future(deaf_bench.buy(make_requests(9), **NEVER))
    for _ in range(3):
        await deaf.polls.acquire()
    buying.cancel()
    with pytest.raises(asyncio.CancelledError):
        await buying
    assert deaf_bench.books().states() == ["submitted"]
    deaf.holds = set()
    report = await deaf_bench.buy(make_requests(9), **NEVER)
    assert (report.tally.done, len(deaf.sent)) == (9, 9)


@pytest.mark.parametrize(
    "terms",
    [
        {"reproduction": True, "prompt_set": "canary@v1 2026-11-24"},
        {"retry": RetryRule(what=frozenset({Retry.FAILED}))},
    ],
)
async def test_reproductions_and_retries_wait_for_the_proof_too(
    terms: dict[str, Any], deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """What is bought once more costs as much."""
    deaf.fails = {"kite"}
    await deaf_bench.buy(make_requests(9))
    deaf.fails, deaf.deaf = set(), BOTH
    report = await deaf_bench.buy(make_requests(9), **terms)
    assert (report.stop, len(deaf.sent), report.left) == (STOPPED, 10, 8)
