"""`wan run --retry` and `--budget`: buying again what may pass, and not more than one may spend."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.cli.conftest import faulty, last_line

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator

WIDE = "300"  # columns, so that no sentence of a table is folded


@pytest.mark.slow
def test_what_failed_is_bought_again_and_what_moderation_rejected_is_not(
    folder: Folder, provider: RunningEmulator
) -> None:
    """The first run says how; the second one buys one image, and says why not the other."""
    faulty(
        provider,
        Fault(kind=FaultKind.TASK_FAILED, prompt_contains="two", first=1),
        Fault(kind=FaultKind.MODERATION_FAILED, prompt_contains="three"),
    )
    folder.write("set.csv", "prompt_id,prompt\na,one\nb,two\nc,three\n")
    first = folder.wan("run", "set", COLUMNS=WIDE)
    assert first.exit_code == 3, first.output
    assert last_line(first.stdout) == (3, 1, 2, Decimal("0.03"))
    assert "1 failed for a reason that may pass: `wan run set --retry failed`" in first.output
    assert "buys 1 image again, for $0.03" in first.output
    assert "not retried" not in first.output
    assert "change the row: moderation rejected 1; the same request would meet" in first.output
    idle = folder.wan("run", "set")
    assert last_line(idle.stdout) == (0, 0, 2, Decimal(0))
    again = folder.wan("run", "set", "--retry", "failed", COLUMNS=WIDE)
    assert again.exit_code == 3, again.output
    assert last_line(again.stdout) == (1, 1, 1, Decimal("0.03"))
    assert "not retried: moderation; change the row's prompt" in again.output
    assert "--retry failed`" not in again.output  # there is nothing left that it would buy
    bill = provider.bill()
    assert (bill["creates_received"], bill["usd"]) == (4, "0.06")


@pytest.mark.slow
def test_attempts_are_bounded(folder: Folder, provider: RunningEmulator) -> None:
    """Whoever asks; the table says which setting it is."""
    faulty(provider, Fault(kind=FaultKind.TASK_FAILED, prompt_contains="two"))
    folder.write("set.csv", "prompt_id,prompt\na,one\nb,two\n")
    args = ("run", "set", "--retry", "failed", "--retry", "lost")
    for creates, told in ((2, False), (3, True)):
        done = folder.wan(*args, WAN_MAX_ATTEMPTS="2", COLUMNS=WIDE)
        assert done.exit_code == 3, done.output
        assert provider.bill()["creates_received"] == creates
        assert ("bought 2 times, WAN_MAX_ATTEMPTS is 2" in done.output) is told
    more = folder.wan(*args)
    assert provider.bill()["creates_received"] == 4
    assert last_line(more.stdout) == (1, 0, 1, Decimal(0))


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("--retry", "everything"), "everything"),
        (("--budget", "a lot"), "write it like 12.50"),
        (("--budget", "-1"), "write it like 12.50"),
        (("--budget", "NaN"), "write it like 12.50"),
        (("--budget", "1e999999"), "write it like 12.50"),
    ],
)
def test_a_wrong_word_or_amount_exits_2(idle: Folder, args: tuple[str, str], said: str) -> None:
    """Before anything is made."""
    idle.write("set.csv", "prompt\none\n")
    done = idle.wan("run", "set", *args)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert not (idle.path / "emulator").exists()


@pytest.mark.slow
def test_a_cap_stops_the_run_and_a_higher_one_lets_it_go_on(
    folder: Folder, provider: RunningEmulator
) -> None:
    """What is left and what it would cost is said; what was bought is stored and shown."""
    folder.write("set.csv", "prompt_id,prompt\n" + "".join(f"p{i},kite {i}\n" for i in range(6)))
    stopped = folder.wan("run", "set", WAN_BUDGET_TOTAL_USD="0.10", COLUMNS=WIDE)
    assert stopped.exit_code == 4, stopped.output
    assert last_line(stopped.stdout) == (3, 3, 3, Decimal("0.09"))
    for words in (
        "budget of the profile is 0.10 USD",
        "0.09 USD of it are paid or reserved",
        "3 requests are left, which would cost 0.09 USD",
        "Raise WAN_BUDGET_TOTAL_USD",
        "What to do: raise the cap that is named, then run again; what was in flight is kept",
    ):
        assert words in stopped.output
    status = json.loads(folder.wan("status", "--json", WAN_BUDGET_TOTAL_USD="0.10").stdout)
    (cap,) = status["caps"]
    told = (cap["cap"], cap["cap_usd"], cap["committed_usd"], cap["left_usd"])
    assert told == ("total", "0.10", "0.09", "0.01")
    still = folder.wan("run", "set", "--json", "--budget", "0.03", WAN_BUDGET_TOTAL_USD="0.50")
    assert still.exit_code == 4, still.output
    (built,) = json.loads(still.stdout)
    assert (built["stop"], built["left"], built["left_cost_usd"]) == ("budget", 2, "0.06")
    assert "--budget" in built["error"]
    done = folder.wan("run", "set", WAN_BUDGET_TOTAL_USD="0.50")
    assert done.exit_code == 0, done.output
    assert last_line(done.stdout) == (2, 2, 0, Decimal("0.06"))
    assert provider.bill()["usd"] == "0.18"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("args", "settings"),
    [
        (("--budget", "0.06"), {}),
        ((), {"WAN_BUDGET_RUN_USD": "0.06"}),
        (("--budget", "0.09"), {"WAN_BUDGET_RUN_USD": "0.06"}),
    ],
)
def test_one_budget_holds_over_all_sets_of_the_command(
    folder: Folder, provider: RunningEmulator, args: tuple[str, ...], settings: dict[str, str]
) -> None:
    """Each set is a run of its own in Dagster; the person named one amount for the command."""
    for name in "abc":
        folder.write(f"{name}.csv", f"prompt\nof {name}\n")
    done = folder.wan("run", *args, COLUMNS=WIDE, **settings)
    assert done.exit_code == 4, done.output
    left = "0.00 USD is what earlier sets of this command left of its budget of 0.06 USD, 0.06 USD"
    assert done.output.count(left) == 1
    assert last_line(done.stdout) == (2, 2, 1, Decimal("0.06"))
    assert provider.bill()["usd"] == "0.06"


@pytest.mark.slow
def test_the_cap_of_one_set_does_not_stop_the_others(
    folder: Folder, provider: RunningEmulator
) -> None:
    """It is one set that has used up its money."""
    folder.write("a.csv", "prompt\none\ntwo\n")
    folder.write("b.csv", "prompt\nthree\n")
    done = folder.wan("run", WAN_BUDGET_SET_USD="0.03")
    assert done.exit_code == 4, done.output
    assert last_line(done.stdout) == (2, 2, 1, Decimal("0.06"))
    assert "not started" not in done.output
    shared = folder.wan("run", WAN_BUDGET_TOTAL_USD="0.06")
    assert shared.exit_code == 4, shared.output
    assert "not started" not in shared.output  # what of it is paid is fetched all the same
    assert provider.bill()["usd"] == "0.06"
