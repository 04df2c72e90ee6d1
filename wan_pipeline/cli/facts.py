"""What is stored about a prompt set after a run: how far it is, what is left of it, and why."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from wan_pipeline.cli.retry_notes import next_steps, with_retry_notes
from wan_pipeline.cli.screen import warn
from wan_pipeline.cli.status import damaged_plan
from wan_pipeline.dataset.quality.reading import flag_counts
from wan_pipeline.generation.planning import (
    PLAN_FILE,
    Plan,
    Standing,
    UnfinishedRequest,
    standing_of,
    unfinished_of,
)
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import REQUESTS_FILE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from wan_pipeline.cli.order import Order
    from wan_pipeline.settings import Settings

__all__ = ["SetFacts", "StoredFacts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SetFacts:
    """What is stored about a set.

    Attributes:
        standing: how far it is.
        unfinished: its requests that are not complete, with the reasons.
        steps: commands that bring these further.
        rejections: rules broken by rows of its file.
        flagged: its images by what is noticed about them.
    """

    standing: Standing = field(default_factory=Standing)
    unfinished: Sequence[UnfinishedRequest] = ()
    steps: Sequence[str] = ()
    rejections: int = 0
    flagged: Mapping[str, int] = field(default_factory=dict[str, int])


class StoredFacts:
    """Reads them.

    Args:
        settings: of the profile.
        console: where a plan that cannot be read is told.
    """

    def __init__(self, settings: Settings, *, console: Console) -> None:
        self._settings = settings
        self._layout = settings.layout
        self._console = console

    def of(self, prompt_set: str, order: Order) -> SetFacts:
        """What is stored about a set, in the light of what a person asked for."""
        tables = self._layout.tables(prompt_set)
        requests, plan = tables / REQUESTS_FILE, tables / PLAN_FILE
        try:
            rejections = Plan.load(plan).rejections if plan.exists() else 0
            if not requests.exists():
                return SetFacts(rejections=rejections)
            with self._settings.open_ledger() as ledger:
                standing = standing_of(requests, ledger)
                unfinished = unfinished_of(requests, ledger)
                purchases = ledger.purchases(each.request_id for each in unfinished)
                released = ledger.released_attempts(purchases)
        except UnreadablePromptFileError as error:
            # A run that gets as far as planning writes both anew; this one did not.
            warn(self._console, damaged_plan(prompt_set, tables, error))
            return SetFacts()
        return SetFacts(
            standing=standing,
            unfinished=with_retry_notes(
                unfinished,
                purchases,
                retry=order.retry,
                max_attempts=self._settings.max_attempts,
                released=released,
            ),
            steps=next_steps(
                unfinished,
                purchases,
                prompt_set=prompt_set,
                price_usd=self._settings.account().price_usd,
                max_attempts=self._settings.max_attempts,
                released=released,
            ),
            rejections=rejections,
            flagged=self._flagged(prompt_set),
        )

    def _flagged(self, prompt_set: str) -> Mapping[str, int]:
        """Images by flag; none where the run did not come so far as to write them anew."""
        try:
            return flag_counts(self._layout.quality(prompt_set))
        except (OSError, pa.ArrowException):
            return {}
