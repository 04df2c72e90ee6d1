"""What a finished task proves of the form of its body, and what later runs make of that."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.generation.batch_fixture import PRICE, PROFILE, Workbench, make_requests
from wan_pipeline_tests.generation.deaf_provider import DeafProvider
from wan_pipeline_tests.wan.scripted_server import scripted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

FLAT, WRAPPED = RequestForm.FLAT, RequestForm.WRAPPED
BOTH = {FLAT, WRAPPED}
AUTO: dict[str, Any] = {"form": RequestForm.AUTO, "first_form": WRAPPED}
STOPPED = StopReason.BODY_NOT_UNDERSTOOD


@pytest.fixture
def provider() -> DeafProvider:
    """Understands everything until a test says otherwise."""
    return DeafProvider()


@pytest.fixture
async def bench(tmp_path: Path, provider: DeafProvider) -> AsyncIterator[Workbench]:
    """A workbench beside that provider."""
    async with scripted(provider) as server:
        yield Workbench(folder=tmp_path, base_url=server.url)


async def test_a_misunderstood_form_is_not_bought_in_again(
    provider: DeafProvider, bench: Workbench
) -> None:
    """The next run, on the same words, buys everything in the other form."""
    provider.deaf = {WRAPPED}
    requests = make_requests(12)
    assert (await bench.buy(requests, **AUTO)).stop is STOPPED
    first = provider.bill
    again = await bench.buy(requests, **AUTO)
    assert (again.stop, again.tally.failed) == (None, 0)
    left = 12 - provider.sent.count(WRAPPED)
    assert provider.sent[-left:] == [FLAT] * left
    assert provider.bill - first == left * PRICE
    assert bench.books().spent == provider.bill


async def test_the_other_form_that_is_refused_leads_not_back_to_a_misunderstood_one(
    provider: DeafProvider, bench: Workbench
) -> None:
    """Night after night nothing is bought and no row is burned, until a person decides."""
    provider.refuses, provider.deaf = {WRAPPED}, {FLAT}
    requests = make_requests(12)
    assert (await bench.buy(requests, **AUTO)).stop is STOPPED
    first, states = provider.bill, bench.books().states()
    for _ in range(2):
        report = await bench.buy(requests, **AUTO)
        assert report.stop is STOPPED
        assert "WAN_REQUEST_FORM=wrapped" in report.stop_detail
        assert report.left == 12 - states.count("stored")
    assert provider.bill == first
    assert set(bench.books().states()) == {"stored", "planned"}


async def test_nothing_is_bought_when_both_forms_are_misunderstood(
    provider: DeafProvider, bench: Workbench
) -> None:
    """Each form costs one lesson; the third night sends nothing and says why."""
    provider.deaf = BOTH
    requests = make_requests(40)
    for _ in range(2):
        assert (await bench.buy(requests, **AUTO)).stop is STOPPED
    sent = len(provider.sent)
    report = await bench.buy(requests, **AUTO)
    assert report.stop is STOPPED
    assert "each form" in report.stop_detail
    assert "WAN_REQUEST_FORM" in report.stop.remedy
    assert (report.tally.created, len(provider.sent)) == (0, sent)


async def test_a_proven_form_goes_first_whatever_the_profile_says(
    provider: DeafProvider, bench: Workbench
) -> None:
    """What a person's setting proved holds for `auto` too."""
    await bench.buy(make_requests(1), form=FLAT)
    await bench.buy(make_requests(3), **AUTO)
    assert provider.sent == [FLAT] * 3


async def test_an_accepted_form_is_not_remembered_before_a_task_has_ended(
    provider: DeafProvider, bench: Workbench
) -> None:
    """An accepted create proves nothing."""
    provider.holds = {"kite"}
    await bench.buy(make_requests(1), **AUTO, task_patience_s=1.0)
    assert remembered(bench) == {}
    provider.holds = set()
    await bench.buy(make_requests(1), **AUTO)
    assert remembered(bench) == {"": "wrapped", ":wrapped": "proven"}


async def test_a_failed_task_proves_nothing(provider: DeafProvider, bench: Workbench) -> None:
    """Nor does it speak against the form."""
    provider.fails = {"kite"}
    await bench.buy(make_requests(1), **AUTO)
    assert remembered(bench) == {}


async def test_four_images_of_four_prove_nothing(provider: DeafProvider, bench: Workbench) -> None:
    """They are what a provider makes that reads nothing; the form goes first again all the same."""
    provider.refuses, provider.deaf = {WRAPPED}, {FLAT}
    await bench.buy(make_requests(2, n=4), **AUTO)
    assert remembered(bench) == {"": "flat"}
    await bench.buy(make_requests(3, n=4), **AUTO)
    assert provider.sent == [WRAPPED, FLAT, FLAT, FLAT]
    report = await bench.buy(make_requests(12), **AUTO)
    assert report.stop is STOPPED


async def test_at_the_stop_the_form_is_forgotten(provider: DeafProvider, bench: Workbench) -> None:
    """A provider that stops reading what it read before."""
    await bench.buy(make_requests(1), **AUTO)
    provider.deaf = {WRAPPED}
    assert (await bench.buy(make_requests(3), **AUTO)).stop is STOPPED
    assert remembered(bench) == {"": "", ":wrapped": "misunderstood"}


async def test_what_an_older_version_remembered_is_a_hint_and_no_proof(
    provider: DeafProvider, bench: Workbench
) -> None:
    """It kept the accepted form, also when that was not understood."""
    with bench.ledger() as ledger:
        await ledger.remember(f"form:{PROFILE}:{bench.base_url}", "flat")
    provider.deaf = {FLAT}
    await bench.buy(make_requests(12), **AUTO)
    assert provider.sent[0] is FLAT
    sent = len(provider.sent)
    await bench.buy(make_requests(12), **AUTO)
    assert set(provider.sent[sent:]) == {WRAPPED}


async def test_a_task_of_a_dead_run_speaks_against_its_form(
    provider: DeafProvider, bench: Workbench
) -> None:
    """Recovery learns it; the next run buys nothing more in that form."""
    provider.deaf, provider.holds = {WRAPPED}, {"kite"}
    await bench.buy(make_requests(1), **AUTO, task_patience_s=1.0)
    provider.holds = set()
    await bench.recover(**AUTO)
    assert remembered(bench)[":wrapped"] == "misunderstood"
    report = await bench.buy(make_requests(3), **AUTO)
    assert (report.stop, provider.sent) == (None, [WRAPPED, FLAT, FLAT])


async def test_what_is_left_of_a_misunderstood_form_is_fetched_and_stops_nobody(
    provider: DeafProvider, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed between the verdict and the task's own record: the next run goes on."""
    provider.deaf = {WRAPPED}

    async def dies(*_: object, **__: object) -> None:
        raise OSError("the power went")

    monkeypatch.setattr(Ledger, "succeeded", dies)
    with pytest.raises(OSError, match="power"):
        await bench.buy(make_requests(1), **AUTO)
    monkeypatch.undo()
    report = await bench.buy(make_requests(4), **AUTO)
    assert (report.stop, provider.sent) == (None, [WRAPPED, *[FLAT] * 3])
    assert bench.books().states() == ["stored"] * 4
    assert bench.books().spent == provider.bill


@pytest.mark.parametrize("n", [1, 4])
async def test_a_person_may_try_a_misunderstood_form_again(
    n: int, provider: DeafProvider, bench: Workbench
) -> None:
    """One that was repaired is proven by it, and all are bought."""
    provider.deaf = {FLAT}
    assert (await bench.buy(make_requests(1), form=FLAT)).stop is STOPPED
    provider.deaf = set()
    report = await bench.buy(make_requests(1, seed=8), form=FLAT)
    assert report.stop is None
    assert remembered(bench)[":flat"] == "proven"
    report = await bench.buy(make_requests(9, n=n, seed=9), **AUTO)
    assert (report.stop, set(provider.sent)) == (None, {FLAT})


def remembered(bench: Workbench) -> dict[str, str]:
    """What the ledger keeps of the forms, by what follows the base URL in its name."""
    start = f"form:{PROFILE}:{bench.base_url}"
    with bench.ledger() as ledger:
        facts = {rest: ledger.recall(start + rest) for rest in ("", ":flat", ":wrapped")}
    return {rest: value for rest, value in facts.items() if value is not None}
