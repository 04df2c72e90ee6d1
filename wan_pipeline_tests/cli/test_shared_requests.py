"""`wan run` where several sets ask for one request, and where none asks for it any more."""

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

WIDE = "300"
SHARED = "prompt_id,prompt\na,shared one\nb,shared two\n"


@pytest.mark.slow
def test_one_command_retries_a_shared_request_once(
    folder: Folder, provider: RunningEmulator
) -> None:
    """However many sets have it; each failed task is billed."""
    faulty(provider, Fault(kind=FaultKind.TASK_FAILED_BILLED))
    for name in ("aa", "bb", "cc"):
        folder.write(f"{name}.csv", "prompt\nbilled\n")
    first = folder.wan("run", WAN_FAILURES_ALLOWED="1")
    assert last_line(first.stdout) == (1, 0, 1, Decimal("0.03")), first.output
    for bought in (2, 3):
        again = folder.wan("run", "--retry", "failed", WAN_MAX_ATTEMPTS="9")
        assert last_line(again.stdout) == (1, 0, 1, Decimal("0.03")), again.output
        assert provider.bill()["creates_received"] == bought


@pytest.mark.slow
def test_what_sets_share_is_left_once(folder: Folder, provider: RunningEmulator) -> None:
    """The sum over all sets is what buying the rest would cost."""
    for name in ("aa", "bb", "cc"):
        folder.write(f"{name}.csv", SHARED)
    done = folder.wan("run", "--budget", "0.03", COLUMNS=WIDE)
    assert done.exit_code == 4, done.output
    assert "all sets: 1 request is left, which would cost 0.03 USD" in done.output
    assert last_line(done.stdout) == (1, 1, 1, Decimal("0.03"))
    assert provider.bill()["usd"] == "0.03"


@pytest.mark.slow
@pytest.mark.parametrize("gone", ["row", "file"])
def test_what_was_paid_for_a_row_that_is_gone_is_not_forgotten(
    folder: Folder, provider: RunningEmulator, gone: str
) -> None:
    """With its file its set fetches it; without, the command says that it waits and who fetches."""
    faulty(
        provider,
        Fault(kind=FaultKind.EXPIRED_URL, prompt_contains="away"),
        Fault(kind=FaultKind.ERROR_500_BEFORE, prompt_contains="doubt"),
    )
    file = folder.write("old.csv", "prompt\naway\nin doubt\n")
    first = folder.wan("run", WAN_UNKNOWN_IN_A_ROW="9")
    assert last_line(first.stdout) == (2, 0, 2, Decimal("0.03")), first.output
    faulty(provider)
    if gone == "row":
        file.write_text("prompt\nanother\n")
    else:
        file.unlink()
        folder.write("new.csv", "prompt\nanother\n")
    done = folder.wan("run", COLUMNS=WIDE)
    assert done.exit_code == 3, done.output
    if gone == "row":
        assert last_line(done.stdout) == (1, 2, 1, Decimal("0.03"))
        assert (
            "1 request that no prompt file asks for any more is not at an end, 0.03 USD paid or set"
            " aside: 0 in flight, 1 unknown. `wan reconcile` fetches what can arrive" in done.output
        )
    else:
        assert last_line(done.stdout) == (1, 1, 2, Decimal("0.03"))
        assert "0.06 USD paid or set aside: 1 in flight, 1 unknown" in done.output
        assert json.loads(folder.wan("reconcile", "--json").stdout)["fetched"] == 1
    (doubtful,) = json.loads(folder.wan("ledger", "show", "--json", "--state", "unknown").stdout)[
        "purchases"
    ]
    release = ("ledger", "release", doubtful["request_id"], "--why", "none there", "--yes")
    assert folder.wan(*release).exit_code == 0
    assert folder.wan("run").exit_code == 0
    assert provider.bill()["usd"] == "0.06"
