"""The ledger that a data folder goes with, and every other one refused."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger.choice import has_ledger, open_ledger
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline_tests.ledger.conftest import PROFILE, intention

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.postgres_fixture import RunningPostgres


@pytest.fixture
def layout(tmp_path: Path) -> DataLayout:
    """An empty data folder."""
    return DataLayout(tmp_path, PROFILE)


async def buy(ledger: Ledger) -> None:
    """Write one intent."""
    with ledger, ledger.owner("run") as owner:
        await ledger.intend(intention(), owner=owner)


def test_folder_without_a_server_has_its_own_file(layout: DataLayout) -> None:
    """Looking makes none."""
    assert not has_ledger(layout)
    with open_ledger(layout, None) as ledger:
        assert ledger.counts() == {}
    assert has_ledger(layout)
    assert layout.ledger.exists()
    assert not layout.served_ledger.exists()


@pytest.mark.postgres
async def test_another_database_is_refused(
    layout: DataLayout, postgres_url: str, postgres_server: RunningPostgres
) -> None:
    """An empty one, and one that somebody else bought with: neither knows what is in the folder."""
    await buy(open_ledger(layout, postgres_url))
    with postgres_server.database() as other:
        for _ in range(2):  # empty; then with a purchase of its own
            with pytest.raises(ConfigurationError) as refused:
                open_ledger(layout, other)
            said = str(refused.value)
            for words in (
                "WAN_LEDGER_URL",
                "a second time",
                str(layout.served_ledger),
                str(sa.make_url(postgres_url).database),
                str(sa.make_url(other).database),
            ):
                assert words in said
            assert str(sa.make_url(postgres_url).password) not in said
            await buy(Ledger(other, PROFILE))
    with open_ledger(layout, postgres_url) as ledger:
        assert sum(ledger.counts().values()) == 1


@pytest.mark.postgres
async def test_restored_copy_is_the_same_ledger(
    layout: DataLayout, postgres_url: str, postgres_server: RunningPostgres
) -> None:
    """On whichever server, and under whichever name, from then on the folder's."""
    await buy(open_ledger(layout, postgres_url))
    name = f"wan_copy_{secrets.token_hex(6)}"
    old = sa.make_url(postgres_url)
    postgres_server._administer(f"CREATE DATABASE {name} TEMPLATE {old.database} OWNER wan_test")
    try:
        url = old.set(database=name).render_as_string(hide_password=False)
        with open_ledger(layout, url) as ledger:
            assert sum(ledger.counts().values()) == 1
        assert name in layout.served_ledger.read_text()
    finally:
        postgres_server._administer(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.mark.postgres
async def test_emptied_memory_starts_anew(
    layout: DataLayout, postgres_url: str, postgres_server: RunningPostgres
) -> None:
    """As the refusal says."""
    await buy(open_ledger(layout, postgres_url))
    layout.served_ledger.write_text("")
    with postgres_server.database() as other:
        for _ in range(2):
            with open_ledger(layout, other) as ledger:
                assert ledger.counts() == {}
        with pytest.raises(ConfigurationError):
            open_ledger(layout, postgres_url)


@pytest.mark.postgres
async def test_memory_of_an_older_version_learns_which_ledger_it_is(
    layout: DataLayout, postgres_url: str, postgres_server: RunningPostgres
) -> None:
    """It held the URL only."""
    layout.root.mkdir(parents=True)
    layout.served_ledger.write_text("postgresql://wan:***@old/ledger\n")
    await buy(open_ledger(layout, postgres_url))
    with postgres_server.database() as other, pytest.raises(ConfigurationError):
        open_ledger(layout, other)


@pytest.mark.postgres
def test_unreadable_memory_is_told(layout: DataLayout, postgres_url: str) -> None:
    """By its name; what it would have said is not guessed."""
    layout.served_ledger.mkdir(parents=True)
    with pytest.raises(ConfigurationError, match=r"ledger-server\.txt.*cannot be read.*Nothing"):
        open_ledger(layout, postgres_url)
