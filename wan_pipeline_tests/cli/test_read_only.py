"""`wan` on a data folder that may only be read: what looks works, what would change it says so."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.ledger.errors import LedgerUnavailableError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.still_copy import still_copy
from wan_pipeline_tests.cli.conftest import NEVER
from wan_pipeline_tests.permissions import OBEYS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wan_pipeline_tests.cli.conftest import Folder

pytestmark = pytest.mark.slow  # each command is a process of its own

KILLED = """
import os, signal, sys
from wan_pipeline.ledger.ledger import Ledger
from pathlib import Path
with Ledger(Path(sys.argv[1]), "emulator") as ledger, ledger.owner("killed"):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def closed(doubtful: Folder) -> Iterator[Folder]:
    """Two purchases stored and two unknown; the ledger's log was left by a killed process."""
    root = doubtful.path / "emulator"
    ledger = root / "ledger.sqlite"
    killed = subprocess.run([sys.executable, "-c", KILLED, str(ledger)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert ledger.with_name("ledger.sqlite-wal").stat().st_size
    paths = [root, *root.rglob("*")]  # as a read-only mount; what is beside it may be written
    modes = {path: path.stat().st_mode for path in paths}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    yield doubtful
    for path, mode in modes.items():
        path.chmod(mode)


def wan(folder: Folder, *args: str) -> subprocess.CompletedProcess[str]:
    """The command by a user to whom permissions apply."""
    return subprocess.run(
        [*OBEYS, str(Path(sys.executable).with_name("wan")), *args],
        env={**os.environ, **folder.env, "COLUMNS": "400"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_what_looks_works_and_what_would_change_it_says_so(closed: Folder) -> None:
    """Nothing of the folder is touched, and no copy is left behind."""
    memory = closed.path / "emulator-ledger.txt"
    files = {path: path.stat().st_mtime_ns for path in closed.path.rglob("*")}
    assert memory not in files
    status = wan(closed, "status", "--json")
    assert status.returncode == 0, status.stderr
    assert json.loads(status.stdout)["purchases"]["unknown"] == 2
    shown = wan(closed, "ledger", "show", "--json")
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)["count"] == 4
    events = wan(closed, "ledger", "export", "--format", "csv", "--table", "events")
    assert events.returncode == 0, events.stderr
    assert len(events.stdout.splitlines()) > 4
    traced = wan(closed, "trace", NEVER)
    assert traced.returncode == 0, traced.stderr
    decided = wan(closed, "ledger", "release", NEVER, "--why", "looked", "--yes")
    assert decided.returncode == ExitCode.STOPPED, decided.stderr
    assert "Check that the folder is writable" in decided.stdout + decided.stderr
    assert {path: path.stat().st_mtime_ns for path in closed.path.rglob("*")} == files


@pytest.mark.parametrize("writes", [1, 1000])
def test_a_copy_is_of_one_moment(
    writes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that somebody wrote into meanwhile is made anew; where it never rests, that is said."""
    file = tmp_path / "ledger.sqlite"
    Ledger(file, "emulator").close()
    left, copyfile = [writes], shutil.copyfile

    def copy_slowly(source: Path, to: Path) -> None:
        copyfile(source, to)
        if left[0]:
            left[0] -= 1
            with source.open("ab") as stream:
                stream.write(b"x")

    monkeypatch.setattr(shutil, "copyfile", copy_slowly)
    if writes == 1:
        with still_copy(file) as copy:
            assert copy.read_bytes() == file.read_bytes()
        assert not copy.parent.exists()
        return
    with (
        pytest.raises(LedgerUnavailableError, match="somebody writes to it all the time"),
        still_copy(file),
    ):
        pass
