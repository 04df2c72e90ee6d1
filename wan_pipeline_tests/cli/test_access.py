"""What this user may not read or write is told with its path, the reason and what to do."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline_tests.cli.conftest import NOWHERE, Folder, folder_at
from wan_pipeline_tests.dataset.release.toys import toys
from wan_pipeline_tests.permissions import OBEYS

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

pytestmark = pytest.mark.slow  # each command is a process of its own


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Folder:
    """Two sets, of which `toys@v1` has the first."""
    path = tmp_path_factory.mktemp("access")
    with toys(path) as workshop:
        workshop.release("toys", "kites")
    return folder_at(path, NOWHERE)


@pytest.fixture
def root(folder: Folder) -> Iterator[Path]:
    """The profile's data folder, whose modes are put back afterwards."""
    root = folder.path / "emulator"
    modes = {path: path.stat().st_mode for path in root.rglob("*")}
    yield root
    for path, mode in modes.items():
        path.chmod(mode)


def wan(folder: Folder, *args: str) -> tuple[int, str]:
    """The command by a user to whom permissions apply: exit code, and all it said, on one line."""
    done = subprocess.run(
        [*OBEYS, str(Path(sys.executable).with_name("wan")), *args],
        env={**os.environ, **folder.env, "COLUMNS": "400"},
        cwd=folder.path,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    said = done.stdout + done.stderr
    assert "Errno" not in said
    assert "Traceback" not in said
    return done.returncode, said


def image(root: Path) -> Path:
    """One of the release's."""
    manifest = (root / "releases/toys/v1/manifest.json").read_text(encoding="utf-8")
    return min(path for path in root.glob("images/*/*.png") if path.name in manifest)


@pytest.mark.parametrize("command", ["verify", "list"])
def test_a_version_that_may_not_be_entered(folder: Folder, root: Path, command: str) -> None:
    """Exit code 2: nothing is known to be damaged."""
    version = root / "releases/toys/v1"
    version.chmod(0)
    code, said = wan(folder, "release", command, *([] if command == "list" else ["toys"]))
    assert code == ExitCode.USAGE, said
    for words in ("releases/toys/v1/manifest.json: this user may not read it", "`ls -ld`"):
        assert words in said
    assert "backup" not in said
    assert "damaged" not in said


def test_releases_that_may_not_be_listed(folder: Folder, root: Path) -> None:
    """The folder is named."""
    (root / "releases/toys").chmod(0)
    code, said = wan(folder, "release", "verify")
    assert (code, f"{root}/releases/toys: this user may not" in said) == (ExitCode.USAGE, True)


def test_an_image_that_may_not_be_read(folder: Folder, root: Path, tmp_path: Path) -> None:
    """By verify and export: a matter of its mode, no damage, unless there is damage besides."""
    unread = image(root)
    unread.chmod(0)
    code, said = wan(folder, "release", "verify")
    assert code == ExitCode.USAGE
    assert f"{unread.name}: this user may not read it" in said
    assert said.count("`ls -ld`") == 1
    assert "backup" not in said
    code, said = wan(folder, "release", "export", "toys", "--out", str(tmp_path))
    assert code == ExitCode.USAGE, said
    assert f"{unread}: this user may not read it" in said
    assert "backup" not in said
    table = root / "releases/toys/v1/events.parquet"
    table.rename(tmp_path / "events.parquet")
    code, said = wan(folder, "release", "verify")
    (tmp_path / "events.parquet").rename(table)
    assert code == ExitCode.INCOMPLETE
    assert (said.count("backup"), said.count("`ls -ld`")) == (1, 1)


def test_a_release_is_not_made_where_nobody_may_write(folder: Folder, root: Path) -> None:
    """The folder is named, and nothing is left in it."""
    home = root / "releases/toys"
    before = sorted(home.iterdir())
    home.chmod(0o555)
    code, said = wan(folder, "release", "create", "toys", "trams")
    assert code == ExitCode.USAGE, said
    for words in (f"{home}: Permission denied", "`ls -ld`", "Nothing was made"):
        assert words in said
    assert sorted(home.iterdir()) == before


def test_an_image_that_may_not_be_read_is_not_released(folder: Folder, root: Path) -> None:
    """Mend its mode, not its bytes."""
    unread = image(root)
    unread.chmod(0)
    code, said = wan(folder, "release", "create", "others")
    assert code == ExitCode.USAGE, said
    assert f"{unread.name}: this user may not read it" in said
    assert "backup" not in said


@pytest.mark.parametrize("out", ["closed"])
def test_an_export_goes_where_it_may(folder: Folder, tmp_path: Path, out: str) -> None:
    """The place is named, the reason, and the option."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    place = tmp_path / out
    code, said = wan(folder, "release", "export", "toys", "--out", str(place))
    assert code == ExitCode.USAGE, said
    for words in (f"{place} cannot be a folder for exports", "--out", "Nothing was exported"):
        assert words in said
    assert list(closed.iterdir()) == []


@pytest.mark.parametrize("what", ["the file", "its folder"])
def test_a_file_that_may_not_be_read_is_not_traced(
    folder: Folder, tmp_path: Path, what: str
) -> None:
    """And is not said to be missing."""
    file = tmp_path / "theirs" / "picture.png"
    file.parent.mkdir()
    file.touch()
    with closed(file if what == "the file" else file.parent):
        code, said = wan(folder, "trace", str(file))
    assert code == ExitCode.USAGE, said
    assert f"{str(file)!r} cannot be read: Permission denied. Let this user read it" in said


@contextmanager
def closed(path: Path) -> Generator[None]:
    """Nobody may enter or read it for a while."""
    mode = path.stat().st_mode
    path.chmod(0)
    try:
        yield
    finally:
        path.chmod(mode)


def test_verify_gives_its_advice_once(folder: Folder, root: Path) -> None:
    """However many files are damaged; and each line names its file once."""
    manifest = root / "releases/toys/v1/manifest.json"
    images = sorted(root.glob("images/*/*.png"))
    for path in images:
        path.rename(path.with_suffix(".away"))
    done = folder.wan("release", "verify", COLUMNS="400")
    for path in images:
        path.with_suffix(".away").rename(path)
    lines = done.stdout.splitlines()
    assert done.exit_code == ExitCode.INCOMPLETE
    assert len([line for line in lines if line.endswith("it is not there")]) == len(lines) - 1 > 1
    assert lines[-1].startswith("Restore what is damaged from a backup")
    data = manifest.read_bytes()
    manifest.chmod(0o644)
    manifest.write_bytes(b"{}")
    done = folder.wan("release", "verify", COLUMNS="400")
    manifest.write_bytes(data)
    first, last = done.stdout.splitlines()
    assert first.count("manifest.json") == 1
    assert (done.exit_code, "from a backup" in last) == (ExitCode.INCOMPLETE, True)
