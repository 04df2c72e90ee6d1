"""Where things lie: prompt sets are shared, everything produced belongs to one profile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DataLayout"]

PAIRS = ".pairs"
NAMED_LIKE_PAIRS = re.compile(rf"{re.escape(PAIRS)}(\.set)*$")


@dataclass(frozen=True, slots=True)
class DataLayout:
    """Where things lie: prompt sets are shared, everything produced belongs to one profile."""

    data_dir: Path
    profile: str

    @property
    def prompts_dir(self) -> Path:
        """Prompt files, the user's."""
        return self.data_dir / "prompts"

    @property
    def root(self) -> Path:
        """Everything produced under the profile."""
        return self.data_dir / self.profile

    @property
    def ledger(self) -> Path:
        """The durable record."""
        return self.root / "ledger.sqlite"

    @property
    def filed_ledger(self) -> Path:
        """Says which ledger file is the folder's and how far it was; there when it has events."""
        return self.root / "ledger-file.txt"

    @property
    def served_ledger(self) -> Path:
        """Says that the durable record is on a server, which one, and how far."""
        return self.root / "ledger-server.txt"

    @property
    def ledger_beside(self) -> Path:
        """Says the same of either beside the folder, which may itself be moved or not mounted."""
        return self.data_dir / f"{self.profile}-ledger.txt"

    @property
    def rescue(self) -> Path:
        """Task ids that the ledger could not take."""
        return self.root / "rescue"

    @property
    def dagster_home(self) -> Path:
        """Run history of the Dagster instance."""
        return self.root / "dagster"

    @property
    def emulator_dir(self) -> Path:
        """State of the local provider."""
        return self.root / "emulator"

    @property
    def thumbnails(self) -> Path:
        """Small pictures, shared by all galleries."""
        return self.root / "thumbnails"

    @property
    def spend(self) -> Path:
        """The ledger as tables, and the page about money."""
        return self.root / "spend"

    @property
    def measurements(self) -> Path:
        """What is known of the pixels of images, whichever sets they belong to."""
        return self.root / "measurements"

    @property
    def releases(self) -> Path:
        """Immutable versions of prompt sets."""
        return self.root / "releases"

    @property
    def exports(self) -> Path:
        """Releases in the forms that training code reads."""
        return self.root / "exports"

    @property
    def reproductions(self) -> Path:
        """What buying a release's requests once more has shown."""
        return self.root / "reproductions"

    @property
    def written(self) -> tuple[Path, ...]:
        """Folders of the files that runs write."""
        names = (
            "images",
            "thumbnails",
            "sets",
            "metadata",
            "measurements",
            "quality",
            "gallery",
            "spend",
            "releases",
            "exports",
            "reproductions",
        )
        return tuple(self.root / name for name in names)

    def tables(self, prompt_set: str) -> Path:
        """Validated prompts, rejects, requests and plan of a set."""
        return self.root / "sets" / prompt_set

    def metadata(self, prompt_set: str) -> Path:
        """The set's metadata table."""
        return self.root / "metadata" / f"{prompt_set}.parquet"

    @property
    def with_metadata(self) -> list[str]:
        """Prompt sets that have a metadata table, sorted, whether or not their file is there."""
        tables = (self.root / "metadata").glob("*.parquet")
        names = (table.name for table in tables if not table.name.startswith("."))
        return sorted(name.removesuffix(".parquet") for name in names)

    def quality(self, prompt_set: str) -> Path:
        """The set's quality table."""
        return self._quality(prompt_set, ".parquet")

    def quality_pairs(self, prompt_set: str) -> Path:
        """The set's pairs of near duplicates."""
        return self._quality(prompt_set, f"{PAIRS}.parquet")

    def quality_elsewhere(self, prompt_set: str) -> Path:
        """The set's pairs of near duplicates with other sets."""
        return self.root / "quality" / "elsewhere" / f"{prompt_set}.parquet"

    def quality_outcomes(self, prompt_set: str) -> Path:
        """What became of the set's requests."""
        return self.root / "quality" / "outcomes" / f"{prompt_set}.parquet"

    def quarantine(self, prompt_set: str) -> Path:
        """The page that shows what is flagged in the set."""
        return self.root / "quality" / f"{prompt_set}.html"

    def _quality(self, prompt_set: str, suffix: str) -> Path:
        # A set may be named like the pairs of another one.
        name = f"{prompt_set}.set" if NAMED_LIKE_PAIRS.search(prompt_set) else prompt_set
        return self.root / "quality" / f"{name}{suffix}"

    def gallery(self, prompt_set: str) -> Path:
        """Folder of the set's gallery."""
        return self.root / "gallery" / prompt_set
