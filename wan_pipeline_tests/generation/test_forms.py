"""The layout of the create body, found out by a proven refusal and remembered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, ReplyStyle, RequestForm
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.wan import profiles
from wan_pipeline_tests.generation.batch_fixture import make_requests

if TYPE_CHECKING:
    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.generation.batch_fixture import Workbench

FLAT, WRAPPED = profiles.RequestForm.FLAT, profiles.RequestForm.WRAPPED
AUTO: dict[str, Any] = {"form": profiles.RequestForm.AUTO}


def only(*forms: RequestForm, faults: tuple[Fault, ...] = ()) -> EmulatorPlan:
    """An emulator that understands nothing else."""
    style = ReplyStyle(request_forms=frozenset(forms))
    return EmulatorPlan(speed_up=1000, replies=style, faults=faults)


@pytest.mark.parametrize(
    ("understood", "first", "wanted"),
    [
        (RequestForm.FLAT, WRAPPED, FLAT),
        (RequestForm.WRAPPED_NESTED, FLAT, WRAPPED),
    ],
)
async def test_other_form_is_tried_once_and_remembered(
    understood: RequestForm,
    first: profiles.RequestForm,
    wanted: profiles.RequestForm,
    emulator: RunningEmulator,
    bench: Workbench,
) -> None:
    """One refused create finds the form for this batch, and none is refused in the next."""
    emulator.set_plan(only(understood))
    report = await bench.buy(make_requests(5), **AUTO, first_form=first)
    assert report.stop is None
    bill = emulator.bill()
    assert (bill["creates_accepted"], bill["refused"], report.tally.created) == (5, 1, 6)
    books = bench.books()
    assert {purchase.form for purchase in books.purchases.values()} == {wanted.value}
    assert books.states() == ["stored"] * 5

    await bench.buy(make_requests(7), **AUTO, first_form=first)
    bill = emulator.bill()
    assert (bill["creates_accepted"], bill["refused"]) == (7, 1)


async def test_run_that_dies_between_the_forms_refuses_nothing(
    emulator: RunningEmulator, bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one tries both again: a refusal of one form says nothing about the request."""
    emulator.set_plan(only(RequestForm.WRAPPED_NESTED))
    intend, calls = Ledger.intend, iter(range(9))

    async def dies_at_the_second(self: Ledger, *args: Any, **kwargs: Any) -> Any:
        if next(calls):
            raise LedgerUnavailableError("the power went")
        return await intend(self, *args, **kwargs)

    monkeypatch.setattr(Ledger, "intend", dies_at_the_second)
    with pytest.raises(LedgerUnavailableError):
        await bench.buy(make_requests(1), **AUTO, first_form=FLAT)
    monkeypatch.undo()
    assert bench.books().states() == ["planned"]
    assert bench.books().reserved == 0
    await bench.buy(make_requests(1), **AUTO, first_form=FLAT)
    assert bench.books().states() == ["stored"]


@pytest.mark.parametrize("first", [FLAT, WRAPPED])
async def test_first_form_that_is_understood_is_the_only_one_sent(
    first: profiles.RequestForm, emulator: RunningEmulator, bench: Workbench
) -> None:
    """No create is spent on curiosity."""
    await bench.buy(make_requests(3), **AUTO, first_form=first)
    assert emulator.bill()["refused"] == 0
    assert {purchase.form for purchase in bench.books().purchases.values()} == {first.value}


async def test_provider_that_changes_its_mind_is_followed(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """What is remembered goes first, and is no dogma."""
    emulator.set_plan(only(RequestForm.WRAPPED_NESTED))
    await bench.buy(make_requests(1), **AUTO)
    emulator.set_plan(only(RequestForm.FLAT))
    report = await bench.buy(make_requests(3), **AUTO)
    assert report.tally.done == 2
    assert bench.books().states() == ["stored"] * 3


async def test_both_forms_refused_is_a_refused_row(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """Then it is the request and not the form; the next request is tried in both again."""
    bad = Fault(kind=FaultKind.REFUSED_400, prompt_contains="number 0")
    emulator.set_plan(only(RequestForm.FLAT, RequestForm.WRAPPED_NESTED, faults=(bad,)))
    requests = make_requests(3)
    report = await bench.buy(requests, **AUTO)
    books = bench.books()
    assert [books.state(request) for request in requests] == ["refused", "stored", "stored"]
    assert books.reserved == 0
    assert report.tally.created == 4
    assert emulator.bill()["creates_accepted"] == 2


async def test_once_understood_a_refusal_is_the_requests_own(
    emulator: RunningEmulator, bench: Workbench
) -> None:
    """No second form for a row that is refused later in the batch."""
    bad = Fault(kind=FaultKind.REFUSED_400, prompt_contains="number 2")
    emulator.set_plan(only(RequestForm.FLAT, RequestForm.WRAPPED_NESTED, faults=(bad,)))
    report = await bench.buy(make_requests(4), **AUTO)
    assert report.tally.created == 4
    assert bench.books().states() == ["refused", "stored", "stored", "stored"]


@pytest.mark.parametrize("form", [FLAT, WRAPPED])
async def test_form_that_the_user_fixed_is_never_left(
    form: profiles.RequestForm, emulator: RunningEmulator, bench: Workbench
) -> None:
    """One create, one refusal, one refused row."""
    other = RequestForm.WRAPPED_NESTED if form is FLAT else RequestForm.FLAT
    emulator.set_plan(only(other))
    report = await bench.buy(make_requests(1), form=form)
    assert report.tally.created == 1
    assert bench.books().states() == ["refused"]


@pytest.mark.parametrize("kind", [FaultKind.REFUSED_413, FaultKind.ERROR_500_BEFORE])
async def test_only_400_and_422_put_the_form_in_question(
    kind: FaultKind, emulator: RunningEmulator, bench: Workbench
) -> None:
    """After anything else a second POST would be a repeat, not another try."""
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=(Fault(kind=kind),)))
    report = await bench.buy(make_requests(1), **AUTO)
    assert report.tally.created == 1
