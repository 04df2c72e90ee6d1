"""Where things lie: prompt sets are shared, everything produced belongs to one profile."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["DataLayout"]


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
    def served_ledger(self) -> Path:
        """Says that the durable record is on a server, and which; there when it was once."""
        return self.root / "ledger-server.txt"

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
    def written(self) -> tuple[Path, ...]:
        """Folders of the files that runs write."""
        names = ("images", "thumbnails", "sets", "metadata", "gallery", "spend")
        return tuple(self.root / name for name in names)

    def tables(self, prompt_set: str) -> Path:
        """Validated prompts, rejects, requests and plan of a set."""
        return self.root / "sets" / prompt_set

    def metadata(self, prompt_set: str) -> Path:
        """The set's metadata table."""
        return self.root / "metadata" / f"{prompt_set}.parquet"

    def gallery(self, prompt_set: str) -> Path:
        """Folder of the set's gallery."""
        return self.root / "gallery" / prompt_set
