"""PostgreSQL for tests: one server per test process, an empty database per test.

One server per process rather than per session: it starts within a second, needs no lock, and a test
that harms it harms no other worker's tests.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline_tests.postgres_server import SUPERUSER, Address, find_programs

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

__all__ = ["RunningPostgres", "missing_postgres", "postgres_server", "postgres_url", "running"]

CHECKOUT = Path(__file__).parents[1]
STOP_PATIENCE_S = 60.0
ROLE = "wan_test"


def missing_postgres() -> str | None:
    """Why there can be no server here; None when there can."""
    if find_programs() is None:
        return "no PostgreSQL server (Debian: apt-get install postgresql)"
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningPostgres:
    """A server on loopback.

    Attributes:
        address: its port, pid, folder, and superuser's password.
        role_password: of the user that tests connect as, who may do nothing but own databases.
    """

    address: Address
    role_password: str

    @contextmanager
    def database(self) -> Generator[str]:
        """The URL of an empty database, dropped afterwards whoever is still connected."""
        name = f"{ROLE}_{secrets.token_hex(6)}"
        self._administer(f"CREATE DATABASE {name} OWNER {ROLE}")
        try:
            yield self._url(ROLE, self.role_password, name).render_as_string(hide_password=False)
        finally:
            self._administer(f"DROP DATABASE {name} WITH (FORCE)")

    def create_role(self) -> None:
        """The user of every test database: no superuser, as in production."""
        self._administer(f"CREATE ROLE {ROLE} LOGIN PASSWORD '{self.role_password}'")

    def _administer(self, statement: str) -> None:
        url = self._url(SUPERUSER, self.address.password, "postgres")
        engine = sa.create_engine(url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)

    def _url(self, user: str, password: str, database: str) -> sa.URL:
        return sa.URL.create(
            "postgresql+psycopg",
            username=user,
            password=password,
            host="127.0.0.1",
            port=self.address.port,
            database=database,
        )


@contextmanager
def running() -> Generator[RunningPostgres]:
    """A server of one's own, gone afterwards and soon after the death of this process.

    Raises:
        RuntimeError: it did not start, or ended by itself; with what the server said.
    """
    keeper = subprocess.Popen(
        [sys.executable, "-m", "wan_pipeline_tests.postgres_server"],
        cwd=CHECKOUT,
        stdin=subprocess.PIPE,  # the tether: the server lives until this closes
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests, which then close the pipe
    )
    try:
        assert keeper.stdout is not None
        if line := keeper.stdout.readline():
            server = RunningPostgres(
                address=Address(**json.loads(line)), role_password=secrets.token_hex(16)
            )
            server.create_role()
            yield server
    finally:
        _, said = keeper.communicate(timeout=STOP_PATIENCE_S)
    if keeper.returncode != 0:
        raise RuntimeError(said)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[RunningPostgres]:
    """This process's server. Tests that use it are marked `postgres`."""
    with running() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: RunningPostgres) -> Iterator[str]:
    """The URL of an empty database on PostgreSQL, with a password that is nowhere else."""
    with postgres_server.database() as url:
        yield url
