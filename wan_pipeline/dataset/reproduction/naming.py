"""How a series of reproductions is named, in the ledger and on disk."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.dataset.release.reference import NAME
from wan_pipeline.dataset.reproduction.errors import ReproductionUsageError

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["Series", "checked_label", "label_of"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """One reproduction of a release, or of a sample of it.

    Attributes:
        release: its name.
        version: its version.
        label: which reproduction; the same label goes on with it, another one buys anew.
    """

    release: str
    version: int
    label: str

    @property
    def reference(self) -> str:
        """The release, as ``name@v3``."""
        return f"{self.release}@v{self.version}"

    @property
    def name(self) -> str:
        """What stands in the ledger's `bought_by_set`; no prompt set's name has a slash."""
        return f"reproduce/{self.reference}/{self.label}"

    def folder(self, reproductions: Path) -> Path:
        """Of its table, report and page."""
        return reproductions / f"{self.release}-v{self.version}" / self.label


def label_of(moment: datetime) -> str:
    """The label of a reproduction that was given none: the UTC date."""
    return moment.date().isoformat()


def checked_label(label: str) -> str:
    """The label, if it can be one: it has the form of a release's name.

    Raises:
        ReproductionUsageError: it cannot.
    """
    if NAME.fullmatch(label) is None:
        raise ReproductionUsageError(
            f"{label[:80]!r} cannot label a reproduction: a label has 1 to 64 lower-case letters,"
            " digits, dots, underscores and hyphens, and begins with a letter or digit. Nothing was"
            " sent"
        )
    return label
