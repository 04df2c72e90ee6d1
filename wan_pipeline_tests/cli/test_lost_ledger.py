"""`wan` with a ledger that is gone, emptied or older than its folder: nothing is bought again."""

from __future__ import annotations

import json
import shutil
import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline_tests.cli.conftest import folder_at, last_line
from wan_pipeline_tests.emulator_fixture import RunningEmulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from wan_pipeline_tests.cli.conftest import Folder

pytestmark = pytest.mark.slow

COMMANDS = (
    ("run", "kites"),
    ("plan", "kites"),
    ("status",),
    ("ledger", "show"),
    ("reconcile",),
    ("trace", "kites"),
)
SOME = (("run", "kites"), ("status",))


def write(folder: Folder, count: int) -> None:
    """A set with so many prompts."""
    rows = "".join(f"kite {number}\n" for number in range(count))
    folder.write("kites.csv", f"prompt\n{rows}")


def removed(ledger: Path) -> None:
    """With everything that belongs to it."""
    for path in ledger.parent.glob("ledger.sqlite*"):
        path.unlink()


def emptied(ledger: Path) -> None:
    """The file is there and holds nothing."""
    removed(ledger)
    ledger.touch()


def begun_anew(ledger: Path) -> None:
    """A ledger of the same version that never bought anything."""
    with closing(sqlite3.connect(ledger)) as connection, connection:
        for (table,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
        ).fetchall():
            if table != "info":
                connection.execute(f"DELETE FROM {table}")
        connection.execute("UPDATE info SET value = 'another' WHERE key = 'ledger_id'")


def copied(ledger: Path) -> dict[str, bytes]:
    """The ledger's files."""
    return {path.name: path.read_bytes() for path in ledger.parent.glob("ledger.sqlite*")}


def put_back(ledger: Path, files: dict[str, bytes]) -> None:
    """As they were."""
    removed(ledger)
    for name, content in files.items():
        (ledger.parent / name).write_bytes(content)


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """Somebody to buy from, for all of these tests."""
    with RunningEmulator(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture(scope="module")
def bought(provider: RunningEmulator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder into which three kites were bought."""
    folder = folder_at(tmp_path_factory.mktemp("bought"), provider.base_url)
    write(folder, 3)
    assert folder.wan("run", "kites").exit_code == ExitCode.COMPLETE
    return folder.path


@pytest.fixture
def folder(bought: Path, provider: RunningEmulator, tmp_path: Path) -> Folder:
    """A copy of it."""
    shutil.copytree(bought, tmp_path / "data")
    return folder_at(tmp_path / "data", provider.base_url)


@pytest.fixture
def creates(provider: RunningEmulator) -> Callable[[], int]:
    """How many creates came in since the test began."""
    before = provider.bill()["creates_received"]
    return lambda: provider.bill()["creates_received"] - before


FROM_THE_FOLDER = ("ledger-file.txt", "Put the newest ledger back")
FROM_BESIDE_IT = ("emulator-ledger.txt", "Put the folder")


def refused(
    folder: Folder,
    *words: str,
    commands: Sequence[Sequence[str]] = COMMANDS,
    told: Sequence[str] = FROM_THE_FOLDER,
) -> None:
    """Commands that tell what is bought say so, and leave everything as it is."""
    root = folder.path / "emulator"
    before = {path: path.read_bytes() for path in root.glob("ledger*") if path.is_file()}
    for command in commands:
        done = folder.wan(*command)
        assert done.exit_code == ExitCode.USAGE, (command, done.output)
        said = " ".join(done.output.split())
        for word in ("a second time", *told, *words):
            assert word in said, (command, word, said)
    after = {path: path.read_bytes() for path in root.glob("ledger*") if path.is_file()}
    assert after.keys() == before.keys()
    assert after == before


def give_up(folder: Folder) -> None:
    """Type what the refusal says."""
    said = " ".join(folder.wan("status").output.split())
    typed = said.partition("Only if it is really lost: empty ")[2].partition("(")[2]
    subprocess.run(["sh", "-c", typed.partition(")")[0]], check=True)


@pytest.mark.parametrize("harm", [removed, begun_anew])
def test_lost_ledger_is_refused_until_it_is_back_or_given_up(
    harm: Callable[[Path], None], folder: Folder, creates: Callable[[], int]
) -> None:
    """No create with the loss; none with the ledger back; all of them when a person says so."""
    ledger = folder.path / "emulator/ledger.sqlite"
    whole = copied(ledger)
    harm(ledger)
    refused(folder, commands=COMMANDS if harm is removed else SOME)
    put_back(ledger, whole)
    done = folder.wan("run", "kites")
    assert last_line(done.output)[0] == 0
    assert creates() == 0

    harm(ledger)
    give_up(folder)
    done = folder.wan("run", "kites")
    assert (done.exit_code, last_line(done.output)[0]) == (ExitCode.COMPLETE, 3), done.output
    assert creates() == 3
    removed(ledger)  # what is bought by then is remembered again
    refused(folder, commands=SOME)


def test_older_copy_is_refused_until_the_newest_is_back_or_given_up(
    folder: Folder, creates: Callable[[], int]
) -> None:
    """Both numbers are told; given up, what came after the copy is bought again and no more."""
    ledger = folder.path / "emulator/ledger.sqlite"
    old = copied(ledger)
    write(folder, 5)
    assert folder.wan("run", "kites").exit_code == ExitCode.COMPLETE
    newest = copied(ledger)
    with closing(sqlite3.connect(ledger)) as connection:
        ((number,),) = connection.execute("SELECT MAX(seq) FROM events").fetchall()
    put_back(ledger, old)
    with closing(sqlite3.connect(ledger)) as connection:
        ((before,),) = connection.execute("SELECT MAX(seq) FROM events").fetchall()
    assert before < number
    refused(folder, f"number {before},", f"number {number}.", str(ledger))
    assert creates() == 2

    put_back(ledger, newest)
    assert last_line(folder.wan("run", "kites").output)[0] == 0
    put_back(ledger, old)
    give_up(folder)
    assert last_line(folder.wan("run", "kites").output)[0] == 2
    assert creates() == 4


def test_folder_that_is_gone_is_refused_until_it_is_back_or_given_up(
    folder: Folder, creates: Callable[[], int]
) -> None:
    """Its disk is not mounted; what a run writes in its place buys nothing."""
    root = folder.path / "emulator"
    away = root.rename(folder.path / "not-mounted")
    refused(folder, told=FROM_BESIDE_IT)
    assert not root.exists()  # else moving it back would put it inside
    (root / "images").mkdir(parents=True, exist_ok=True)  # as a run does that is dying
    (root / ".rescue.lock").touch()
    refused(folder, told=FROM_BESIDE_IT, commands=SOME)
    shutil.rmtree(root)
    away.rename(root)
    assert last_line(folder.wan("run", "kites").output)[0] == 0
    assert creates() == 0

    shutil.rmtree(root)
    give_up(folder)
    assert last_line(folder.wan("run", "kites").output)[0] == 3
    assert creates() == 3
    shutil.rmtree(root)  # what is bought by then is remembered again
    refused(folder, told=FROM_BESIDE_IT, commands=SOME)


def test_older_copy_of_the_whole_folder_is_refused_until_the_newest_is_back_or_given_up(
    folder: Folder, creates: Callable[[], int]
) -> None:
    """It agrees with itself: only what lies beside it knows better."""
    root = folder.path / "emulator"
    old = shutil.copytree(root, folder.path / "old")
    write(folder, 5)
    assert folder.wan("run", "kites").exit_code == ExitCode.COMPLETE
    newest = root.rename(folder.path / "newest")
    shutil.copytree(old, root)
    refused(folder, "is older than", told=FROM_BESIDE_IT, commands=SOME)
    shutil.rmtree(root)
    newest.rename(root)
    assert last_line(folder.wan("run", "kites").output)[0] == 0
    assert creates() == 2

    shutil.rmtree(root)
    old.rename(root)
    give_up(folder)
    assert last_line(folder.wan("run", "kites").output)[0] == 2
    assert creates() == 4


def test_memory_that_was_emptied_in_an_older_copy_speaks_for_itself_only(
    folder: Folder, creates: Callable[[], int]
) -> None:
    """A person gave up what was lost before the copy, and nothing that was bought after it."""
    root = folder.path / "emulator"
    removed(root / "ledger.sqlite")
    (root / "ledger-file.txt").write_bytes(b"")
    old = shutil.copytree(root, folder.path / "old")
    give_up(folder)
    assert last_line(folder.wan("run", "kites").output)[0] == 3
    newest = root.rename(folder.path / "newest")
    old.rename(root)
    refused(folder, told=FROM_BESIDE_IT, commands=SOME)
    shutil.rmtree(root)
    newest.rename(root)
    assert last_line(folder.wan("run", "kites").output)[0] == 0
    assert creates() == 3


@pytest.mark.parametrize(("harm", "kept"), [(removed, "images"), (emptied, "metadata")])
def test_folder_of_an_older_version_is_known_by_what_it_holds(
    harm: Callable[[Path], None], kept: str, folder: Folder, creates: Callable[[], int]
) -> None:
    """It remembers nothing, and has what was bought; an empty file gives the ledger up."""
    root = folder.path / "emulator"
    harm(root / "ledger.sqlite")
    (root / "ledger-file.txt").unlink()
    (folder.path / "emulator-ledger.txt").unlink()
    for name in {"images", "metadata"} - {kept}:
        shutil.rmtree(root / name)
    refused(folder, str(root / kept), commands=SOME)
    assert creates() == 0

    (root / "ledger-file.txt").touch()
    assert folder.wan("status").exit_code == ExitCode.COMPLETE


def test_folder_of_an_older_version_begins_to_remember_when_it_is_looked_at(
    folder: Folder, creates: Callable[[], int]
) -> None:
    """Any command that opens its ledger is enough."""
    memories = [
        folder.path / "emulator/ledger-file.txt",
        folder.path / "emulator-ledger.txt",
    ]
    told = memories[0].read_bytes()
    assert memories[1].read_bytes() == told
    for memory in memories:
        memory.unlink()
    assert folder.wan("status").exit_code == ExitCode.COMPLETE
    for memory in memories:
        assert memory.read_bytes() == told
    assert creates() == 0


def test_folders_that_may_begin_anew_do(
    tmp_path: Path, provider: RunningEmulator, creates: Callable[[], int]
) -> None:
    """Never bought from; stopped before the first purchase; moved; a copy."""
    folder = folder_at(tmp_path / "data", provider.base_url)
    write(folder, 2)
    root = folder.path / "emulator"
    assert folder.wan("status").exit_code == ExitCode.COMPLETE
    assert folder.wan("plan", "kites").exit_code == ExitCode.COMPLETE
    assert not (root / "ledger-file.txt").exists()
    assert not (folder.path / "emulator-ledger.txt").exists()
    done = folder.wan("run", "kites", "--budget", "0.01")
    assert done.exit_code == ExitCode.STOPPED, done.output
    removed(root / "ledger.sqlite")
    done = folder.wan("run", "kites")
    assert last_line(done.output)[0] == 2

    elsewhere = folder.path.with_name("elsewhere")
    shutil.copytree(folder.path, elsewhere)
    done = folder.wan("run", "kites", WAN_DATA_DIR=str(elsewhere))
    assert last_line(done.output)[0] == 0, done.output
    status = json.loads(folder.wan("status", "--json", WAN_DATA_DIR=str(elsewhere)).stdout)
    assert status["purchases"]["stored"] == 2
    assert creates() == 2
