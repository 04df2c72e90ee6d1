"""Is the ledger's file still where it was opened? It can be written to after it is gone."""

from __future__ import annotations

from pathlib import Path

from wan_pipeline.ledger.errors import LedgerUnavailableError

__all__ = ["Place"]


class Place:
    """The place of an open ledger.

    Args:
        where: path of an open SQLite file; or a PostgreSQL URL, whose server knows by itself.
    """

    def __init__(self, where: Path | str) -> None:
        self._path = where if isinstance(where, Path) else None
        self._opened = self._identity()

    def check(self) -> None:
        """Refuse to go on when the file was removed, moved or replaced.

        Raises:
            LedgerUnavailableError: it was; what is written from now on is not found again.
        """
        if self._path is not None and self._identity() != self._opened:
            raise LedgerUnavailableError(
                f"the ledger {self._path} was removed, moved or replaced while it was in use, so"
                " nothing more is bought. Put the data folder back where it was, or mount its disk"
                " again, then run again"
            )

    def _identity(self) -> tuple[int, int] | None:
        if self._path is None:
            return None
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino
