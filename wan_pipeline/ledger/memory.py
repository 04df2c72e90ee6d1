"""What a data folder remembers of its ledger on a server: a line to read, and a line to compare.

The first line is the URL without its secrets, for a person. The second is the ledger's id, which
a restored copy has too, wherever it is. Memories of older versions have no second line.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.temp_files import temp_path

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Memory"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Which ledger a folder goes with.

    Attributes:
        url: where it was, by a name without secrets.
        ledger_id: which one it is; None when only an older version wrote it down.
    """

    url: str
    ledger_id: str | None

    @classmethod
    def of(cls, file: Path) -> Memory | None:
        """What the file says; None without a file.

        Raises:
            OSError: it cannot be read.
            UnicodeDecodeError: it is no text.
        """
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        url, ledger_id, *_ = *lines, "", ""
        return cls(url=url, ledger_id=ledger_id or None)

    def write(self, file: Path) -> None:
        """Put it in place of the file, durably and all at once.

        Raises:
            OSError: the disk refused; an older file is untouched.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        temp = temp_path(file)
        try:
            with temp.open("w", encoding="utf-8") as stream:
                stream.write(f"{self.url}\n{self.ledger_id or ''}\n")
                stream.flush()
                os.fsync(stream.fileno())
            temp.replace(file)
        except BaseException:
            with suppress(OSError):  # the first error is the one to tell
                temp.unlink(missing_ok=True)
            raise
