"""`wan plan` of a prompt matrix: what multiplies what, the price, and the ceiling."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder

MATRIX = """
axes:
  season: {sweep: [spring, autumn]}
  animal: {sample: 2, from: wildcards/animals.txt}
templates:
  wood: {prompt: "a {season} wood with one {animal}", n: 2, size: 16:9}
  odd: {prompt: "{animal}", axes: {n: {sweep: [1, 9]}}}
"""


def test_a_matrix_is_counted_priced_and_explained(idle: Folder) -> None:
    """For people and for scripts; rows that break a rule are found by template and values."""
    (idle.path / "prompts" / "wildcards").mkdir(parents=True)
    idle.write("wildcards/animals.txt", "owl\nfox\nhare\n")
    idle.write("zoo.yaml", MATRIX)
    done = idle.wan("plan", "zoo", "--json")
    assert done.exit_code == 0, done.output
    (plan,) = json.loads(done.stdout)
    assert (plan["requests"], plan["images"], plan["rejections"]) == (6, 10, 2)
    assert plan["cost_to_buy_usd"] == "0.30"
    wood, odd = plan["matrix"]["templates"]
    assert (wood["combinations"], wood["prompts"], odd["prompts"]) == (4, 4, 4)
    assert wood["axes"][1] == {
        "axis": "animal",
        "values": 2,
        "available": 3,
        "repeated": 0,
        "asked": 2,
    }

    shown = idle.wan("plan", "zoo")
    assert "zoo makes 8:" in shown.stdout
    assert "wood: season 2 × animal 2 of 3 = 4" in shown.stdout
    assert "2 rules broken" in shown.stdout

    stopped = idle.wan("plan", "zoo", WAN_MATRIX_MAX_PROMPTS="7")
    assert stopped.exit_code == 2, stopped.output
    for words in ("8 prompts", "at most", "WAN_MATRIX_MAX_PROMPTS", "season 2 × animal 2 of 3"):
        assert words in stopped.output

    idle.write("zoo.yaml", MATRIX.replace("{season} wood", "{saison} wood"))
    misspelt = idle.wan("plan", "zoo")
    assert misspelt.exit_code == 2, misspelt.output
    assert "line 6, templates.wood: {saison}" in misspelt.output
    assert "Perhaps 'season' is meant" in misspelt.output
