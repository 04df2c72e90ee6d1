"""Which ledger a data folder goes with: its own file, or one on a server; never another one.

A ledger that does not know what the folder's own one bought would buy all of it a second time.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from wan_pipeline.ledger.database import public_name
from wan_pipeline.ledger.folder_memory import GIVEN_UP, FolderMemory, bought_files, remembered
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.still_copy import may_be_written, still_copy
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from wan_pipeline.layout import DataLayout

__all__ = ["has_ledger", "ledger_to_look_at", "open_ledger"]


def has_ledger(layout: DataLayout) -> bool:
    """Whether the folder goes with a ledger already, be it lost; opening one would make it so."""
    files = (layout.ledger, layout.filed_ledger, layout.served_ledger, layout.ledger_beside)
    return any(file.exists() for file in files) or any(bought_files(layout))


def open_ledger(layout: DataLayout, url: str | None) -> Ledger:
    """The ledger of a profile's data folder; to be closed.

    Args:
        layout: of the folder.
        url: of a ledger on a server; None for the folder's own file.

    Raises:
        ConfigurationError: what the folder holds was bought with another one, or with a newer
            state of it.
        LedgerError: it cannot be opened.
    """
    if url is None:
        memory = _memory_of_a_file(layout)
        memory.require_file()
        return Ledger(layout.ledger, layout.profile, memory=memory)
    _refuse_beside_a_file(layout)
    memory = FolderMemory(
        layout=layout, file=layout.served_ledger, ledger=public_name(url), served=True
    )
    return Ledger(url, layout.profile, memory=memory)


@contextmanager
def ledger_to_look_at(layout: DataLayout, url: str | None) -> Generator[Ledger]:
    """The same for who changes nothing: of a file that may not be written a copy is opened.

    Raises:
        ConfigurationError: as `open_ledger`.
        LedgerError: it cannot be opened or copied.
    """
    if url is not None or not layout.ledger.exists() or may_be_written(layout.ledger):
        with open_ledger(layout, url) as ledger:
            yield ledger
        return
    memory = _memory_of_a_file(layout, looks=True)
    memory.require_file()
    with (
        still_copy(layout.ledger) as copy,
        Ledger(copy, layout.profile, memory=memory) as ledger,
    ):
        yield ledger


def _memory_of_a_file(layout: DataLayout, *, looks: bool = False) -> FolderMemory:
    _refuse_beside_a_server(layout)
    return FolderMemory(
        layout=layout,
        file=layout.filed_ledger,
        ledger=str(layout.ledger),
        served=False,
        looks=looks,
    )


def _refuse_beside_a_server(layout: DataLayout) -> None:
    """A new file does not know what a ledger on a server bought."""
    if remembered(layout.served_ledger) not in (None, GIVEN_UP):
        raise ConfigurationError(
            f"what is in {layout.root} was bought with a ledger on a server, which"
            f" {layout.served_ledger} names, and WAN_LEDGER_URL is not set: with an empty"
            " ledger all of it would be bought a second time. Set WAN_LEDGER_URL; or remove"
            " that file, if nothing was bought with that ledger. Nothing was sent"
        )


def _refuse_beside_a_file(layout: DataLayout) -> None:
    """A ledger on a server does not know what the folder's own file bought."""
    bought = 0
    if layout.ledger.exists() and layout.ledger.stat().st_size:
        with Ledger(layout.ledger, layout.profile) as ledger:
            bought = sum(ledger.counts().values())
    if bought:
        raise ConfigurationError(
            f"WAN_LEDGER_URL is set, and the ledger {layout.ledger} has {bought} purchases that its"
            " ledger does not know: they would be bought a second time. Unset WAN_LEDGER_URL;"
            f" or move that file, {layout.filed_ledger} and {layout.ledger_beside} away, if its"
            " purchases are not to count. Nothing was sent"
        )
    memory = remembered(layout.filed_ledger) or GIVEN_UP
    if memory.newest_event:
        raise ConfigurationError(
            f"WAN_LEDGER_URL is set, and {layout.filed_ledger} remembers the ledger"
            f" {layout.ledger} with newest event number {memory.newest_event}: what was bought with"
            " it would be bought a second time. Unset WAN_LEDGER_URL and put that ledger back; or"
            f" move {layout.filed_ledger} and {layout.ledger_beside} away, if its purchases are not"
            " to count. Nothing was sent"
        )
