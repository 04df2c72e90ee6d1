"""What is told of a paid request whose images have not all arrived."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.ledger.incomplete import explain
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.generation.batch_fixture import Workbench


async def told_of(bench: Workbench, emulator: RunningEmulator, *kinds: FaultKind) -> str:
    """What is told of a request of two images, of which the first one meets the faults."""
    faults = tuple(Fault(kind=kind) for kind in kinds)
    emulator.set_plan(FAST.model_copy(update={"faults": faults}))
    request = make_request(n=2)
    await bench.buy([request])
    with bench.ledger() as ledger:
        purchase = ledger.purchases([request.request_id])[request.request_id]
        images = ledger.images([request.request_id])[request.request_id]
        return str(explain(purchase, images, now=datetime.now(UTC)))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (FaultKind.TRUNCATED_IMAGE, "damaged image (truncated)"),
        (FaultKind.HTML_IMAGE, "damaged image (not_an_image)"),
        (FaultKind.EXPIRED_URL, "the result's URL answers 403 (gone or expired)"),
        (FaultKind.REDIRECT_LOOP, "redirects more than"),
    ],
)
async def test_an_image_that_does_not_arrive_is_told_with_money_reason_and_deadline(
    bench: Workbench, emulator: RunningEmulator, kind: FaultKind, reason: str
) -> None:
    """Not that the next run will fetch it: this one tried."""
    told = await told_of(bench, emulator, kind)
    assert told.startswith("paid 0.06 USD; 2 of 2 images could not be fetched so far: ")
    assert reason in told
    assert "each run and `wan reconcile` try again until 20" in told
    assert told.endswith(" UTC, then it is lost")
    assert "next run fetches" not in told
