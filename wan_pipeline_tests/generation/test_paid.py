"""What is told of a paid request whose images have not all arrived."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.generation.paid import paid_told
from wan_pipeline.ledger.records import ImageRecord
from wan_pipeline.ledger.states import ImageState
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.generation.batch_fixture import Workbench

DIES = datetime(2026, 3, 4, 5, 6, tzinfo=UTC)


async def told_of(bench: Workbench, emulator: RunningEmulator, *kinds: FaultKind) -> str:
    """What is told of a request of two images, of which the first one meets the faults."""
    faults = tuple(Fault(kind=kind) for kind in kinds)
    emulator.set_plan(FAST.model_copy(update={"faults": faults}))
    request = make_request(n=2)
    await bench.buy([request])
    with bench.ledger() as ledger:
        purchase = ledger.purchases([request.request_id])[request.request_id]
        return paid_told(purchase, ledger.images([request.request_id])[request.request_id])


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


def record(state: ImageState, problem: str | None, index: int = 0) -> ImageRecord:
    """An image's row."""
    unknown = dict.fromkeys(
        ("job_id", "image_id", "path", "format", "bytes", "width", "height", "stored_at")
    )
    return ImageRecord(
        profile="emulator",
        request_id="a" * 64,
        attempt=1,
        image_index=index,
        state=state,
        url="https://host/1.png",
        url_expires_at=DIES,
        problem=problem,
        **unknown,
    )


async def test_words_of_a_host_are_bounded_and_cannot_steer(
    bench: Workbench, emulator: RunningEmulator
) -> None:
    """A reason may quote what a host sent."""
    request = make_request()
    emulator.set_plan(FAST)
    await bench.buy([request])
    with bench.ledger() as ledger:
        purchase = ledger.purchases([request.request_id])[request.request_id]
    hostile = record(ImageState.EXPECTED, "\x1b[31m" + "long words " * 1000)
    told = paid_told(purchase, [hostile])
    assert told.isprintable()
    assert len(told) < 400
    assert "until 2026-03-04 05:06 UTC" in told
    waiting = paid_told(purchase, [record(ImageState.EXPECTED, None)])
    assert waiting == "paid 0.03 USD and done at the provider; the next run fetches its images"
    lost = [record(ImageState.LOST, "the result's URL answers 404 (gone or expired). Run again")]
    assert paid_told(purchase, lost) == (
        "paid 0.03 USD; its image can no longer be fetched: the result's URL answers 404 (gone"
        " or expired); `wan run --retry lost` buys the request again, for its price"
    )
    assert purchase.cost_usd == Decimal("0.03")
