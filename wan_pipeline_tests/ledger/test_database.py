"""Opening the ledger: durable settings, versions, damage, passwords, many processes at once."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.database import open_database
from wan_pipeline.ledger.errors import LedgerUnavailableError, LedgerVersionError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline_tests.ledger.conftest import PROFILE

if TYPE_CHECKING:
    from pathlib import Path


def test_durable_settings_are_in_force(tmp_path: Path) -> None:
    """Write-ahead log and a full sync at every commit, on both engines."""
    for engine in open_database(tmp_path / "ledger.sqlite"):
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
        engine.dispose()


def test_ledger_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    """And not touched; the message says what to do."""
    path = tmp_path / "ledger.sqlite"
    with Ledger(path, PROFILE):
        pass
    set_version(path, schema.SCHEMA_VERSION + 1)
    with pytest.raises(LedgerVersionError, match="Install the newer"):
        Ledger(path, PROFILE)
    set_version(path, schema.SCHEMA_VERSION)
    with Ledger(path, PROFILE) as ledger:
        assert ledger.counts() == {}


def set_version(path: Path, version: int) -> None:
    """Pretend."""
    connection = sqlite3.connect(path)
    connection.execute("UPDATE info SET value = ? WHERE key = 'schema_version'", (str(version),))
    connection.commit()
    connection.close()


def test_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    """And left as it is."""
    path = tmp_path / "ledger.sqlite"
    path.write_bytes(b"this is not a database" * 500)
    with pytest.raises(LedgerUnavailableError, match="restore the file from a backup"):
        Ledger(path, PROFILE)
    assert path.read_bytes() == b"this is not a database" * 500


def test_truncated_file_is_refused(tmp_path: Path) -> None:
    """A copy that was cut in the middle."""
    whole, cut = tmp_path / "whole.sqlite", tmp_path / "cut.sqlite"
    with Ledger(whole, PROFILE):
        pass
    cut.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(LedgerUnavailableError):
        Ledger(cut, PROFILE)


def test_database_of_another_program_is_refused(tmp_path: Path) -> None:
    """No tables are put into it."""
    path = tmp_path / "ledger.sqlite"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE songs (title TEXT)")
    connection.commit()
    with pytest.raises(LedgerUnavailableError, match="songs"):
        Ledger(path, PROFILE)
    names = connection.execute("SELECT name FROM sqlite_master").fetchall()
    connection.close()
    assert names == [("songs",)]


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@127.0.0.1:9/db",
        "postgresql://u@127.0.0.1:9/db?password=hunter2",
        "postgresql://u:x@127.0.0.1:9/db?sslpassword=hunter2",
        "postgresql://u:pass@hunter2@127.0.0.1:9/db",
        "postgresql://u:pass/@hunter2@127.0.0.1:9/db",
        "mysql://u:pass@hunter2@127.0.0.1:9/db",
        "postgresql://u:pass@127.0.0.1:hunter2/db",
    ],
)
def test_no_part_of_a_password_is_told(url: str) -> None:
    """Wherever it stands in the URL, and however badly it is written."""
    with pytest.raises((LedgerUnavailableError, ConfigurationError)) as refused:
        open_database(url)
    assert "hunter2" not in str(refused.value)
    assert "WAN_LEDGER_URL" in str(refused.value)


def test_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    """A file is in its place."""
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerUnavailableError, match="writable"):
        Ledger(tmp_path / "file" / "ledger.sqlite", PROFILE)


OPENER = """
import sys
from pathlib import Path
from wan_pipeline.ledger.ledger import Ledger
sys.stdin.readline()
with Ledger(Path(sys.argv[1]), "emulator") as ledger:
    with ledger.owner("run"):
        pass
"""


def test_processes_that_create_the_ledger_at_once_all_succeed(tmp_path: Path) -> None:
    """Two runs may begin on a fresh folder at the same moment."""
    arguments = [sys.executable, "-c", OPENER, str(tmp_path / "data" / "ledger.sqlite")]
    openers = [
        subprocess.Popen(arguments, stdin=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    for opener in openers:
        assert opener.stdin is not None
        opener.stdin.write("go\n")
        opener.stdin.flush()
    errors = [opener.communicate(timeout=60)[1] for opener in openers]
    assert [opener.returncode for opener in openers] == [0] * 4, errors
