"""The ledger that a data folder goes with, and every other one refused."""

from __future__ import annotations

import dataclasses
import re
import secrets
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger.choice import has_ledger, ledger_to_look_at, open_ledger
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.wan.errors import ConfigurationError
from wan_pipeline_tests.ledger.conftest import PROFILE, intention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline_tests.postgres_fixture import RunningPostgres


@pytest.fixture
def layout(tmp_path: Path) -> DataLayout:
    """An empty data folder."""
    return DataLayout(tmp_path, PROFILE)


async def buy(ledger: Ledger, request_id: str = "r1") -> None:
    """Write one intent."""
    with ledger, ledger.owner("run") as owner:
        await ledger.intend(intention(request_id), owner=owner)


def give_up(layout: DataLayout) -> None:
    """Empty what remembers a ledger on a server, in the folder and beside it."""
    for memory in (layout.served_ledger, layout.ledger_beside):
        memory.write_text("")


@contextmanager
def copied(server: RunningPostgres, url: str) -> Iterator[str]:
    """A restored copy of a database, as it is now, for the block."""
    name = f"wan_copy_{secrets.token_hex(6)}"
    old = sa.make_url(url)
    server._administer(f"CREATE DATABASE {name} TEMPLATE {old.database} OWNER wan_test")
    try:
        yield old.set(database=name).render_as_string(hide_password=False)
    finally:
        server._administer(f"DROP DATABASE {name} WITH (FORCE)")


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
    with copied(postgres_server, postgres_url) as url:
        with open_ledger(layout, url) as ledger:
            assert sum(ledger.counts().values()) == 1
        assert str(sa.make_url(url).database) in layout.served_ledger.read_text()


@pytest.mark.postgres
async def test_older_copy_on_a_server_is_refused(
    layout: DataLayout, postgres_url: str, postgres_server: RunningPostgres
) -> None:
    """It does not know what was bought after it; events of other profiles do not count."""
    await buy(open_ledger(layout, postgres_url))
    with copied(postgres_server, postgres_url) as url:
        await buy(open_ledger(layout, postgres_url), "r2")
        for name in ("r3", "r4"):
            with Ledger(url, "vtrix") as other, other.owner("run") as owner:
                theirs = dataclasses.replace(intention(name), profile="vtrix")
                await other.intend(theirs, owner=owner)
        with pytest.raises(ConfigurationError, match=r"older.* a second time.*ledger-server\.txt"):
            open_ledger(layout, url)
        with open_ledger(layout, postgres_url) as ledger:
            assert sum(ledger.counts().values()) == 2
        give_up(layout)
        with open_ledger(layout, url) as ledger:
            assert sum(ledger.counts().values()) == 1


@pytest.mark.postgres
def test_empty_ledger_on_a_server_does_not_go_with_images(
    layout: DataLayout, postgres_url: str
) -> None:
    """Nothing is remembered, and something was bought; the database is left as it was."""
    image = layout.root / "images" / "ab" / "image.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"paid")
    with pytest.raises(ConfigurationError, match=r"image\.png was bought.* a second time"):
        open_ledger(layout, postgres_url)
    engine = sa.create_engine(postgres_url)
    assert sa.inspect(engine).get_table_names() == []
    engine.dispose()
    layout.served_ledger.write_text("postgresql://wan:***@h/ledger\nabc\n")  # an older version's
    with pytest.raises(ConfigurationError, match=r"image\.png was bought.* a second time"):
        open_ledger(layout, postgres_url)
    layout.served_ledger.write_text("")
    for _ in range(2):  # given up until something is bought
        open_ledger(layout, postgres_url).close()


@pytest.mark.postgres
async def test_lost_file_is_remembered_before_a_server_is_taken_instead(
    layout: DataLayout, postgres_url: str
) -> None:
    """Its purchases are on no server."""
    await buy(open_ledger(layout, None))
    layout.ledger.unlink()
    assert has_ledger(layout)
    with pytest.raises(ConfigurationError, match=r"ledger-file\.txt.* a second time"):
        open_ledger(layout, postgres_url)


@pytest.mark.postgres
async def test_folder_that_is_gone_still_names_its_ledger(
    tmp_path: Path, postgres_url: str
) -> None:
    """Whichever kind it was, and whichever is asked for now; a server knows what was bought."""
    filed, served = (
        DataLayout(tmp_path / "filed", PROFILE),
        DataLayout(tmp_path / "served", PROFILE),
    )
    await buy(open_ledger(filed, None))
    await buy(open_ledger(served, postgres_url))
    for layout in (filed, served):
        shutil.rmtree(layout.root)
        assert has_ledger(layout)
    put_back = r"-ledger\.txt remembers.* a second time\. {}Put the folder .*Nothing was sent"
    with pytest.raises(ConfigurationError, match=put_back.format("")):
        open_ledger(filed, None)
    with pytest.raises(ConfigurationError, match=put_back.format(r"Unset WAN_LEDGER_URL\. ")):
        open_ledger(filed, postgres_url)
    with pytest.raises(ConfigurationError, match=r" a second time\. Set WAN_LEDGER_URL to"):
        open_ledger(served, None)
    with open_ledger(served, postgres_url) as ledger:
        assert sum(ledger.counts().values()) == 1


@pytest.mark.postgres
async def test_emptied_memory_starts_anew(
    layout: DataLayout, postgres_url: str, postgres_server: RunningPostgres
) -> None:
    """As the refusal says."""
    await buy(open_ledger(layout, postgres_url))
    give_up(layout)
    with postgres_server.database() as other:
        for _ in range(2):
            with open_ledger(layout, other) as ledger:
                assert ledger.counts() == {}
        await buy(open_ledger(layout, other))
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


async def test_a_look_remembers_nothing(
    layout: DataLayout, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor writes anything; an older copy is refused to it as to a purchase."""
    await buy(open_ledger(layout, None))
    old = layout.ledger.read_bytes()
    await buy(open_ledger(layout, None), "r2")
    monkeypatch.setattr("wan_pipeline.ledger.choice.may_be_written", lambda _ledger: False)
    for memory in (layout.filed_ledger, layout.ledger_beside):
        memory.unlink()
    with ledger_to_look_at(layout, None) as ledger:
        assert sum(ledger.counts().values()) == 2
    assert not layout.filed_ledger.exists()
    assert not layout.ledger_beside.exists()
    open_ledger(layout, None).close()
    layout.ledger.write_bytes(old)
    with (
        pytest.raises(
            ConfigurationError, match=rf"ledger {re.escape(str(layout.ledger))} is older"
        ),
        ledger_to_look_at(layout, None),
    ):
        pass
