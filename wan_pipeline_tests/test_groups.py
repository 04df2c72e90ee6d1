"""Groups of tests that need a tool of the machine: left out by name, and never on CI."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline_tests import conftest, postgres_server
from wan_pipeline_tests.postgres_server import find_programs

CHECKOUT = Path(__file__).parents[1]
GROUP = "wan_pipeline_tests/ledger/test_postgres_server.py"
# A pytest on a machine where nothing is where it is looked for.
BARE_MACHINE = """
import sys
from pathlib import Path
import pytest
from wan_pipeline_tests import postgres_server

postgres_server.DEBIAN = Path("/nowhere")
sys.exit(pytest.main(sys.argv[1:]))
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without PostgreSQL; its folder of Debian's versions."""
    monkeypatch.setattr(postgres_server, "DEBIAN", tmp_path / "postgresql")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return tmp_path / "postgresql"


def install(folder: Path, *programs: str) -> Path:
    """Put programs into a folder."""
    folder.mkdir(parents=True)
    for program in programs:
        (folder / program).touch(mode=0o755)
    return folder


def test_without_a_server_the_group_is_missing(machine: Path) -> None:
    """With the command that installs it."""
    assert "apt-get install postgresql" in conftest._missing()["postgres"]


def test_without_exiftool_its_group_is_missing(machine: Path) -> None:
    """Until it is on the path."""
    assert "apt-get install libimage-exiftool-perl" in conftest._missing()["exiftool"]
    install(machine.parent / "bin", "exiftool")
    assert "exiftool" not in conftest._missing()


def test_with_a_server_it_is_not(machine: Path) -> None:
    """Debian puts it where no PATH leads."""
    install(machine / "15" / "bin", "initdb", "postgres")
    assert "postgres" not in conftest._missing()


def test_the_newest_version_is_used(machine: Path) -> None:
    """By number, not by letter, and only if it is complete: a client alone has neither program."""
    install(machine / "9.6" / "bin", "initdb", "postgres")
    expected = install(machine / "15" / "bin", "initdb", "postgres")
    install(machine / "17" / "bin", "initdb")
    assert find_programs() == expected


def test_a_server_on_the_path_is_found(machine: Path) -> None:
    """Through the link that leads to it."""
    expected = install(machine.parent / "opt" / "bin", "initdb", "postgres")
    links = install(machine.parent / "bin")
    (links / "initdb").symlink_to(expected / "initdb")
    assert find_programs() == expected


def bare(folder: Path, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the PostgreSQL tests on a bare machine."""
    return subprocess.run(
        [sys.executable, "-c", BARE_MACHINE, "-p", "no:cacheprovider", "-n", "0", GROUP],
        cwd=CHECKOUT,
        env={**os.environ, "CI": "", "PATH": str(folder), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_bare_machine_names_what_it_leaves_out(tmp_path: Path) -> None:
    """No failure, no skip that nobody reads."""
    done = bare(tmp_path)
    assert done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED, done.stdout
    assert "left out: tests marked postgres, no PostgreSQL server" in done.stdout
    assert "deselected" in done.stdout
    assert "passed" not in done.stdout


def test_on_ci_that_is_a_failure(tmp_path: Path) -> None:
    """A green CI has run every test."""
    done = bare(tmp_path, CI="true")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED
    assert "CI must run every test" in done.stdout + done.stderr
    assert "'postgres': 'no PostgreSQL server" in done.stdout + done.stderr


class Item:
    """As much of a collected test as the order looks at."""

    def __init__(self, path: str, mark: pytest.Mark | None) -> None:
        self.path, self._mark = path, mark

    def get_closest_marker(self, name: str) -> pytest.Mark | None:
        """The mark, whatever is asked for."""
        return self._mark


@given(
    kinds=st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["", "slow", "apart"]))),
    processes=st.integers(1, 5),
)
def test_order_keeps_every_test(kinds: list[tuple[str, str]], processes: int) -> None:
    """None is lost or doubled, and what shares set-up stays together."""
    marks = {
        "": None,
        "slow": pytest.mark.slow.mark,
        "apart": pytest.mark.slow(apart=True).mark,
    }
    items = [Item(path, marks[kind]) for path, kind in sorted(kinds)]
    ordered = conftest._long_ones_first(items, processes=processes)
    assert Counter(map(id, ordered)) == Counter(map(id, items))
    together = [item.path for item in ordered if item._mark is marks["slow"]]
    assert len(list(groupby(together))) == len(set(together))


def test_every_process_begins_with_its_share_of_the_slow_tests() -> None:
    """Parts are equal in number: pytest-xdist cuts the list there."""
    slow = pytest.mark.slow(apart=True).mark
    items = [*(Item("slow", slow) for _ in range(4)), *(Item("quick", None) for _ in range(4))]
    ordered = conftest._long_ones_first(items, processes=2)
    assert [item.path for item in ordered] == ["slow", "slow", "quick", "quick"] * 2
