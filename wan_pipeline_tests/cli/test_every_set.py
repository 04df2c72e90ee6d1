"""`wan run` over several sets: what stops one leaves no paid image of another behind."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.cli.order import Hold, Way
from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.wan.errors import StopReason
from wan_pipeline_tests.cli.conftest import folder_at, last_line
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline_tests.cli.conftest import Folder

WIDE = "300"


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A folder with `data` and `provider`, and the provider's port: paid images are away."""
    home = tmp_path_factory.mktemp("begun")
    gone = Fault(kind=FaultKind.EXPIRED_URL, prompt_contains="paid")
    # What is away must still be there when the last of the tests asks for it.
    plan = FAST.model_copy(update={"faults": (gone,), "url_lifetime_s": 1e9})
    with RunningEmulator(home / "provider", plan) as provider:
        folder = folder_at(home / "data", provider.base_url)
        folder.write("bb.csv", "prompt_id,prompt\nb1,paid boat\n")
        folder.write("cc.csv", "prompt_id,prompt\nc1,paid cart\n")
        first = folder.wan("run")
        assert last_line(first.stdout) == (2, 0, 2, Decimal("0.06")), first.output
        return home, provider.port


@pytest.fixture
def provider(begun: tuple[Path, int], tmp_path: Path) -> Iterator[RunningEmulator]:
    """The provider goes on from there, with a book of its own for each test."""
    home, port = begun
    shutil.copytree(home / "provider", tmp_path / "provider")
    with RunningEmulator(tmp_path / "provider", port=port) as provider:
        provider.set_plan(FAST)
        yield provider


@pytest.fixture
def paid(begun: tuple[Path, int], provider: RunningEmulator, tmp_path: Path) -> Folder:
    """Sets aa, bb and cc; of each of the last two a paid image is still at the provider."""
    shutil.copytree(begun[0] / "data", tmp_path / "data")
    folder = folder_at(tmp_path / "data", provider.base_url)
    folder.write("aa.csv", "prompt_id,prompt\na1,kite one\na2,kite two\na3,kite three\n")
    folder.write("bb.csv", "prompt_id,prompt\nb1,paid boat\nb2,new boat\n")
    return folder


@pytest.mark.slow
def test_after_a_cap_each_set_takes_up_what_it_paid_and_tells_its_rest(
    paid: Folder, provider: RunningEmulator
) -> None:
    """The cap leaves room for one image; nothing else is bought, and everything paid arrives."""
    done = paid.wan("run", COLUMNS=WIDE, WAN_BUDGET_TOTAL_USD="0.09")
    assert done.exit_code == 4, done.output
    assert last_line(done.stdout) == (1, 3, 3, Decimal("0.03"))
    assert "not started" not in done.output
    assert "2 requests are left, which would cost 0.06 USD" in done.output  # of aa
    assert "1 request is left, which would cost 0.03 USD" in done.output  # of bb
    assert "all sets: 3 requests are left, which would cost 0.09 USD" in done.output
    assert provider.bill()["usd"] == "0.09"
    standing = json.loads(paid.wan("status", "--json").stdout)["sets"]
    assert {name: each["stored"] for name, each in standing.items()} == {"aa": 1, "bb": 1, "cc": 1}


@pytest.mark.slow
def test_a_stop_of_the_account_fetches_what_other_sets_paid_for_and_buys_nothing(
    paid: Folder, provider: RunningEmulator
) -> None:
    """Polls and downloads still work; every set is counted and shown."""
    refused = Fault(kind=FaultKind.NO_CREDIT, on="create")
    provider.set_plan(FAST.model_copy(update={"faults": (refused,)}))
    before = provider.bill()["creates_received"]
    done = paid.wan("run", "--json", COLUMNS=WIDE)
    assert done.exit_code == 4, done.output
    told = {each["prompt_set"]: each for each in json.loads(done.stdout)}
    assert {name: (each["stop"], each["left"]) for name, each in told.items()} == {
        "aa": ("no_credit", 3),
        "bb": ("no_credit", 1),
        "cc": (None, 0),
    }
    assert told["bb"]["left_cost_usd"] == "0.03"
    assert "no credit stopped aa, so nothing was bought" in told["bb"]["error"]
    assert {name: each["exit_code"] for name, each in told.items()} == {"aa": 4, "bb": 4, "cc": 0}
    assert last_line(done.stderr) == (1, 2, 4, Decimal(0))
    assert "all sets: 4 requests are left, which would cost 0.12 USD" in done.stderr
    assert provider.bill()["creates_received"] == before + 1
    for name in ("bb", "cc"):
        page = (paid.path / "emulator" / "gallery" / name / "index.html").read_text("utf-8")
        assert "paid" in page


@pytest.mark.slow
def test_a_set_whose_file_broke_is_fetched_all_the_same_after_a_stop(
    paid: Folder, provider: RunningEmulator
) -> None:
    """Its file says nothing about what is paid; the ledger does."""
    refused = Fault(kind=FaultKind.NO_CREDIT, on="create")
    provider.set_plan(FAST.model_copy(update={"faults": (refused,)}))
    paid.write("bb.csv", "no column of that name\nx\n")
    done = paid.wan("run", "aa", "bb", COLUMNS=WIDE)
    assert done.exit_code == 4, done.output
    assert last_line(done.stdout)[1] == 2  # cc's too: what is paid is fetched, whoever bought it
    assert '.csv: has no "prompt" column' in done.output


@pytest.mark.slow
def test_a_set_whose_file_broke_keeps_what_it_paid_for(
    folder: Folder, provider: RunningEmulator
) -> None:
    """Its next run says what is wrong with the file, buys nothing, and fetches."""
    before = provider.bill()["creates_received"]
    gone = Fault(kind=FaultKind.EXPIRED_URL)
    provider.set_plan(FAST.model_copy(update={"faults": (gone,)}))
    folder.write("set.csv", "prompt\npaid boat\n")
    assert last_line(folder.wan("run", "set").stdout)[:2] == (1, 0)
    provider.set_plan(FAST)
    folder.write("set.csv", "no column of that name\nx\n")
    done = folder.wan("run", "set", COLUMNS=WIDE)
    assert done.exit_code == 2, done.output
    assert last_line(done.stdout) == (0, 1, 0, Decimal(0))
    assert 'set.csv: has no "prompt" column' in done.output
    assert "paid boat" in (folder.path / "emulator/gallery/set/index.html").read_text("utf-8")
    assert provider.bill()["creates_received"] - before == 1


@pytest.mark.slow
def test_where_nothing_can_be_fetched_every_set_is_counted_and_nothing_asked(
    paid: Folder, provider: RunningEmulator
) -> None:
    """The key opens nothing: asking again for each set helps nobody."""
    provider.set_plan(FAST.model_copy(update={"faults": (Fault(kind=FaultKind.BAD_KEY),)}))
    before = provider.bill()["creates_received"]
    done = paid.wan("run", "aa", "bb", "cc", COLUMNS=WIDE)
    assert done.exit_code == 4, done.output
    assert last_line(done.stdout) == (1, 0, 6, Decimal(0))
    assert "all sets: 4 requests are left, which would cost 0.12 USD" in done.output
    assert "bad key stopped aa, so nothing was asked for" in done.output
    assert "1 request in flight, paid before" in done.output
    assert provider.bill()["creates_received"] == before + 1


@pytest.mark.parametrize(
    ("stop", "way"),
    [
        (StopReason.BUDGET, None),
        (StopReason.NO_CREDIT, Way.FETCH),
        (StopReason.FORBIDDEN, Way.FETCH),
        (StopReason.MISSING_MODEL, Way.FETCH),
        (StopReason.BODY_NOT_UNDERSTOOD, Way.FETCH),
        (StopReason.UNKNOWN_CREATES, Way.FETCH),
        (StopReason.REFUSALS, Way.FETCH),
        (StopReason.THROTTLED, Way.FETCH),
        (StopReason.FAILURES, Way.FETCH),
        (StopReason.BAD_KEY, Way.COUNT),
        (StopReason.UNREACHABLE, Way.COUNT),
        (StopReason.DISK, Way.COUNT),
    ],
)
def test_what_a_stop_leaves_of_the_next_set(stop: StopReason, way: Way | None) -> None:
    """A cap leaves everything; a stop goes on until one leaves less, which then goes on."""
    hold = Hold.after("aa", stop, None)
    assert (hold.way if hold else None) is way
    assert Hold.after("bb", None, hold) == hold
    dead = Hold.after("bb", StopReason.UNREACHABLE, hold)
    assert dead is not None
    assert dead.way is Way.COUNT
    assert Hold.after("cc", StopReason.NO_CREDIT, dead) == dead
