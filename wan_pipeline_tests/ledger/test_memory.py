"""What a data folder remembers of its ledger: never ahead of it, never backwards, in nobody's way.

Which ledgers are refused by it is in `test_choice` and in the command's tests.
"""

from __future__ import annotations

import fcntl
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger.choice import open_ledger
from wan_pipeline.ledger.inventory import newest_event
from wan_pipeline.ledger.memory import Memory
from wan_pipeline_tests.ledger.conftest import PROFILE, intention

if TYPE_CHECKING:
    from pathlib import Path

MINE = Memory(name="ledger.sqlite", ledger_id="a" * 32, newest_event=7)


def numbered(number: int) -> Memory:
    """The same ledger, that far."""
    return Memory(name=MINE.name, ledger_id=MINE.ledger_id, newest_event=number)


def test_lower_number_changes_nothing(tmp_path: Path) -> None:
    """A process that commits first may come to write last."""
    file = tmp_path / "memory"
    assert Memory.of(file) is None
    for number, kept in ((7, 7), (5, 7), (8, 8)):
        numbered(number).keep(file)
        assert Memory.of(file) == numbered(kept)


def test_shorter_name_leaves_no_rest_of_a_longer_one(tmp_path: Path) -> None:
    """A server may move."""
    file = tmp_path / "memory"
    Memory(name="postgresql://a-long-name/db", ledger_id="b", newest_event=3).keep(file)
    Memory(name="postgresql://n/db", ledger_id="b", newest_event=2).keep(file)
    assert Memory.of(file) == Memory(name="postgresql://n/db", ledger_id="b", newest_event=3)


def test_another_ledger_s_memory_stays(tmp_path: Path) -> None:
    """Somebody changed the folder behind a process that still runs."""
    file = tmp_path / "memory"
    MINE.keep(file)
    Memory(name=MINE.name, ledger_id="b" * 32, newest_event=99).keep(file)
    assert Memory.of(file) == MINE


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", Memory()),
        ("postgresql://h/db\n", Memory(name="postgresql://h/db")),
        ("postgresql://h/db\nabc\n", Memory(name="postgresql://h/db", ledger_id="abc")),
    ],
    ids=["emptied", "first version", "second version"],
)
def test_older_and_emptied_memories_are_read_and_continued(
    text: str, found: Memory, tmp_path: Path
) -> None:
    """They name no event."""
    file = tmp_path / "memory"
    file.write_text(text)
    assert Memory.of(file) == found
    new = Memory(name="postgresql://h/db", ledger_id=found.ledger_id or "abc", newest_event=4)
    new.keep(file)
    assert Memory.of(file) == new


def test_what_is_no_memory_is_not_guessed_at(tmp_path: Path) -> None:
    """Nor written over."""
    file = tmp_path / "memory"
    file.write_text("ledger.sqlite\nabc\nabout a hundred\n")
    with pytest.raises(ValueError, match="about a hundred"):
        Memory.of(file)
    with pytest.raises(ValueError, match="about a hundred"):
        MINE.keep(file)
    assert file.read_text().endswith("about a hundred\n")


KEEP = """
import sys
from pathlib import Path
from wan_pipeline.ledger.memory import Memory
for number in range(int(sys.argv[2]), 20001, 4):
    Memory(name="ledger.sqlite", ledger_id="a" * 32, newest_event=number).keep(Path(sys.argv[1]))
"""


def test_number_only_grows_while_several_processes_write(tmp_path: Path) -> None:
    """And none of them is lost in the end."""
    file = tmp_path / "memory"
    writers = [
        subprocess.Popen([sys.executable, "-c", KEEP, str(file), str(first)])
        for first in range(1, 5)
    ]
    seen: list[int] = []
    try:
        while any(writer.poll() is None for writer in writers):
            memory = Memory.of(file)
            seen.append(memory.newest_event if memory else 0)
    finally:
        for writer in writers:
            writer.kill()
    assert [writer.wait() for writer in writers] == [0] * 4
    assert seen == sorted(seen)
    assert len(set(seen)) > 10
    assert Memory.of(file) == numbered(20_000)


def test_process_that_stands_still_in_it_holds_nobody_up(tmp_path: Path) -> None:
    """It is read all the same; writing gives up at once."""
    file = tmp_path / "memory"
    MINE.keep(file)
    with file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        began = time.monotonic()
        with pytest.raises(BlockingIOError):
            numbered(9).keep(file)
        assert Memory.of(file) == MINE
        assert time.monotonic() - began < 2
    numbered(9).keep(file)
    assert Memory.of(file) == numbered(9)


@pytest.mark.parametrize("on", ["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
async def test_acknowledged_event_is_remembered(
    on: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """By each of two that write in turns, and never one that the ledger does not have."""
    url = request.getfixturevalue("postgres_url") if on == "postgres" else None
    layout = DataLayout(tmp_path, PROFILE)
    file = layout.served_ledger if url else layout.filed_ledger
    with (
        open_ledger(layout, url) as one,
        open_ledger(layout, url) as two,
        one.owner("one") as here,
        two.owner("two") as there,
    ):
        assert not layout.filed_ledger.exists()
        for number in range(10):
            ledger, owner = ((one, here), (two, there))[number % 2]
            await ledger.intend(intention(f"r{number}"), owner=owner)
            memory = Memory.of(file)
            assert memory is not None
            assert memory.newest_event == newest_event(ledger) >= number + 1


async def test_memory_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    """The purchase matters more; as soon as it can be written again it has caught up."""
    layout = DataLayout(tmp_path, PROFILE)
    with open_ledger(layout, None) as ledger, ledger.owner("run") as owner:
        await ledger.intend(intention("r1"), owner=owner)
        aside = layout.filed_ledger.rename(tmp_path / "aside")
        layout.filed_ledger.mkdir()
        await ledger.intend(intention("r2"), owner=owner)
        layout.filed_ledger.rmdir()
        aside.rename(layout.filed_ledger)
        await ledger.intend(intention("r3"), owner=owner)
        memory = Memory.of(layout.filed_ledger)
        assert memory is not None
        assert memory.newest_event == newest_event(ledger)
        assert sum(ledger.counts().values()) == 3
