"""`kill -9` while a new Dagster instance is made: the next process can use it all the same."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from wan_pipeline.defs.launch import open_instance
from wan_pipeline.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from dagster import DagsterInstance

KILLED_AT = """
import os, signal, sys
from pathlib import Path
from sqlalchemy import event
from sqlalchemy.engine import Engine
from wan_pipeline.defs.launch import open_instance
from wan_pipeline.settings import Settings

@event.listens_for(Engine, "before_cursor_execute")
def kill(connection, cursor, statement, *rest):
    if sys.argv[2] in statement:
        os.kill(os.getpid(), signal.SIGKILL)

open_instance(Settings(data_dir=Path(sys.argv[1])))
"""
TABLES = ("run_tags", "alembic_version", "secondary_indexes", "dynamic_partitions", "job_ticks")


def usable(instance: DagsterInstance) -> bool:
    """Whether runs, partitions and schedules can be kept in it."""
    instance.add_dynamic_partitions("prompt_set", ["kites"])
    return (
        instance.has_dynamic_partition("prompt_set", "kites")
        and instance.get_runs() == []
        and list(instance.all_instigator_state()) == []
    )


@pytest.mark.parametrize("table", TABLES)
def test_half_made_instance_is_made_again(table: str, tmp_path: Path) -> None:
    """Wherever among its tables the first process died."""
    first = subprocess.run(
        [sys.executable, "-c", KILLED_AT, str(tmp_path), f"CREATE TABLE {table}"],
        check=False,
        timeout=120,
    )
    assert first.returncode == -signal.SIGKILL
    settings = Settings(data_dir=tmp_path)
    with open_instance(settings) as instance:
        assert usable(instance)
    home = settings.layout.dagster_home
    assert {path.name for path in home.iterdir()} >= {"dagster.yaml", "history", "schedules"}
    assert not (home / ".new").exists()


def test_used_instance_is_left_as_it_is(tmp_path: Path) -> None:
    """What is in it when it is opened again is what was in it."""
    settings = Settings(data_dir=tmp_path)
    with open_instance(settings) as instance:
        assert usable(instance)
    with open_instance(settings) as instance:
        assert instance.get_dynamic_partitions("prompt_set") == ["kites"]
