"""SIGKILL at every point of a request's life, and in the recovery: bill and ledger still agree."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from wan_pipeline_tests.crash.crash import Line, Sums, pair_of, play
from wan_pipeline_tests.crash.points import kind_of
from wan_pipeline_tests.crash.scenario import Scenario, names_of_life

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.slow(apart=True), pytest.mark.timeout(900)]

PARTS = 4  # for as many test processes
PAIRS = 20
SEED = 7
DRAWS = 4
FEWEST = 200
# Every durable write and every exchange; a new one must turn up here, or nobody crashes at it.
KINDS = {
    *(f"{step}.{at}" for step in ("create", "poll", "download") for at in ("sent", "accepted")),
    *(
        f"{write}.committed"
        for write in (
            *("enrol", "take_over", "intend", "submitted", "not_sent", "unknown", "refused"),
            *("succeeded", "failed", "image", "reopen", "restore", "remember", "reserve", "pause"),
            *("take_ticket", "add_ticket", "give_back", "discharge"),
        )
    ),
    *("rescue.prepared", "images.half_written", "images.before_rename", "images.renamed"),
}


@pytest.mark.parametrize("part", range(PARTS))
def test_kill_at_every_point_costs_nothing(part: int, tmp_path: Path) -> None:
    """What a person finishes afterwards is what an undisturbed run would have brought."""
    sums = Sums()
    with Scenario(tmp_path) as scenario:
        names = names_of_life(scenario)
        assert len(names) >= FEWEST
        assert {kind_of(name) for name in names} >= KINDS
        mine = names[part::PARTS]
        for name in mine:
            sums.add(play(scenario, name))
    assert [str(line) for line in sums.broken] == []
    assert len(sums.unreached) <= len(mine) // 20, [str(line) for line in sums.unreached]


@pytest.mark.parametrize("part", range(PARTS))
def test_kill_in_the_recovery_costs_nothing(part: int, tmp_path: Path) -> None:
    """Pairs chosen by seed; `make crash` plays one of every pair of kinds, or all of them."""
    sums = Sums()
    with Scenario(tmp_path) as scenario:
        names = names_of_life(scenario)
        for number in range(part, PAIRS, PARTS):
            sums.add(played_pair(scenario, names, number))
    assert [str(line) for line in sums.broken] == []
    assert len(sums.unreached) <= 1, [str(line) for line in sums.unreached]


def played_pair(scenario: Scenario, names: list[str], number: int) -> Line:
    """A pair whose second point the recovery comes to; by chance some recoveries do not."""
    line = None
    for again in range(DRAWS):
        line = play(scenario, *pair_of(scenario, names, number + again * PAIRS, seed=SEED))
        if line.broken or line.reached == len(line.points):
            break
    assert line is not None
    return line
