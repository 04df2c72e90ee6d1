"""No ledger that knows less than its data folder: what it does not know would be bought again.

It is remembered twice: in the profile's folder, which goes with its images wherever they are moved
to, and beside it, for the day when the whole folder is gone or an older copy of it is put back.
"""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.ledger.facts import LEDGER_ID, fact_named
from wan_pipeline.ledger.memory import Memory
from wan_pipeline.temp_files import TEMP_PREFIX
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.layout import DataLayout

__all__ = ["GIVEN_UP", "FolderMemory", "bought_files", "remembered"]

GIVEN_UP = Memory()
"""What an emptied file says: what the ledger does not know counts as never bought."""

_EVENTS = schema.events.c


@dataclass(kw_only=True)
class FolderMemory:
    """What a folder remembers of the ledger that is opened for it.

    Attributes:
        layout: of the folder.
        file: where it is remembered in the folder.
        ledger: the ledger's name without secrets; for one in the folder, its path.
        served: whether it is on a server.
        looks: whether nothing is bought, so that nothing is to be remembered either.
    """

    layout: DataLayout
    file: Path
    ledger: str
    served: bool
    looks: bool = False
    _memory: Memory | None = field(init=False)
    _beside: Memory | None = field(init=False)
    _ledger_id: str | None = field(init=False, default=None)
    _newest_event: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        # Before the ledger is read: meanwhile another process may write both, this one last.
        self._memory = remembered(self.file)
        self._beside = remembered(self.layout.ledger_beside)

    def require_file(self) -> None:
        """Refuse a ledger file that is gone or empty, before opening it makes a new one.

        Raises:
            ConfigurationError: something was bought with it.
        """
        path = self.layout.ledger
        if not path.exists():
            self._refuse_nothing("is not there")
        elif not path.stat().st_size:
            self._refuse_nothing("is empty")

    def check(self, connection: sa.Connection) -> None:
        """Refuse a ledger that is not the folder's, or that is older than what the folder saw.

        Raises:
            ConfigurationError: so it is.
        """
        found = fact_named(connection, LEDGER_ID)
        newest = sa.select(sa.func.max(_EVENTS.seq)).where(_EVENTS.profile == self.layout.profile)
        self._newest_event = connection.execute(newest).scalar() or 0
        said = self._said()
        for file, memory in said:
            if None not in (found, memory.ledger_id) and found != memory.ledger_id:
                raise self._refused(
                    f"{file} remembers {_named(memory, self.ledger) or 'another ledger'}, not"
                    f" {self.ledger}: its id is {memory.ledger_id} and its newest event"
                    f" {memory.newest_event}, here they are {found} and {self._newest_event}. What"
                    " was bought with it",
                    file,
                    memory,
                )
        if not self._newest_event:
            self._refuse_nothing(f"knows of no purchase under profile {self.layout.profile}")
        for file, memory in said:
            if self._newest_event < memory.newest_event:
                raise self._refused(
                    f"the ledger {self.ledger} is older than what was in {self.layout.root}: its"
                    f" newest event is number {self._newest_event}, {file} remembers number"
                    f" {memory.newest_event}. What was bought in between",
                    file,
                    memory,
                )

    def opened(self, ledger_id: str | None) -> None:
        """Remember the ledger that was found to be the right one."""
        self._ledger_id = ledger_id
        # A new file has nothing to be remembered yet; and what a person gave up by emptying the
        # memory stays given up until something is bought.
        if self._newest_event or (self.served and self._memory != GIVEN_UP):
            with suppress(OSError):  # a folder that can only be looked at: nothing is bought there
                self.file.parent.mkdir(parents=True, exist_ok=True)
            self.keep(self._newest_event)

    def keep(self, newest_event: int) -> None:
        """Remember that the ledger has this event.

        What cannot be written down stays behind until the next event: a purchase matters more. A
        look remembers nothing.
        """
        if self.looks:
            return
        name = self.ledger if self.served else self.layout.ledger.name  # folders are moved
        memory = Memory(name=name, ledger_id=self._ledger_id, newest_event=newest_event)
        for file in (self.file, self.layout.ledger_beside):
            if newest_event or file == self.file:
                with suppress(OSError, ValueError):
                    memory.keep(file)

    def _said(self) -> list[tuple[Path, Memory]]:
        """What is remembered, and where; what a person emptied says nothing any more."""
        both = ((self.file, self._memory), (self.layout.ledger_beside, self._beside))
        return [(file, memory) for file, memory in both if memory not in (None, GIVEN_UP)]

    def _refuse_nothing(self, what: str) -> None:
        """Refuse a ledger without events where some are remembered, or their files are there."""
        for file, memory in self._said():
            if memory.newest_event:
                raise self._refused(
                    f"the ledger {self.ledger} {what}, and {file} remembers"
                    f" {_named(memory, self.ledger) or 'it'} with newest event number"
                    f" {memory.newest_event}. What was bought",
                    file,
                    memory,
                )
        if GIVEN_UP in (self._memory, self._beside):
            return
        bought = next(bought_files(self.layout), None)
        if bought is not None:
            raise self._refused(
                f"the ledger {self.ledger} {what}, and {bought} was bought. What is in"
                f" {self.layout.root}",
                self.file,
            )

    def _refused(self, what: str, file: Path, memory: Memory | None = None) -> ConfigurationError:
        """An error that says what to do, with what to empty if nothing else can be done."""
        files = [each for each, _ in self._said()] or [self.file]
        emptied = "; ".join(f": > {shlex.quote(str(each))}" for each in files)
        return ConfigurationError(
            f"{what} would be bought a second time. {self._put_back(file, memory)}; then run again."
            f" Only if it is really lost: empty {' and '.join(map(str, files))} ({emptied}); then"
            " what the ledger does not know counts as never bought and is bought and paid again."
            " Nothing was sent"
        )

    def _put_back(self, file: Path, memory: Memory | None) -> str:
        """What to do about a ledger that is not the one that was remembered in a file."""
        name = self.layout.ledger.name
        if self.served if memory is None else memory.name != name:
            return (
                "Set WAN_LEDGER_URL to the ledger that bought it, or to a restored copy that has"
                " all of it"
            )
        unset = "Unset WAN_LEDGER_URL. " if self.served else ""
        if file == self.layout.ledger_beside:
            there = self.layout.root.exists()
            aside = ", in the place of what is there now," if there else ","
            return (
                f"{unset}Put the folder {self.layout.root} back{aside} such as by mounting its"
                f" disk, with its newest {name}, and that file's -wal if it has one"
            )
        return (
            f"{unset}Put the newest ledger back as {self.layout.ledger}, together with its"
            f" {name}-wal file if it has one"
        )


def remembered(file: Path) -> Memory | None:
    """What a file remembers; None without a file.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        return Memory.of(file)
    except (OSError, ValueError) as error:
        raise ConfigurationError(
            f"{file}, which names the ledger that the data folder goes with, cannot be read:"
            f" {error}. Make it readable; or remove it and write an empty one in its place, if the"
            " ledger that is opened now bought what is there. Nothing was sent"
        ) from error


def bought_files(layout: DataLayout) -> Iterator[Path]:
    """Files that are there only where something was bought: images, and tables with rows."""
    for path in (layout.root / "images").rglob("*"):
        if path.is_file() and not path.name.startswith(TEMP_PREFIX):
            yield path
    for path in (layout.root / "metadata").glob("*.parquet"):
        if not path.name.startswith(TEMP_PREFIX) and _has_rows(path):
            yield path


def _has_rows(table: Path) -> bool:
    import pyarrow as pa  # noqa: PLC0415  slow to import, and rarely needed
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return pq.read_metadata(table).num_rows > 0
    except (OSError, pa.ArrowException):
        return True  # of a damaged table nobody can say that nothing was bought


def _named(memory: Memory, ledger: str) -> str:
    return "" if ledger.endswith(memory.name) else memory.name
