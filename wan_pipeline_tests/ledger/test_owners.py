"""Who is alive, and what becomes of the purchases of those who are not."""

from __future__ import annotations

import asyncio
import dataclasses
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.ledger.decisions import Decision, release, write_off
from wan_pipeline.ledger.errors import DecisionError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.owner import Owner
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline_tests.ledger.conftest import PROFILE, intention

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.ledger.conftest import FakeTime, Life

NOW = datetime(2026, 11, 22, tzinfo=UTC)
LATER = NOW + timedelta(seconds=60)
S = PurchaseState
UNFINISHED = [S.INTENT, S.SUBMITTED, S.SUCCEEDED]


def test_this_process_is_alive_while_its_lease_runs() -> None:
    """And free for others afterwards, in any case."""
    owner = Owner.of_this_process("run")
    assert owner.alive(lease_expires_at=LATER, now=NOW)
    assert not owner.alive(lease_expires_at=NOW, now=NOW)
    assert not owner.alive(lease_expires_at=NOW, now=LATER)


def test_pid_that_was_given_to_another_process_is_no_life() -> None:
    """The same number, another start: the owner is dead."""
    owner = Owner.of_this_process("run")
    reused = dataclasses.replace(owner, process_started=owner.process_started - 1)
    assert not reused.alive(lease_expires_at=LATER, now=NOW)


def test_process_that_ended_is_dead_even_before_anybody_waited_for_it() -> None:
    """Gone, and a zombie alike."""
    script = "import sys; sys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE) as process:
        from wan_pipeline.ledger import owner as owners  # noqa: PLC0415

        owner = dataclasses.replace(
            Owner.of_this_process("run"),
            pid=process.pid,
            process_started=owners.process_start(process.pid),
        )
        assert owner.alive(lease_expires_at=LATER, now=NOW)
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, not yet waited for
        assert not owner.alive(lease_expires_at=LATER, now=NOW)
    assert not owner.alive(lease_expires_at=LATER, now=NOW)


def test_process_of_another_machine_is_believed_until_its_lease_ends() -> None:
    """Its pid means nothing here."""
    away = dataclasses.replace(Owner.of_this_process("run"), machine="elsewhere", pid=2**22 + 5)
    assert away.alive(lease_expires_at=LATER, now=NOW)
    assert not away.alive(lease_expires_at=NOW, now=NOW)


@pytest.mark.parametrize("state", UNFINISHED)
async def test_live_owner_keeps_its_rows(state: PurchaseState, life: Life) -> None:
    """Another batch of the same process waits for them."""
    await life.reach(state)
    with life.ledger.owner("second") as second:
        assert await life.ledger.take_over(second) == []
    assert life.state() is state


@pytest.mark.parametrize("state", list(S))
async def test_rows_of_an_owner_that_ended_are_taken_over(
    state: PurchaseState, ledger: Ledger, life: Life
) -> None:
    """The unfinished ones, at once; an unanswered create is in doubt, the rest stays as it is."""
    with ledger.owner("first") as first:
        life.owner = first
        await life.reach(state)
    with ledger.owner("second") as second:
        taken = await ledger.take_over(second)
        assert [purchase.request_id for purchase in taken] == ["r1"] * (state in UNFINISHED)
        assert life.state() is (S.UNKNOWN if state is S.INTENT else state)
        again = await ledger.take_over(second)
        assert again == []
        if state is S.SUBMITTED:
            life.owner = second
            await life.succeed()
            assert await ledger.image(life.key(), second, 0, ImageState.STORED)


async def test_owner_that_ended_is_dead_on_a_clock_that_was_set_back(
    ledger: Ledger, time: FakeTime
) -> None:
    """Its process may live on, and another machine's clock may be behind."""
    with ledger.owner("first") as first:
        await ledger.intend(intention(), owner=first)
    time.pass_(-3600)
    assert first.owner_id not in ledger.living_owners()
    with ledger.owner("second") as second:
        assert len(await ledger.take_over(second)) == 1


async def test_renewed_lease_lasts_and_a_forgotten_one_ends(life: Life, time: FakeTime) -> None:
    """A minute without a sign of life frees the rows, whatever the process looks like."""
    await life.reach(S.SUBMITTED)
    with life.ledger.owner("second") as second:
        time.pass_(50)
        await life.ledger.renew(life.owner)
        time.pass_(50)
        assert await life.ledger.take_over(second) == []
        time.pass_(11)
        await life.ledger.renew(second)
        (taken,) = await life.ledger.take_over(second)
        assert taken.owner_id == second.owner_id


async def test_late_answer_still_finds_its_own_unknown(life: Life, time: FakeTime) -> None:
    """A process that slept through its lease comes back with the task id: it is not lost."""
    await life.reach(S.INTENT)
    time.pass_(61)
    with life.ledger.owner("second") as second:
        (taken,) = await life.ledger.take_over(second)
        assert taken.state is S.UNKNOWN
    await life.go(S.SUBMITTED)
    assert life.ledger.purchases()["r1"].task_id == "task-of-r1"


def an_hour_on() -> datetime:
    """When every lease of now has ended."""
    return datetime.now(UTC) + timedelta(hours=1)


INTEND_AND_STOP = """
import asyncio, os, signal, sys
from pathlib import Path

from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline_tests.ledger.conftest import PROFILE, intention

async def main():
    where = sys.argv[1]
    with Ledger(Path(where) if "://" not in where else where, PROFILE) as ledger:
        with ledger.owner("slow") as owner:
            await ledger.intend(intention(), owner=owner)
            os.kill(os.getpid(), signal.SIGSTOP)

asyncio.run(main())
"""


@pytest.mark.parametrize("what", [release, write_off])
def test_unknown_of_a_run_that_stands_still_is_not_given_away(what: Any, where: Path | str) -> None:
    """It may be about to send its create: continued or ended first, then there is a decision."""
    with subprocess.Popen([sys.executable, "-c", INTEND_AND_STOP, str(where)]) as process:
        try:
            os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WNOWAIT)
            with Ledger(where, PROFILE, now=an_hour_on) as ledger, ledger.owner("other") as other:
                (taken,) = asyncio.run(ledger.take_over(other))
                assert taken.state is S.UNKNOWN
                decision = Decision(request_id="r1", who="mei", why="not in the console")
                change = partial(what, profile=PROFILE, decision=decision, now=ledger.now())
                with pytest.raises(DecisionError, match=f"kill -CONT {process.pid}"):
                    ledger.apply_now(change)
                assert ledger.purchases()["r1"].state is S.UNKNOWN
                process.send_signal(signal.SIGCONT)
                assert process.wait(60) == 0
                ledger.apply_now(change)
        finally:
            process.kill()


async def test_only_the_requests_asked_for_are_taken(ledger: Ledger, life: Life) -> None:
    """Another prompt set's are another batch's business; without a list, everything is."""
    with ledger.owner("first") as first:
        life.owner = first
        for request_id in ("a", "b", "c"):
            await life.reach(S.SUBMITTED, request_id)
    with ledger.owner("second") as second:
        assert await ledger.take_over(second, ()) == []
        taken = await ledger.take_over(second, ["b", "never intended"])
        assert [purchase.request_id for purchase in taken] == ["b"]
        taken = await ledger.take_over(second)
        assert [purchase.request_id for purchase in taken] == ["a", "c"]


async def test_oldest_deadline_comes_first(ledger: Ledger, life: Life, time: FakeTime) -> None:
    """Results die; those without a deadline yet wait."""
    with ledger.owner("first") as first:
        life.owner = first
        for request_id in ("z", "m", "a"):
            await life.reach(S.SUBMITTED, request_id)
            time.pass_(1)
    with ledger.owner("second") as second:
        taken = await ledger.take_over(second)
    assert [purchase.request_id for purchase in taken] == ["z", "m", "a"]
