"""What the parts of one batch share while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from wan_pipeline.generation.progress import Tally
from wan_pipeline.generation.stop import Stop

if TYPE_CHECKING:
    from wan_pipeline.generation.progress import Progress
    from wan_pipeline.generation.terms import Ports, Terms

__all__ = ["Course"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Course:
    """A batch on its way.

    Attributes:
        ports: what it works through.
        terms: on which terms it buys.
        progress: told about every change of the tally.
        tally: its counts.
        stop: whether submitting has ended.
    """

    ports: Ports
    terms: Terms
    progress: Progress
    tally: Tally = field(default_factory=Tally)
    stop: Stop = field(default_factory=Stop)

    def __post_init__(self) -> None:
        self.tally.tell = self.told

    def told(self) -> None:
        """Tell how far it is."""
        self.progress.update(self.tally)
