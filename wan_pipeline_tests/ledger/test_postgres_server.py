"""The PostgreSQL server of the tests: as careful as a real one, and gone when they are."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from wan_pipeline_tests.postgres_fixture import RunningPostgres, running
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.postgres

CHECKOUT = Path(__file__).parents[2]
GONE_WITHIN_S = 30.0
HOLDER = """
import sys
from wan_pipeline_tests.postgres_fixture import running

with running() as server:
    print(server.address.pid, server.address.folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def engine(postgres_url: str) -> Iterator[sa.Engine]:
    """Connections as the tests' user."""
    engine = sa.create_engine(postgres_url)
    yield engine
    engine.dispose()


def test_a_table_of_one_connection_is_seen_by_another(engine: sa.Engine) -> None:
    """The tests' user may create what it needs."""
    table = sa.Table("seen", sa.MetaData(), sa.Column("name", sa.Text, primary_key=True))
    with engine.begin() as writing:
        table.create(writing)
        writing.execute(sa.insert(table).values(name="万"))
    engine.dispose()
    with engine.connect() as reading:
        assert reading.execute(sa.select(table)).scalars().all() == ["万"]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("fsync", "on"),
        ("synchronous_commit", "on"),
        ("full_page_writes", "on"),
        ("server_encoding", "UTF8"),
        ("password_encryption", "scram-sha-256"),
        ("listen_addresses", "127.0.0.1"),
        ("timezone", "Asia/Shanghai"),
        ("is_superuser", "off"),
    ],
)
def test_it_is_set_up_as_in_production(setting: str, value: str, engine: sa.Engine) -> None:
    """Durable above all: a ledger that a power cut empties would pass on any other."""
    with engine.connect() as connection:
        assert connection.exec_driver_sql(f"SHOW {setting}").scalar() == value


def test_it_is_a_version_that_we_support(engine: sa.Engine) -> None:
    """13 or newer."""
    with engine.connect() as connection:
        version = connection.exec_driver_sql("SHOW server_version_num").scalar()
    assert int(str(version)) >= 130000


def test_no_process_of_it_is_root(postgres_server: RunningPostgres, engine: sa.Engine) -> None:
    """The server refuses root, and so does every sensible place where it runs."""
    with engine.connect() as connection:
        backend = connection.exec_driver_sql("SELECT pg_backend_pid()").scalar()
        server = psutil.Process(postgres_server.address.pid)
        processes = [server, *server.children(recursive=True)]
        assert backend in [process.pid for process in processes]
        assert [process for process in processes if 0 in process.uids()] == []
        assert [process for process in processes if 0 in process.gids()] == []


@pytest.mark.parametrize("password", ["", "wrong"])
def test_the_password_is_asked_for(password: str, postgres_url: str) -> None:
    """A test that looks for leaks of it is about something that opens a door."""
    url = sa.make_url(postgres_url)
    assert url.password
    engine = sa.create_engine(url.set(password=password), poolclass=sa.NullPool)
    with pytest.raises(OperationalError, match="password"):
        engine.connect()


def test_every_database_is_empty_and_dropped_under_its_users(
    postgres_server: RunningPostgres,
) -> None:
    """A connection that a test forgot keeps nothing alive."""
    with postgres_server.database() as first, postgres_server.database() as second:
        assert first != second
        engines = [sa.create_engine(url) for url in (first, second)]
        for engine in engines:
            with engine.begin() as connection:
                assert sa.inspect(connection).get_table_names() == []
                connection.exec_driver_sql("CREATE TABLE leftover ()")
    for engine in engines:
        engine.dispose()
        with pytest.raises(OperationalError, match="does not exist"):
            engine.connect()


def await_true(condition: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    wait_for(condition, what="the end of server and files", within_s=GONE_WITHIN_S)


@pytest.mark.parametrize("end", ["in order", "kill -9"])
def test_it_does_not_outlive_the_process_that_asked_for_it(end: str) -> None:
    """However that ends, server and files are gone soon."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdin is not None
        assert holder.stdout is not None
        pid, folder = holder.stdout.readline().split()
        server = psutil.Process(int(pid))
        assert server.name() == "postgres"
        assert Path(folder).is_dir()
        if end == "kill -9":
            holder.kill()
        holder.stdin.close()
        holder.wait(GONE_WITHIN_S)
    assert holder.returncode == (-signal.SIGKILL if end == "kill -9" else 0)
    await_true(lambda: not server.is_running())
    await_true(lambda: not Path(folder).exists())


def test_a_server_that_dies_is_told_with_its_log() -> None:
    """Tests that all fail to connect would leave one guessing."""
    ended = pytest.raises(RuntimeError, match=r"(?s)ended by itself.*immediate shutdown request")
    with ended, running() as server:
        process = psutil.Process(server.address.pid)
        process.send_signal(signal.SIGQUIT)
        await_true(lambda: process.status() == psutil.STATUS_ZOMBIE)
