"""What a person asks of one `wan run`, and what a stop leaves of it to the sets that follow."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum, auto
from functools import partial
from typing import TYPE_CHECKING, Any

from wan_pipeline.told import dollars
from wan_pipeline.wan.errors import StopReason

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.ledger.retries import Retry

__all__ = ["Hold", "Order", "Way"]

ZERO = Decimal(0)
# Of these each set finds out for itself: it buys what still fits, which may be nothing.
_BUY_ON = frozenset({StopReason.BUDGET})
# With these no poll and no download can succeed, or nothing that arrives could be kept.
_NOT_EVEN_FETCHED = frozenset({StopReason.BAD_KEY, StopReason.UNREACHABLE, StopReason.DISK})


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What a person asked of one `wan run` beyond the settings.

    Attributes:
        retry: what is bought again.
        budget_usd: the most that all its sets together may pay and reserve; None for no such cap.
        given_at: when; what was bought since then is not bought again by it.
    """

    retry: Sequence[Retry] = ()
    budget_usd: Decimal | None = None
    given_at: datetime = field(default_factory=partial(datetime.now, UTC))

    def within(self, cap_usd: Decimal | None) -> Order:
        """The same under the settings' cap of one run, which this command is to its user."""
        caps = [cap for cap in (self.budget_usd, cap_usd) if cap is not None]
        return replace(self, budget_usd=min(caps, default=None))

    def config(self, spent_usd: Decimal) -> dict[str, Any]:
        """The configuration of the asset `images` for the next set, after so much was spent."""
        config: dict[str, Any] = {}
        if self.retry:
            config["retry"] = [each.value for each in self.retry]
            config["retry_before"] = self.given_at.isoformat()
        if self.budget_usd is not None:
            config["budget_run_usd"] = f"{max(self.budget_usd - spent_usd, ZERO):f}"
        return config

    def told(self, spent_usd: Decimal) -> str:
        """What earlier sets left of its budget for the next one; empty where they took nothing."""
        if self.budget_usd is None or not spent_usd:
            return ""
        left = max(self.budget_usd - spent_usd, ZERO)
        return (
            f"{dollars(left)} USD is what earlier sets of this command left of its budget"
            f" of {dollars(self.budget_usd)} USD, {dollars(spent_usd)} USD of which they used."
        )


class Way(Enum):
    """How far a set is built.

    Attributes:
        BUY: what is missing is bought.
        FETCH: what is paid for is polled, fetched and shown; nothing is bought.
        COUNT: nothing is sent; the set is planned, so that what is left of it is known.
    """

    BUY = auto()
    FETCH = auto()
    COUNT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """A stop of one set that holds for those after it, which would meet the same.

    Attributes:
        prompt_set: which set was stopped.
        stop: by what.
    """

    prompt_set: str
    stop: StopReason

    @property
    def way(self) -> Way:
        """What can be done for the others all the same."""
        return Way.COUNT if self.stop in _NOT_EVEN_FETCHED else Way.FETCH

    def __str__(self) -> str:
        """Why nothing was bought, as the beginning of a sentence."""
        what = "asked for" if self.way is Way.COUNT else "bought"
        return (
            f"{self.stop.value.replace('_', ' ')} stopped {self.prompt_set}, so nothing was {what}"
        )

    @classmethod
    def after(cls, prompt_set: str, stop: StopReason | None, earlier: Hold | None) -> Hold | None:
        """What holds for the next set.

        Args:
            prompt_set: the set that was built last.
            stop: what ended it early, if anything did.
            earlier: what held for it; it goes on unless less is possible by now.
        """
        if stop is None or stop in _BUY_ON:
            return earlier
        newer = cls(prompt_set=prompt_set, stop=stop)
        return newer if earlier is None or newer.way is Way.COUNT else earlier
