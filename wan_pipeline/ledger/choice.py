"""Which ledger a data folder goes with: its own file, or one on a server; never another one.

A ledger that does not know what the folder's own one bought would buy all of it a second time.
"""

from __future__ import annotations

from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING

from wan_pipeline.ledger.database import public_name
from wan_pipeline.ledger.facts import LEDGER_ID
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.memory import Memory
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from wan_pipeline.layout import DataLayout

__all__ = ["has_ledger", "open_ledger"]


def has_ledger(layout: DataLayout) -> bool:
    """Whether the folder goes with a ledger already; opening one would make it so."""
    return layout.ledger.exists() or layout.served_ledger.exists()


def open_ledger(layout: DataLayout, url: str | None) -> Ledger:
    """The ledger of a profile's data folder; to be closed.

    Args:
        layout: of the folder.
        url: of a ledger on a server; None for the folder's own file.

    Raises:
        ConfigurationError: what the folder holds was bought with another one.
        LedgerError: it cannot be opened.
    """
    if url is None:
        _refuse_beside_a_server(layout)
        return Ledger(layout.ledger, layout.profile)
    _refuse_beside_a_file(layout)
    memory = _remembered(layout)
    with ExitStack() as opened:
        ledger = opened.enter_context(Ledger(url, layout.profile))
        found = Memory(url=public_name(url), ledger_id=ledger.recall(LEDGER_ID))
        if memory is not None and memory.ledger_id not in (None, found.ledger_id):
            raise _another_ledger(layout, memory, found)
        if memory != found:
            with suppress(OSError):  # a folder that can only be looked at: nothing is bought there
                found.write(layout.served_ledger)
        opened.pop_all()
    return ledger


def _remembered(layout: DataLayout) -> Memory | None:
    try:
        return Memory.of(layout.served_ledger)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(
            f"{layout.served_ledger}, which names the ledger that the data folder goes with, cannot"
            f" be read: {error}. Make it readable; or remove it, if WAN_LEDGER_URL names the ledger"
            " that bought what is there. Nothing was sent"
        ) from error


def _another_ledger(layout: DataLayout, memory: Memory, found: Memory) -> ConfigurationError:
    return ConfigurationError(
        f"what is in {layout.root} was bought with the ledger {memory.url}, and WAN_LEDGER_URL"
        f" names another one, {found.url}, which does not know it: it would be bought a second"
        " time. Set WAN_LEDGER_URL to the former or to a restored copy of it; or remove"
        f" {layout.served_ledger}, if nothing bought with it is to count. Nothing was sent"
    )


def _refuse_beside_a_server(layout: DataLayout) -> None:
    """A new file does not know what a ledger on a server bought."""
    if layout.served_ledger.exists():
        raise ConfigurationError(
            f"what is in {layout.root} was bought with a ledger on a server, which"
            f" {layout.served_ledger} names, and WAN_LEDGER_URL is not set: with an empty"
            " ledger all of it would be bought a second time. Set WAN_LEDGER_URL; or remove"
            " that file, if nothing was bought with that ledger. Nothing was sent"
        )


def _refuse_beside_a_file(layout: DataLayout) -> None:
    """A ledger on a server does not know what the folder's own file bought."""
    if not layout.ledger.exists():
        return
    with Ledger(layout.ledger, layout.profile) as ledger:
        bought = sum(ledger.counts().values())
    if bought:
        raise ConfigurationError(
            f"WAN_LEDGER_URL is set, and the ledger {layout.ledger} has {bought} purchases that its"
            " ledger does not know: they would be bought a second time. Unset WAN_LEDGER_URL;"
            " or move that file away, if its purchases are not to count. Nothing was sent"
        )
