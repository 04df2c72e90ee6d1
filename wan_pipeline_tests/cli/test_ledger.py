"""`wan ledger`: what it shows and exports."""

from __future__ import annotations

import csv
import io
import json
import os
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline_tests.cli.conftest import (
    MADE,
    NEVER,
    buy,
    shown,
)
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator


def test_purchases_are_listed_and_filtered(doubtful: Folder) -> None:
    """By state, set, day and number; money is text that Decimal reads."""
    everything = shown(doubtful)
    assert everything["count"] == len(everything["purchases"]) == 4
    assert everything["events"] is None
    unknown = shown(doubtful, "--state", "unknown")["purchases"]
    assert {each["request_id"] for each in unknown} == {MADE, NEVER}
    assert {Decimal(each["reserved_usd"]) for each in unknown} == {Decimal("0.03")}
    assert shown(doubtful, "--state", "unknown", "--state", "stored")["count"] == 4
    assert shown(doubtful, "--set", "tests")["count"] == 4
    doubtful.write("another.csv", "prompt\nnot bought yet\n")
    assert shown(doubtful, "--set", "another")["count"] == 0
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    days = (today, "2001-01-01")
    assert [shown(doubtful, "--day", day)["count"] for day in days] == [4, 0]
    few = shown(doubtful, "--limit", "1")
    assert (few["count"], len(few["purchases"])) == (4, 1)
    table = doubtful.wan("ledger", "show", "--limit", "3")
    assert "1 more" in table.output
    for words in ("purchases of profile emulator", "stored", "$0.03", "tests"):
        assert words in table.output


def test_one_request_tells_its_history(doubtful: Folder) -> None:
    """By the beginning of its id; who decided and why stands in it."""
    why = "looked, and it is not there"
    released = doubtful.wan("ledger", "release", NEVER[:9], "--why", why, "--who", "mei", "--yes")
    assert released.exit_code == 0, released.output
    events = shown(doubtful, NEVER[:6])["events"]
    told = [(each["attempt"], each["from_state"], each["to_state"], each["who"]) for each in events]
    assert told == [
        (1, None, "intent", None),
        (1, "intent", "unknown", None),
        (1, "unknown", "released", "mei"),
        (2, None, "planned", "mei"),
    ]
    page = doubtful.wan("ledger", "show", NEVER[:12].upper(), COLUMNS="300").output
    for words in ("history", why, "mei", "released", "planned", "status 500"):
        assert words in page


@pytest.mark.parametrize("command", ["release", "write-off"])
def test_a_request_whose_task_is_known_is_not_given_up(
    doubtful: Folder, provider: RunningEmulator, command: str
) -> None:
    """A run on a full disk kept the task's id beside the ledger: released, it is paid twice."""
    (task_id,) = (
        task["id"] for task in provider.tasks() if task["content"]["prompt"] == "made in doubt"
    )
    rescue = doubtful.path / "emulator" / "rescue"
    rescue.mkdir(exist_ok=True)
    line = json.dumps({"request_id": MADE, "task_id": task_id})
    (rescue / "of-a-run-that-died.jsonl").write_text(f"{line}\n")
    done = doubtful.wan("ledger", command, NEVER[:9], MADE[:9], "--why", "gone", "--yes")
    assert done.exit_code == 2, done.output
    for words in (task_id, "wan reconcile", "Nothing was changed"):
        assert words in " ".join(done.output.split())
    assert shown(doubtful, "--state", "unknown")["count"] == 2


@pytest.mark.parametrize(
    ("beginning", "said"),
    [
        ("abc", "at least the first 6"),
        ("xyz123", "at least the first 6"),
        ("ffffff00ffffff", "no request that begins with"),
    ],
)
@pytest.mark.parametrize("command", ["show", "adopt", "release", "write-off", "export"])
def test_an_id_that_names_none_is_explained(
    doubtful: Folder, command: str, beginning: str, said: str
) -> None:
    """With exit code 2, and nothing happens."""
    args = [beginning, "task"] if command == "adopt" else [beginning]
    if command in ("adopt", "release", "write-off"):
        args += ["--why", "x", "--yes"]
    done = doubtful.wan("ledger", command, *args)
    assert done.exit_code == 2, done.output
    assert said in done.output
    assert shown(doubtful, "--state", "unknown")["count"] == 2


def test_an_id_that_names_two_is_explained(folder: Folder) -> None:
    """With their longer beginnings, so that one of them can be chosen."""
    seen: dict[str, Any] = {}
    for seed in range(200_000):  # the birthday of 24 bits is at about five thousand
        request = make_request(seed=seed)
        twin = seen.setdefault(request.request_id[:6], request)
        if twin is not request:
            break
    buy(folder, twin, request)
    done = folder.wan("ledger", "show", request.request_id[:6])
    assert done.exit_code == 2, done.output
    assert "more than one" in done.output
    assert request.request_id[:20] in done.output
    assert twin.request_id[:20] in done.output
    assert shown(folder, request.request_id)["count"] == 1


def test_a_ledger_that_is_not_there_is_not_made(idle: Folder) -> None:
    """Looking leaves no trace."""
    for args in (("show",), ("export",), ("release", "abcdef", "--why", "x", "--yes")):
        done = idle.wan("ledger", *args)
        assert done.exit_code == 2, done.output
        assert "no ledger" in done.output
    done = idle.wan("reconcile")
    assert done.exit_code == 2, done.output
    assert list(idle.path.rglob("*")) == []


def test_parquet_is_exported_as_three_tables(doubtful: Folder, tmp_path: Path) -> None:
    """Into a folder of one's choice, or beside the ledger; filtered alike."""
    done = doubtful.wan("ledger", "export", "--output", str(tmp_path / "out"))
    assert done.exit_code == 0, done.output
    paths = [Path(line) for line in done.stdout.splitlines()]
    assert {path.parent for path in paths} == {tmp_path / "out"}
    rows = {path.stem: pq.read_table(path).num_rows for path in paths}
    assert (rows["purchases"], rows["images"]) == (4, 2)
    doubtful.wan("ledger", "export", "--state", "stored")
    beside = doubtful.path / "emulator" / "ledger-export"
    assert pq.read_table(beside / "purchases.parquet")["cost_usd"].to_pylist() == [
        Decimal("0.03"),
        Decimal("0.03"),
    ]
    refused = doubtful.wan("ledger", "export", "--table", "images")
    assert refused.exit_code == 2
    assert "--format csv" in refused.output


def test_csv_goes_to_standard_output_or_a_file(doubtful: Folder, tmp_path: Path) -> None:
    """One table, with a header."""
    done = doubtful.wan("ledger", "export", "--format", "csv", "--state", "unknown")
    assert done.exit_code == 0, done.output
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert {row["request_id"] for row in rows} == {MADE, NEVER}
    file = tmp_path / "folder" / "events.csv"
    args = ("export", "--format", "csv", "--table", "events", "--output", str(file), NEVER[:8])
    done = doubtful.wan("ledger", *args)
    assert done.exit_code == 0, done.output
    with file.open(newline="") as stream:
        assert [row["to_state"] for row in csv.DictReader(stream)] == ["intent", "unknown"]
    assert [path.name for path in file.parent.iterdir()] == ["events.csv"]


@pytest.mark.parametrize("command", ["show", "export"])
def test_a_set_that_bought_nothing_is_explained(command: str, doubtful: Folder) -> None:
    """A mistyped name is no empty table; the names that there are, are told."""
    done = doubtful.wan("ledger", command, "--set", "testss")
    assert done.exit_code == 2, done.output
    said = " ".join(done.output.split())
    assert "no set testss has bought anything under profile emulator" in said
    assert "(bought: tests)" in said


@pytest.mark.parametrize(
    ("args", "file", "why"),
    [
        (("--format", "csv"), "a folder", "Is a directory"),
        ((), "a file", "File exists"),
        (("--format", "csv"), "/proc/ledger.csv", "/proc/"),
    ],
)
def test_a_place_that_cannot_be_written_is_named(
    args: tuple[str, ...], file: str, why: str, doubtful: Folder, tmp_path: Path
) -> None:
    """In a sentence with what to do, and nothing is left there."""
    (tmp_path / "a folder").mkdir()
    (tmp_path / "a file").write_text("mine")
    done = doubtful.wan("ledger", "export", *args, "--output", str(tmp_path / file))
    assert done.exit_code == 1, done.output
    said = " ".join(done.output.split())
    assert why in said
    assert "Name another place" in said
    assert "Errno" not in said
    assert list((tmp_path / "a folder").iterdir()) == []
    assert (tmp_path / "a file").read_text() == "mine"


def test_a_reader_that_has_enough_is_no_error(doubtful: Folder) -> None:
    """As in `wan ledger export --format csv | head -1`."""
    command = shlex.quote(str(Path(sys.executable).with_name("wan")))
    export = f"{command} ledger export --format csv --table events"
    done = subprocess.run(
        ["bash", "-c", f"{export} | true; echo ${{PIPESTATUS[0]}}"],
        env={**os.environ, **doubtful.env},
        capture_output=True,
        check=False,
        text=True,
        timeout=60,
    )
    assert (done.stdout, done.stderr) == ("0\n", "")
