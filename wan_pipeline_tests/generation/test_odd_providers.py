"""Providers that say strange things about tasks that may have been paid for."""

from __future__ import annotations

import json
import sqlite3
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind, ReplyStyle
from wan_pipeline.ledger.review import price_differences
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.wan.errors import StopReason
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline.wan.retry import RetryPolicy
from wan_pipeline_tests.generation.batch_fixture import (
    PRICE,
    Workbench,
    make_request,
    make_requests,
)
from wan_pipeline_tests.wan.scripted_server import Asked, always, reply, scripted

if TYPE_CHECKING:
    import asyncio
    from pathlib import Path

    from wan_pipeline_tests.emulator_fixture import RunningEmulator


class Provider:
    """Answers creates with `task_ids` in turn, and polls with the same `final` for each."""

    def __init__(self, final: dict[str, Any], *task_ids: str) -> None:
        self._final = final
        self._task_ids = list(task_ids)
        self.creates = 0

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """One exchange."""
        answer: dict[str, Any] = {"status": "completed", **self._final}
        if asked.method == "POST":
            self.creates += 1
            answer = {"id": self._task_ids.pop(0), "status": "in_progress"}
        writer.write(reply(200, json.dumps(answer).encode()))


async def test_one_task_is_never_the_result_of_two_purchases(tmp_path: Path) -> None:
    """The second request that is told the same task id is unknown, and says whose task it is."""
    provider = Provider({"output": [], "usage": {"cost": "0"}}, "same-1", "same-1")
    first, second = requests = make_requests(2)
    async with scripted(provider) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        await bench.buy(requests)
        books = bench.books()
        assert books.state(second) == "unknown"
        assert first.request_id in books.purchases[second.request_id].problem
        assert books.reserved == PRICE
        await bench.buy(requests)
    assert provider.creates == 2


async def test_done_without_a_readable_image_is_not_complete(tmp_path: Path) -> None:
    """It may be billed and its images where we cannot read: reserved, and asked for again."""
    odd = {"output": {"images": ["http://127.0.0.1/x.png"]}}
    request = make_requests(1)
    async with scripted(Provider(odd, "t1")) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        report = await bench.buy(request)
        books = bench.books()
    assert (report.tally.done, report.tally.failed) == (0, 1)
    assert books.states() == ["submitted"]
    assert (books.spent, books.reserved) == (Decimal(0), PRICE)


async def test_a_poll_that_tells_of_another_task_is_not_believed(tmp_path: Path) -> None:
    """Its images are somebody else's."""
    final = {"id": "other", "output": [{"content": [{"type": "image", "url": "http://x/1.png"}]}]}
    async with scripted(Provider(final, "t1")) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        await bench.buy(make_requests(1))
        assert bench.books().states() == ["submitted"]


async def test_a_provider_that_refuses_everything_ends_the_batch(tmp_path: Path) -> None:
    """A reason that we cannot read (no credit, in words only) burns no row of the set."""
    refusal = reply(400, b'{"error": "insufficient balance"}')
    requests = make_requests(30)
    async with scripted(always(refusal)) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        report = await bench.buy(requests)
    assert report.stop is StopReason.REFUSALS
    assert "20 with" in report.stop_detail
    assert "insufficient balance" in report.stop_detail
    assert "count as not bought yet" in report.stop_detail
    assert "WAN_REFUSED_IN_A_ROW" in report.stop.remedy
    books = bench.books()
    assert set(books.states()) == {"planned"}
    assert {each.problem for each in books.purchases.values()} == {""}
    assert report.left == 10


async def test_a_wrong_form_burns_no_row(emulator: RunningEmulator, tmp_path: Path) -> None:
    """Refused by its layout, which a person had set, and bought once that is right."""
    only_wrapped = ReplyStyle(request_forms=["wrapped_nested"])
    emulator.set_plan(EmulatorPlan(speed_up=1000, replies=only_wrapped))
    requests = make_requests(25)
    bench = Workbench(folder=tmp_path, base_url=emulator.base_url)
    report = await bench.buy(requests, form=RequestForm.FLAT)
    assert report.stop is StopReason.REFUSALS
    assert set(bench.books().states()) == {"planned"}
    report = await bench.buy(requests, form=RequestForm.AUTO)
    assert report.stop is None
    assert bench.books().states() == ["stored"] * 25


async def test_rows_that_are_refused_after_one_was_accepted_are_their_own_fault(
    emulator: RunningEmulator, tmp_path: Path
) -> None:
    """The key, the address and the body were right; the batch stops, and they stay refused."""
    fault = Fault(kind=FaultKind.REFUSED_413, prompt_contains="too large")
    emulator.set_plan(EmulatorPlan(speed_up=1000, faults=(fault,)))
    large = [make_request(f"too large {number}") for number in range(9)]
    bench = Workbench(folder=tmp_path, base_url=emulator.base_url)
    report = await bench.buy([make_request("a kite"), *large], refused_in_a_row=5)
    assert report.stop is StopReason.REFUSALS
    states = bench.books().states()
    assert states.count("refused") >= 5
    assert states.count("stored") == 1


@pytest.mark.parametrize("form", [RequestForm.FLAT, RequestForm.AUTO])
async def test_rows_that_are_refused_one_after_another_are_told_by_reason(
    form: RequestForm, tmp_path: Path
) -> None:
    """A request counts once, also when both forms were tried; whose fault it is a person sees."""
    words = iter(["size"] * 5 * (1 + (form is RequestForm.AUTO)) + ["seed"] * 99)

    async def refuse(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        body = {"error": {"code": "InvalidParameter", "message": f"{next(words)} is wrong"}}
        writer.write(reply(400, json.dumps(body).encode()))

    requests = make_requests(12)
    async with scripted(refuse) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        report = await bench.buy(requests, form=form, refused_in_a_row=7)
    assert (report.stop, report.left) == (StopReason.REFUSALS, 5)
    first, sixth = (requests[number].request_id[:12] for number in (0, 5))
    assert f"5 with InvalidParameter: size is wrong (requests {first}" in report.stop_detail
    assert f"2 with InvalidParameter: seed is wrong (requests {sixth}" in report.stop_detail


@pytest.mark.parametrize(
    ("cost", "usd", "source", "told"),
    [
        ("$0.50", "0.5", "reported", ""),
        ("0,50", "0.03", "unreadable", "0,50"),
        (-1, "0.03", "unreadable", "-1"),
        (99_999, "0.03", "unreadable", "99999"),
        (None, "0.03", "price_table", ""),
    ],
)
async def test_cost_that_cannot_be_read_counts_as_the_price_and_is_kept(
    cost: Any, usd: str, source: str, told: str, emulator: RunningEmulator, tmp_path: Path
) -> None:
    """The budget must not trust nonsense, and a person must see it."""
    painted = Workbench(folder=tmp_path / "painted", base_url=emulator.base_url)
    await painted.buy(make_requests(1))
    url = next(iter(painted.books().images.values()))[0].url
    final = {"output": [{"content": [{"type": "image", "url": url}]}], "usage": {"cost": cost}}
    async with scripted(Provider(final, "t1")) as server:
        bench = Workbench(folder=tmp_path / "odd", base_url=server.url)
        report = await bench.buy(make_requests(1))
    assert report.tally.cost_usd == bench.books().spent == Decimal(usd)
    (purchase,) = bench.books().purchases.values()
    assert purchase.cost_source == source
    with bench.ledger() as ledger, snapshot(ledger) as view:
        found = {each.told: each.cost_usd for each in price_differences(view)}
    assert found == ({} if cost is None else {told: Decimal(usd)})


@pytest.mark.parametrize("kind", ["image/png", "png", "", "photo"])
async def test_the_bytes_decide_what_is_an_image(
    kind: str, emulator: RunningEmulator, tmp_path: Path
) -> None:
    """Types may lie: what is not certainly something else is fetched and looked at."""
    painted = Workbench(folder=tmp_path / "painted", base_url=emulator.base_url)
    await painted.buy(make_requests(1))
    url = next(iter(painted.books().images.values()))[0].url
    final = {"output": [{"content": [{"type": kind, "url": url}]}], "usage": {"cost": "0.03"}}
    async with scripted(Provider(final, "t1")) as server:
        bench = Workbench(folder=tmp_path / "odd", base_url=server.url)
        report = await bench.buy(make_requests(1))
    assert (report.tally.done, report.tally.images) == (1, 1)


async def test_a_busy_ledger_does_not_lose_a_paid_task(
    emulator: RunningEmulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While the ledger cannot be written, the task id is kept and written again and again."""
    monkeypatch.setattr("wan_pipeline.ledger.database.BUSY_TIMEOUT_MS", 200)
    bench = Workbench(folder=tmp_path / "bench", base_url=emulator.base_url)
    await bench.buy(make_requests(1, seed=1))  # the ledger exists
    holder = sqlite3.connect(
        tmp_path / "bench" / "ledger.sqlite", isolation_level=None, check_same_thread=False
    )
    taken = threading.Event()

    async def gate(asked: Asked, writer: asyncio.StreamWriter) -> None:
        """Lock the ledger between the create and its answer, for half a second."""
        if asked.method == "POST":
            holder.execute("BEGIN IMMEDIATE")
            taken.set()
            threading.Timer(0.5, holder.execute, ["ROLLBACK"]).start()
        writer.write(reply(200, b'{"id": "paid-1", "status": "in_progress"}'))

    async with scripted(gate) as server:
        bench.base_url = server.url
        await bench.buy(make_requests(1, seed=2), task_patience_s=1.0)
    holder.close()
    assert taken.is_set()
    tasks = {purchase.task_id for purchase in bench.books().purchases.values()}
    assert "paid-1" in tasks


async def test_a_provider_whose_clock_is_behind_takes_no_negative_time(tmp_path: Path) -> None:
    """It says that the task was done long before it was created."""
    final = {
        "output": [{"content": [{"type": "image", "url": "http://127.0.0.1:9/1.png"}]}],
        "metadata": {"completed_at": 1_600_000_000},
    }
    async with scripted(Provider(final, "t1")) as server:
        bench = Workbench(folder=tmp_path, base_url=server.url)
        bench.retry = RetryPolicy(attempts=1)
        await bench.buy(make_requests(1))
        (purchase,) = bench.books().purchases.values()
    assert purchase.submitted_at is not None
    assert purchase.completed_at is not None
    assert purchase.completed_at >= purchase.submitted_at
