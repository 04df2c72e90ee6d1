"""`wan reconcile`: ledger, provider and disk agree afterwards, or it says what does not."""

from __future__ import annotations

import json
import os
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.wan.dialects.listing import LISTERS, ListedTask
from wan_pipeline_tests.cli.conftest import (
    MADE,
    NEVER,
    buy,
    counts,
    image_files,
    last_line,
)
from wan_pipeline_tests.emulator_fixture import FAST
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from wan_pipeline.wan.dialects.listing import ListingAccess
    from wan_pipeline_tests.cli.conftest import Folder
    from wan_pipeline_tests.emulator_fixture import RunningEmulator


class BookLister:
    """Lists the emulator's book, as a provider with a list endpoint would."""

    def __init__(self, provider: RunningEmulator, telling: tuple[str, ...]) -> None:
        self._provider = provider
        self._telling = telling
        self.opened: list[ListingAccess] = []

    @asynccontextmanager
    async def open(self, access: ListingAccess) -> AsyncIterator[BookLister]:
        """As `LISTERS` wants it."""
        self.opened.append(access)
        yield self

    async def list_tasks(self, since: datetime, until: datetime) -> list[ListedTask]:
        """Those of the time."""
        tasks = [
            ListedTask(
                task_id=task["id"],
                created_at=datetime.fromtimestamp(task["created_at"], UTC),
                model=task["content"]["model"],
                **{name: task["content"][name] for name in self._telling},
            )
            for task in self._provider.tasks()
        ]
        return [task for task in tasks if since <= task.created_at <= until]


@pytest.fixture
def lister(provider: RunningEmulator, monkeypatch: pytest.MonkeyPatch) -> BookLister:
    """A provider that repeats the prompt and the number of images."""
    lister = BookLister(provider, ("prompt", "n"))
    monkeypatch.setitem(LISTERS, "gateway", lister.open)
    return lister


def test_where_tasks_cannot_be_listed_a_person_must_look(
    doubtful: Folder, provider: RunningEmulator
) -> None:
    """The unknown ones are told, in images and dollars, with the commands that settle them."""
    done = doubtful.wan("reconcile")
    assert done.exit_code == 3, done.output
    found = counts(done.stdout)
    assert (found["unknown"], found["unknown_usd"]) == (2, Decimal("0.06"))
    assert sum(found.values()) == Decimal("2.06")
    assert "cannot list its tasks" in done.output
    assert "wan ledger release REQUEST" in done.output
    for request_id in (MADE, NEVER):
        assert request_id[:12] in done.output
    assert provider.bill()["creates_received"] == 4


def test_a_task_without_doubt_is_adopted_and_fetched(
    doubtful: Folder, provider: RunningEmulator, lister: BookLister
) -> None:
    """The other request stays unknown until a person decides; then everything is explained."""
    done = doubtful.wan("reconcile", "--json")
    assert done.exit_code == 3, done.output
    found, line = json.loads(done.stdout), counts(done.stderr)
    (made,) = [task for task in provider.tasks() if task["content"]["prompt"] == "made in doubt"]
    assert found["adopted"] == [{"request_id": MADE, "task_id": made["id"]}]
    assert [(each["kind"], each["request_id"]) for each in found["unexplained"]] == [
        ("unknown", NEVER)
    ]
    assert (found["fetched"], found["orphans"], found["in_flight"]) == (1, [], 0)
    assert (line["adopted"], line["polled"], line["unknown_usd"]) == (1, 1, Decimal("0.03"))
    shown = json.loads(doubtful.wan("ledger", "show", "--json", MADE).stdout)
    assert shown["purchases"][0]["state"] == "stored"
    (decided,) = [each for each in shown["events"] if each["who"] is not None]
    assert decided["who"] == "wan reconcile"
    assert "same model, prompt, n" in decided["detail"]
    assert str(lister.opened[0].base_url) == provider.base_url
    assert lister.opened[0].api_key not in repr(lister.opened[0])
    doubtful.wan("ledger", "release", NEVER, "--why", "not in the list", "--yes")
    clean = doubtful.wan("reconcile")
    assert clean.exit_code == 0, clean.output
    assert set(counts(clean.stdout).values()) == {Decimal(0)}
    assert len(lister.opened) == 1  # nothing was unknown: nothing was asked
    bill = provider.bill()
    assert (bill["creates_received"], bill["usd"]) == (4, "0.09")


def test_a_mistyped_task_is_told_and_put_right(doubtful: Folder, provider: RunningEmulator) -> None:
    """The provider says that it has no such task; that is nothing to wait for in silence."""
    (made,) = [task for task in provider.tasks() if task["content"]["prompt"] == "made in doubt"]
    release = ("ledger", "release", NEVER, "--why", "not in the console", "--yes")
    assert doubtful.wan(*release).exit_code == 0
    adopt = ("ledger", "adopt", MADE, "--why", "in the console", "--yes")
    assert doubtful.wan(*adopt, "nosuchtask").exit_code == 0
    done = doubtful.wan("reconcile")
    assert done.exit_code == 3, done.output
    assert "1 task in flight is not known to the provider" in done.output
    assert "`wan ledger adopt REQUEST TASK_ID` with the right one puts it right" in done.output
    assert doubtful.wan(*adopt, made["id"]).exit_code == 0
    assert doubtful.wan("reconcile").exit_code == 0
    assert provider.bill()["usd"] == "0.09"


def test_a_task_in_doubt_is_left_to_a_person(
    doubtful: Folder, lister: BookLister, provider: RunningEmulator
) -> None:
    """A provider that tells only the model cannot tell one request from another."""
    lister._telling = ()
    done = doubtful.wan("reconcile")
    assert done.exit_code == 3, done.output
    found = counts(done.stdout)
    assert (found["unknown"], found["orphans"], found["adopted"]) == (2, 1, 0)
    (made,) = [task for task in provider.tasks() if task["content"]["prompt"] == "made in doubt"]
    assert made["id"] in done.output


@pytest.mark.slow
def test_what_is_fetched_of_an_incomplete_set_is_published_without_a_false_alarm(
    folder: Folder, provider: RunningEmulator
) -> None:
    """Red is only the check of what is complete: metadata and gallery are written."""
    gone = Fault(kind=FaultKind.EXPIRED_URL, prompt_contains="two")
    failed = Fault(kind=FaultKind.TASK_FAILED, prompt_contains="three")
    provider.set_plan(FAST.model_copy(update={"faults": (gone, failed)}))
    folder.write("set.csv", "prompt\none\ntwo\nthree\n")
    assert folder.wan("run", "set").exit_code == 3
    provider.set_plan(FAST)
    done = folder.wan("reconcile", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["fetched"] == 1
    assert "not written" not in done.output
    assert pq.read_metadata(folder.path / "emulator/metadata/set.parquet").num_rows == 2


@pytest.mark.slow
def test_what_is_adopted_is_published(
    folder: Folder, provider: RunningEmulator, lister: BookLister
) -> None:
    """Metadata and gallery of the set show it without another run."""
    fault = Fault(kind=FaultKind.ERROR_500_AFTER, prompt_contains="two")
    provider.set_plan(FAST.model_copy(update={"faults": (fault,)}))
    folder.write("set.csv", "prompt\none\ntwo\n")
    assert folder.wan("run", "set").exit_code == 3
    metadata = folder.path / "emulator/metadata/set.parquet"
    assert pq.read_metadata(metadata).num_rows == 1
    provider.set_plan(FAST)
    done = folder.wan("reconcile")
    assert done.exit_code == 0, done.output
    assert counts(done.stdout)["adopted"] == 1
    assert pq.read_metadata(metadata).num_rows == 2
    assert last_line(folder.wan("run", "set").stdout) == (0, 0, 0, Decimal(0))
    assert provider.bill()["usd"] == "0.06"


def test_a_file_that_is_gone_is_fetched_again(folder: Folder) -> None:
    """While its URL lives; nothing is paid for it."""
    buy(folder, make_request("a kite"))
    (file,) = image_files(folder)
    content = file.read_bytes()
    file.unlink()
    done = folder.wan("reconcile", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["fetched"] == 1
    assert file.read_bytes() == content


def test_a_file_with_a_flipped_bit_is_found_by_looking_deep(folder: Folder) -> None:
    """Same length, same time: only its hash tells."""
    buy(folder, make_request("a kite"))
    (file,) = image_files(folder)
    content, status = file.read_bytes(), file.stat()
    file.chmod(0o644)
    file.write_bytes(content[:-20] + bytes([content[-20] ^ 1]) + content[-19:])
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert folder.wan("reconcile").exit_code == 0
    assert file.read_bytes() != content
    done = folder.wan("reconcile", "--deep", "--json")
    assert done.exit_code == 0, done.output
    assert [each["problem"] for each in json.loads(done.stdout)["broken"]] == [
        "its file has other bytes"
    ]
    assert file.read_bytes() == content


def test_a_refused_key_stops_it(doubtful: Folder, provider: RunningEmulator) -> None:
    """With exit code 4 and what to do; what is left is told all the same."""
    (made,) = [task for task in provider.tasks() if task["content"]["prompt"] == "made in doubt"]
    doubtful.wan("ledger", "adopt", MADE, made["id"], "--why", "seen", "--yes")
    provider.set_plan(FAST.model_copy(update={"api_key": "sk-another"}))
    done = doubtful.wan("reconcile")
    assert done.exit_code == 4, done.output
    assert "bad key" in done.output
    assert counts(done.stdout)["unknown"] == 1
    provider.set_plan(FAST)
    assert counts(doubtful.wan("reconcile").stdout)["polled"] == 1


def test_a_ledger_without_anything_open_is_explained(folder: Folder) -> None:
    """Exit code 0, nothing made up."""
    folder.write("set.csv", "prompt\none\n")
    assert folder.wan("plan", "set").exit_code == 0
    done = folder.wan("reconcile", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["unexplained"] == []
