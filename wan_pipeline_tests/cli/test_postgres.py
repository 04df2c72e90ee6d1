"""`wan` on a ledger in PostgreSQL: the same commands, and a password that stays where it is."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.cli.conftest import last_line
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.pipeline.test_secrets import files_with

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.postgres_fixture import RunningPostgres


@pytest.mark.slow
@pytest.mark.postgres
def test_everything_works_and_the_password_is_found_nowhere(
    folder: Folder, provider: RunningEmulator, postgres_url: str
) -> None:
    """A run stopped by its budget, a decision, a retry, an export, a reconciliation."""
    provider.set_plan(
        FAST.model_copy(
            update={
                "faults": (
                    Fault(kind=FaultKind.ERROR_500_BEFORE, prompt_contains="doubt", first=1),
                    Fault(kind=FaultKind.TASK_FAILED, prompt_contains="fails", first=1),
                )
            }
        )
    )
    password = sa.make_url(postgres_url).password
    assert password
    folder.write("set.csv", "prompt\none\ndoubt\nfails\ntwo\n")
    said: list[str] = []

    def wan(*args: str, code: int = 0) -> str:
        done = folder.wan(*args, WAN_LEDGER_URL=postgres_url)
        said.extend((done.stdout, done.stderr))
        assert done.exit_code == code, done.output
        return done.stdout

    wan("plan", "set")
    budget = {"WAN_LEDGER_URL": postgres_url, "WAN_BUDGET_TOTAL_USD": "0.10"}
    first = folder.process("run", "set", **budget)
    said.extend((first.stdout, first.stderr))
    assert first.returncode == 4, first.stdout + first.stderr
    wan("run", "set", "--retry", "failed", code=3)
    unknown = json.loads(wan("ledger", "show", "--json", "--state", "unknown"))["purchases"]
    assert len(unknown) == 1
    request_id = unknown[0]["request_id"]
    wan("ledger", "release", request_id[:8], "--why", "not there", "--yes")
    assert last_line(wan("run", "set", "--retry", "failed"))[2] == 0
    wan("ledger", "show", request_id[:8])
    wan("ledger", "export")
    wan("reconcile")
    status = json.loads(wan("status", "--json"))
    assert status["purchases"]["stored"] == 4
    assert Decimal(status["spent_usd"]) == Decimal(provider.bill()["usd"]) == Decimal("0.12")
    assert not (folder.path / "emulator" / "ledger.sqlite").exists()
    wan("status")
    wrong = postgres_url.rsplit("/", 1)[0] + "/nosuch"
    done = folder.process("status", WAN_LEDGER_URL=wrong)
    said.extend((done.stdout, done.stderr))
    assert done.returncode == 4, done.stdout + done.stderr
    assert [text for text in said if password in text] == []
    assert files_with(password, folder.path) == []


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.parametrize("first", ["postgres", "sqlite"])
def test_what_one_ledger_bought_is_not_bought_by_another(
    first: str, folder: Folder, provider: RunningEmulator, postgres_url: str
) -> None:
    """A shell without the variable, or with it for the first time: an empty ledger buys it all."""
    folder.write("set.csv", "prompt\none\ntwo\n")
    server = {"WAN_LEDGER_URL": postgres_url}
    here, there = (server, {}) if first == "postgres" else ({}, server)
    assert folder.wan("run", "set", **here).exit_code == 0
    for command in (("run", "set"), ("plan", "set"), ("reconcile",), ("ledger", "show")):
        done = folder.wan(*command, **there)
        assert done.exit_code != 0, done.output
        assert "WAN_LEDGER_URL" in done.output
        assert "a second time" in " ".join(done.output.split())
    assert provider.bill()["creates_received"] == 2
    assert folder.wan("run", "set", **here).exit_code == 0
    assert provider.bill()["creates_received"] == 2


@pytest.mark.slow
@pytest.mark.postgres
def test_what_one_server_bought_is_not_bought_with_another(
    folder: Folder, provider: RunningEmulator, postgres_url: str, postgres_server: RunningPostgres
) -> None:
    """A mistyped database, or one that was set up anew: every command says which is meant."""
    folder.write("set.csv", "prompt\none\ntwo\n")
    assert folder.wan("run", "set", WAN_LEDGER_URL=postgres_url).exit_code == 0
    with postgres_server.database() as empty:
        for command in (("run", "set"), ("plan", "set"), ("reconcile",), ("status",)):
            done = folder.wan(*command, WAN_LEDGER_URL=empty)
            assert done.exit_code != 0, done.output
            said = "".join(done.output.split())
            assert "WAN_LEDGER_URL" in said
            assert "ledger-server.txt" in said
    assert provider.bill()["creates_received"] == 2
    assert folder.wan("run", "set", WAN_LEDGER_URL=postgres_url).exit_code == 0
    assert provider.bill()["creates_received"] == 2


@pytest.mark.parametrize(
    ("command", "url"),
    [
        (("status",), "mysql://me:hunter2@h/db"),
        (("run", "set"), "postgres//me:hunter2@h/db"),
        (("ledger", "show"), "hunter2"),
    ],
)
def test_a_mistyped_ledger_url_is_not_repeated(
    idle: Folder, command: tuple[str, ...], url: str
) -> None:
    """What is wrong is said by the variable's name."""
    idle.write("set.csv", "prompt\none\n")
    done = idle.wan(*command, WAN_LEDGER_URL=url)
    assert done.exit_code == 2, done.output
    assert "hunter2" not in done.output
    assert "Traceback" not in done.output
