"""What a finished task proves of the form of its body, and what later runs make of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.generation.batch_fixture import PRICE, PROFILE, make_requests

if TYPE_CHECKING:
    from wan_pipeline_tests.generation.batch_fixture import Workbench
    from wan_pipeline_tests.generation.deaf_provider import DeafProvider

FLAT, WRAPPED = RequestForm.FLAT, RequestForm.WRAPPED
BOTH = {FLAT, WRAPPED}
AUTO: dict[str, Any] = {"form": RequestForm.AUTO, "first_form": WRAPPED}
STOPPED = StopReason.BODY_NOT_UNDERSTOOD


async def test_a_misunderstood_form_is_not_bought_in_again(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """The next run, on the same words, buys everything in the other form."""
    deaf.deaf = {WRAPPED}
    requests = make_requests(12)
    assert (await deaf_bench.buy(requests, **AUTO)).stop is STOPPED
    first = deaf.bill
    again = await deaf_bench.buy(requests, **AUTO)
    assert (again.stop, again.tally.failed) == (None, 0)
    left = 12 - deaf.sent.count(WRAPPED)
    assert deaf.sent[-left:] == [FLAT] * left
    assert deaf.bill - first == left * PRICE
    assert deaf_bench.books().spent == deaf.bill


async def test_the_other_form_that_is_refused_leads_not_back_to_a_misunderstood_one(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """Night after night nothing is bought and no row is burned, until a person decides."""
    deaf.refuses, deaf.deaf = {WRAPPED}, {FLAT}
    requests = make_requests(12)
    assert (await deaf_bench.buy(requests, **AUTO)).stop is STOPPED
    first, states = deaf.bill, deaf_bench.books().states()
    for _ in range(2):
        report = await deaf_bench.buy(requests, **AUTO)
        assert report.stop is STOPPED
        assert "WAN_REQUEST_FORM=wrapped" in report.stop_detail
        assert report.left == 12 - states.count("stored")
    assert deaf.bill == first
    assert set(deaf_bench.books().states()) == {"stored", "planned"}


async def test_nothing_is_bought_when_both_forms_are_misunderstood(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """Each form costs one lesson; the third night sends nothing and says why."""
    deaf.deaf = BOTH
    requests = make_requests(40)
    for _ in range(2):
        assert (await deaf_bench.buy(requests, **AUTO)).stop is STOPPED
    sent = len(deaf.sent)
    report = await deaf_bench.buy(requests, **AUTO)
    assert report.stop is STOPPED
    assert "each form" in report.stop_detail
    assert "WAN_REQUEST_FORM" in report.stop.remedy
    assert (report.tally.created, len(deaf.sent)) == (0, sent)


async def test_a_proven_form_goes_first_whatever_the_profile_says(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """What a person's setting proved holds for `auto` too."""
    await deaf_bench.buy(make_requests(1), form=FLAT)
    await deaf_bench.buy(make_requests(3), **AUTO)
    assert deaf.sent == [FLAT] * 3


async def test_an_accepted_form_is_not_remembered_before_a_task_has_ended(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """An accepted create proves nothing."""
    deaf.holds = {"kite"}
    await deaf_bench.buy(make_requests(1), **AUTO, task_patience_s=1.0)
    assert remembered(deaf_bench) == {}
    deaf.holds = set()
    await deaf_bench.buy(make_requests(1), **AUTO)
    assert remembered(deaf_bench) == {"": "wrapped", ":wrapped": "proven"}


async def test_a_failed_task_proves_nothing(deaf: DeafProvider, deaf_bench: Workbench) -> None:
    """Nor does it speak against the form."""
    deaf.fails = {"kite"}
    await deaf_bench.buy(make_requests(1), **AUTO)
    assert remembered(deaf_bench) == {}


async def test_four_images_of_four_prove_nothing(deaf: DeafProvider, deaf_bench: Workbench) -> None:
    """They are what a provider makes that reads nothing; the form goes first again all the same."""
    deaf.refuses, deaf.deaf = {WRAPPED}, {FLAT}
    await deaf_bench.buy(make_requests(2, n=4), **AUTO)
    assert remembered(deaf_bench) == {"": "flat"}
    await deaf_bench.buy(make_requests(3, n=4), **AUTO)
    assert deaf.sent == [WRAPPED, FLAT, FLAT, FLAT]
    report = await deaf_bench.buy(make_requests(12), **AUTO)
    assert report.stop is STOPPED


async def test_at_the_stop_the_form_is_forgotten(deaf: DeafProvider, deaf_bench: Workbench) -> None:
    """A provider that stops reading what it read before."""
    await deaf_bench.buy(make_requests(1), **AUTO)
    deaf.deaf = {WRAPPED}
    assert (await deaf_bench.buy(make_requests(3), **AUTO)).stop is STOPPED
    assert remembered(deaf_bench) == {"": "", ":wrapped": "misunderstood"}


async def test_what_an_older_version_remembered_is_a_hint_and_no_proof(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """It kept the accepted form, also when that was not understood."""
    with deaf_bench.ledger() as ledger:
        await ledger.remember(f"form:{PROFILE}:{deaf_bench.base_url}", "flat")
    deaf.deaf = {FLAT}
    await deaf_bench.buy(make_requests(12), **AUTO)
    assert deaf.sent[0] is FLAT
    sent = len(deaf.sent)
    await deaf_bench.buy(make_requests(12), **AUTO)
    assert set(deaf.sent[sent:]) == {WRAPPED}


async def test_a_task_of_a_dead_run_speaks_against_its_form(
    deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """Recovery learns it; the next run buys nothing more in that form."""
    deaf.deaf, deaf.holds = {WRAPPED}, {"kite"}
    await deaf_bench.buy(make_requests(1), **AUTO, task_patience_s=1.0)
    deaf.holds = set()
    await deaf_bench.recover(**AUTO)
    assert remembered(deaf_bench)[":wrapped"] == "misunderstood"
    report = await deaf_bench.buy(make_requests(3), **AUTO)
    assert (report.stop, deaf.sent) == (None, [WRAPPED, FLAT, FLAT])


async def test_what_is_left_of_a_misunderstood_form_is_fetched_and_stops_nobody(
    deaf: DeafProvider, deaf_bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the verdict and the task's own record: the next run goes on."""
    deaf.deaf = {WRAPPED}

    async def dies(*_: object, **__: object) -> None:
        raise OSError("the power went")

    monkeypatch.setattr(Ledger, "succeeded", dies)
    with pytest.raises(OSError, match="power"):
        await deaf_bench.buy(make_requests(1), **AUTO)
    monkeypatch.undo()
    report = await deaf_bench.buy(make_requests(4), **AUTO)
    assert (report.stop, deaf.sent) == (None, [WRAPPED, *[FLAT] * 3])
    assert deaf_bench.books().states() == ["stored"] * 4
    assert deaf_bench.books().spent == deaf.bill


@pytest.mark.parametrize("n", [1, 4])
async def test_a_person_may_try_a_misunderstood_form_again(
    n: int, deaf: DeafProvider, deaf_bench: Workbench
) -> None:
    """One that was repaired is proven by it, and all are bought."""
    deaf.deaf = {FLAT}
    assert (await deaf_bench.buy(make_requests(1), form=FLAT)).stop is STOPPED
    deaf.deaf = set()
    report = await deaf_bench.buy(make_requests(1, seed=8), form=FLAT)
    assert report.stop is None
    assert remembered(deaf_bench)[":flat"] == "proven"
    report = await deaf_bench.buy(make_requests(9, n=n, seed=9), **AUTO)
    assert (report.stop, set(deaf.sent)) == (None, {FLAT})


def remembered(bench: Workbench) -> dict[str, str]:
    """What the ledger keeps of the forms, by what follows the base URL in its name."""
    start = f"form:{PROFILE}:{bench.base_url}"
    with bench.ledger() as ledger:
        facts = {rest: ledger.recall(start + rest) for rest in ("", ":flat", ":wrapped")}
    return {rest: value for rest, value in facts.items() if value is not None}
