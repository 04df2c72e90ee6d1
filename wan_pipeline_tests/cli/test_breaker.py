"""`wan run` when the breaker holds creates back: it says so, and what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.emulator_fixture import FAST

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

PAUSE = {"WAN_BREAKER_PAUSE_S": "0.25"}
TOLD = "creates pause for 0.25 s, then one goes alone: 3 creates in a row without a known outcome"
SIX = "prompt\n" + "".join(f"kite {number}\n" for number in range(6))


@pytest.mark.slow
def test_a_pause_is_told_when_it_begins_and_in_the_summary(
    folder: Folder, provider: RunningEmulator
) -> None:
    """Three creates are in doubt, the provider recovers, and the other three are bought."""
    bad_minute = Fault(kind=FaultKind.ERROR_500_BEFORE, times=3)
    provider.set_plan(FAST.model_copy(update={"faults": (bad_minute,)}))
    folder.write("set.csv", SIX)
    done = folder.process("run", "set", **PAUSE)
    assert done.returncode == 3, done.stdout + done.stderr
    assert TOLD in done.stdout
    assert f"1; the last: {TOLD}" in done.stdout
    assert "submitted=6 stored=3 failed=3 cost_usd=0.09" in done.stdout


@pytest.mark.slow
def test_a_stop_after_a_pause_exits_4_and_tells_both(
    folder: Folder, provider: RunningEmulator
) -> None:
    """The provider stays as it is: the create that went alone is the last one."""
    provider.set_plan(FAST.model_copy(update={"faults": (Fault(kind=FaultKind.ERROR_500_AFTER),)}))
    folder.write("set.csv", SIX)
    done = folder.process("run", "set", "--json", **PAUSE)
    assert done.returncode == 4, done.stdout + done.stderr
    (told,) = json.loads(done.stdout)
    assert (told["stop"], told["pauses"]) == ("unknown_creates", 1)
    assert (told["submitted"], told["left"]) == (4, 2)
    assert "4 creates in a row" in told["error"]
    assert "also after 1 pause of 0.25 s" in told["error"]
    assert TOLD in done.stderr
