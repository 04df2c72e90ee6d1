"""`wan run`: what it ends with, for people and for scripts."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.cli.conftest import last_line
from wan_pipeline_tests.emulator_fixture import FAST

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

TWO = "prompt_id,prompt,n\na,one,2\nb,two,1\n"


@pytest.mark.slow
def test_a_complete_run_exits_0_and_the_next_one_submits_nothing(
    folder: Folder, provider: RunningEmulator
) -> None:
    """The table says where things are; the last line is for scripts."""
    folder.write("set.csv", TWO)
    first = folder.process("run", "set")
    assert first.returncode == 0, first.stdout + first.stderr
    assert last_line(first.stdout) == (2, 3, 0, Decimal("0.09"))
    for name in ("metadata/set.parquet", "gallery/set/index.html"):
        path = folder.path / "emulator" / name
        assert path.is_file()
        assert str(path) in first.stdout
    second = folder.process("run")
    assert second.returncode == 0, second.stdout + second.stderr
    assert last_line(second.stdout) == (0, 0, 0, Decimal(0))
    assert "nothing submitted, nothing paid" in second.stdout
    assert provider.bill()["creates_received"] == 2


@pytest.mark.slow
def test_requests_that_are_not_complete_exit_3(folder: Folder, provider: RunningEmulator) -> None:
    """They are listed, the others are stored; words of others are printed as they are.

    A prompt id or a set name with square brackets is no markup: no crash, and nothing is lost.
    """
    failing = Fault(kind=FaultKind.TASK_FAILED, prompt_contains="two")
    provider.set_plan(FAST.model_copy(update={"faults": (failing,)}))
    folder.write("[b]set.csv", "prompt_id,prompt,n\na,one,2\n[/b]:smile:,two,1\nc,three,9\n")
    done = folder.process("run")
    assert done.returncode == 3, done.stdout + done.stderr
    assert last_line(done.stdout) == (2, 2, 1, Decimal("0.06"))
    assert "not complete: 1" in done.stdout
    assert "[/b]:smile:" in done.stdout
    assert "gallery/[b]set/index.html" in done.stdout
    # A row that was left out is no failure of the run; where its reason is, is said.
    assert "sets/[b]set/rejects.parquet" in done.stdout


@pytest.mark.slow
def test_a_stop_exits_4_and_publishes_what_is_stored(
    folder: Folder, provider: RunningEmulator
) -> None:
    """No credit after the first: its images are in metadata and gallery, nothing is burned."""
    provider.set_plan(FAST.model_copy(update={"credit_usd": Decimal("0.06")}))
    folder.write("set.csv", TWO)
    done = folder.process("run", "set")
    assert done.returncode == 4, done.stdout + done.stderr
    assert last_line(done.stdout) == (2, 2, 1, Decimal("0.06"))
    assert "top up the account" in done.stdout
    assert pq.read_metadata(folder.path / "emulator/metadata/set.parquet").num_rows == 2
    page = (folder.path / "emulator/gallery/set/index.html").read_text()
    assert "1 to buy" in page
    assert "failed" not in page.partition("</details>")[0].rpartition("</style>")[2]
    provider.set_plan(FAST)
    again = folder.wan("run", "set")
    assert again.exit_code == 0
    assert last_line(again.stdout) == (1, 1, 0, Decimal("0.03"))


def test_a_set_that_cannot_be_built_does_not_hide_the_others(
    folder: Folder, provider: RunningEmulator
) -> None:
    """Each set is built, the worst exit code is told, the JSON has an entry for each."""
    folder.write("bad.csv", "prompt,n\nfine,9\n")
    folder.write("good.csv", "prompt,extra\n[/b] :smile: [red]one,x\n")
    done = folder.wan("run", "--json")
    assert done.exit_code == 2, done.output
    bad, good = json.loads(done.stdout)
    assert (bad["prompt_set"], bad["exit_code"], bad["submitted"]) == ("bad", 2, 0)
    assert "rejects" in bad["error"]
    assert (good["prompt_set"], good["exit_code"], good["stored"]) == ("good", 0, 1)
    assert (good["not_complete"], good["error"], good["rejections"]) == ([], "", 0)
    assert Decimal(good["cost_usd"]) == Decimal("0.03")
    assert last_line(done.stderr) == (1, 1, 0, Decimal("0.03"))
    assert provider.bill()["usd"] == "0.03"


def test_without_key_or_price_a_real_profile_buys_nothing(
    folder: Folder, provider: RunningEmulator
) -> None:
    """Exit code 2 before anything is sent, and the name of the variable to set."""
    folder.write("set.csv", TWO)
    keyless = folder.wan("run", "set", WAN_PROFILE="vtrix", WAN_PRICE_USD="0.03")
    assert keyless.exit_code == 2, keyless.output
    assert "VTRIX_API_KEY" in keyless.stdout
    assert last_line(keyless.stdout) == (0, 0, 2, Decimal(0))
    priceless = folder.wan("run", "set", WAN_PROFILE="vtrix", VTRIX_API_KEY="sk-any")
    assert priceless.exit_code == 2, priceless.output
    assert "WAN_PRICE_USD" in priceless.stdout
    assert provider.bill()["creates_received"] == 0


@pytest.mark.slow
def test_a_set_that_is_not_there_exits_2(idle: Folder) -> None:
    """As a process too, and before the ledger or anything else is made."""
    idle.write("set.csv", TWO)
    done = idle.process("run", "another")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "no prompt set another" in done.stdout
    assert [path.name for path in idle.path.iterdir()] == ["prompts"]


def test_a_profile_that_does_not_exist_exits_2(idle: Folder) -> None:
    """The variable is named, with what it may be."""
    idle.write("set.csv", TWO)
    done = idle.wan("run", "set", WAN_PROFILE="nobody")
    assert done.exit_code == 2
    assert "WAN_PROFILE" in done.stdout
    assert "seacloud" in done.stdout
