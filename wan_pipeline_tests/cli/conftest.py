"""A data folder, and `wan` in it: in this process for speed, as a process where that matters."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from wan_pipeline.cli.app import app
from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator
from wan_pipeline_tests.generation.batch_fixture import Workbench, make_request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

    from wan_pipeline.prompts.request import GenerationRequest

LAST_LINE = re.compile(
    r"submitted=(?P<submitted>\d+) stored=(?P<stored>\d+) failed=(?P<failed>\d+)"
    r" cost_usd=(?P<cost_usd>\d+\.\d\d)"
)
NOWHERE = "http://127.0.0.1:9"


def last_line(stdout: str) -> tuple[int, int, int, Decimal]:
    """What the last line tells: creates sent, images stored, requests not complete, cost."""
    found = LAST_LINE.fullmatch(stdout.splitlines()[-1])
    assert found is not None, stdout
    return (
        int(found["submitted"]),
        int(found["stored"]),
        int(found["failed"]),
        Decimal(found["cost_usd"]),
    )


def counts(stdout: str) -> dict[str, Decimal]:
    """The figures of a last line that has only those."""
    line = stdout.splitlines()[-1]
    assert re.fullmatch(r"(\w+=-?[\d.]+ ?)+", line), stdout
    return {name: Decimal(value) for name, value in (part.split("=") for part in line.split())}


@dataclass(frozen=True)
class Folder:
    """A data folder and the environment that points `wan` at it."""

    path: Path
    env: dict[str, str]

    def write(self, file_name: str, text: str) -> Path:
        """Write a prompt file."""
        file = self.path / "prompts" / file_name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        return file

    def wan(self, *args: str, **env: str) -> Result:
        """Run the command in this process."""
        return CliRunner().invoke(app, list(args), env={**self.env, **env})

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Start the command as a person's shell does."""
        command = Path(sys.executable).with_name("wan")
        outside = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
        return subprocess.Popen(
            [str(command), *args],
            env={**outside, **self.env, **env},
            cwd=self.path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def process(self, *args: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Start the command and wait for its end."""
        with self.start(*args, **env) as process:
            out, err = process.communicate(timeout=120)
        return subprocess.CompletedProcess(args, process.returncode, out, err)


def folder_at(path: Path, base_url: str) -> Folder:
    """A data folder that buys at `base_url`."""
    path.mkdir(parents=True, exist_ok=True)
    return Folder(
        path,
        {
            "WAN_DATA_DIR": str(path),
            "WAN_BASE_URL": base_url,
            "WAN_SUBMISSIONS_PER_SECOND": "5000",
            "WAN_RUNNING_AT_ONCE": "40",
            "WAN_QUERIES_PER_SECOND": "20000",
            "WAN_TASK_PATIENCE_S": "60",
            "WAN_CONFIRM_S": "0",
        },
    )


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[RunningEmulator]:
    """Somebody to buy from."""
    with RunningEmulator(tmp_path / "provider") as provider:
        yield provider


@pytest.fixture
def folder(tmp_path: Path, provider: RunningEmulator) -> Folder:
    """A data folder with somebody to buy from."""
    return folder_at(tmp_path / "data", provider.base_url)


@pytest.fixture
def idle(tmp_path: Path) -> Folder:
    """A data folder whose provider does not exist: nothing that uses it may send anything."""
    return folder_at(tmp_path / "data", NOWHERE)


def faulty(provider: RunningEmulator, *faults: Fault) -> None:
    """From now on these go wrong."""
    provider.set_plan(FAST.model_copy(update={"faults": faults}))


def image_files(folder: Folder) -> list[Path]:
    """Every stored image."""
    return sorted((folder.path / "emulator" / "images").rglob("*.png"))


def workbench(folder: Folder) -> Workbench:
    """Buys straight into the folder's ledger, without Dagster; for tests of what is in it."""
    return Workbench(folder=folder.path / "emulator", base_url=folder.env["WAN_BASE_URL"])


def buy(folder: Folder, *requests: GenerationRequest, lifetime_s: float = 86_400) -> None:
    """Buy them so. Not in an async test: `wan` runs event loops of its own."""
    batch = workbench(folder).buy(requests, unknown_in_a_row=9, result_lifetime_s=lifetime_s)
    asyncio.run(batch)


MADE = make_request("made in doubt").request_id
NEVER = make_request("never made").request_id
KITE = make_request("a kite").request_id


def shown(folder: Folder, *args: str) -> dict[str, Any]:
    """What `wan ledger show --json` tells."""
    done = folder.wan("ledger", "show", "--json", *args)
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def told(folder: Folder, *args: str) -> Any:
    """What a command that succeeds prints as JSON."""
    done = folder.wan(*args, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.fixture
def doubtful(folder: Folder, provider: RunningEmulator) -> Folder:
    """Two purchases stored, and two whose create got no clear answer: a task exists of one only."""
    lost_answer = Fault(kind=FaultKind.ERROR_500_AFTER, prompt_contains="made")
    no_task = Fault(kind=FaultKind.ERROR_500_BEFORE, prompt_contains="never")
    provider.set_plan(FAST.model_copy(update={"faults": (lost_answer, no_task)}))
    prompts = ("a kite", "a boat", "made in doubt", "never made")
    buy(folder, *(make_request(prompt) for prompt in prompts))
    provider.set_plan(FAST)
    return folder
