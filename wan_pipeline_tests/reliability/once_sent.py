"""Something happens to a batch's surroundings between two of its own steps, not by the clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from wan_pipeline.generation.progress import Tally

__all__ = ["OnceSent"]


@dataclass(kw_only=True)
class OnceSent:
    """A batch's progress that does something once, when so many creates were sent.

    Attributes:
        count: of creates.
        then: what is done, in the batch's own event loop.
        done: whether it was.
    """

    count: int
    then: Callable[[], object]
    done: bool = False

    def update(self, tally: Tally) -> None:
        """Look at the counts."""
        if not self.done and tally.created >= self.count:
            self.done = True
            self.then()
