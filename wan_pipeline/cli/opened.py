"""The ledger for commands that only make sense when there is one."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Generator

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.settings import Settings

__all__ = ["opened_ledger"]


@contextmanager
def opened_ledger(settings: Settings, *, to_look: bool = False) -> Generator[Ledger]:
    """The profile's ledger; looking for one makes none.

    Args:
        settings: whose.
        to_look: nothing is changed with it, so that it need not be writable.

    Raises:
        ConfigurationError: there is none yet.
        LedgerError: it cannot be opened.
    """
    if not settings.has_ledger:
        raise ConfigurationError(
            f"there is no ledger {settings.layout.ledger} yet: nothing was bought under profile"
            f" {settings.profile.value}. `wan run` builds; WAN_PROFILE and WAN_DATA_DIR say where"
            " to look"
        )
    with settings.ledger_to_look_at() if to_look else settings.open_ledger() as ledger:
        yield ledger
