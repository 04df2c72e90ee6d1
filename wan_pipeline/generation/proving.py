"""How long creates wait until a task has proven that the form of their body is understood."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from wan_pipeline.generation.forms import BodyForm
    from wan_pipeline.generation.terms import Clock

__all__ = ["Proving"]


class Proving:
    """Keeps what a misunderstood body can cost to one task, however large the window is.

    Args:
        form: what is known of the form.
        clock: the batch's.
        patience_s: a task that has not ended after so many seconds holds the batch no longer; what
            is sent then goes as if the form were proven.
    """

    def __init__(self, form: BodyForm, *, clock: Clock, patience_s: float) -> None:
        self._form = form
        self._clock = clock
        self._patience_s = patience_s
        self._waited_out = False

    def waits_for_proof(self, n: int) -> Callable[[], bool]:
        """Whether a create of n images must not go beside other tasks; patience begins now."""
        began = self._clock.monotonic()

        def waits() -> bool:
            if self._waited_out or not self._form.goes_alone(n):
                return False
            self._waited_out = self._clock.monotonic() - began > self._patience_s
            return not self._waited_out

        return waits
