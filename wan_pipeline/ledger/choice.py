"""Which ledger a data folder goes with: its own file, or one on a server; never two.

A ledger that does not know what the folder's other one bought would buy all of it a second time.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from wan_pipeline.ledger.database import shown
from wan_pipeline.ledger.ledger import Ledger
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
    ledger = Ledger(url, layout.profile)
    if not layout.served_ledger.exists():
        with suppress(OSError):  # a folder that can only be looked at: nothing is bought there
            layout.root.mkdir(parents=True, exist_ok=True)
            layout.served_ledger.write_text(f"{shown(url)}\n", encoding="utf-8")
    return ledger


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
