"""Prompts with trouble: moderated ones, and those that never produced an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.plan_table import request_columns

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from wan_pipeline.ledger.ledger import Ledger
    from wan_pipeline.ledger.records import Purchase

__all__ = ["Trouble", "Troubles", "troubles_of"]

_MODERATION = "moderation"
_REASONS = {
    PurchaseState.PLANNED: "not bought yet",
    PurchaseState.STORED: "an image was paid for and can no longer be fetched",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """A request of a prompt that has trouble.

    Attributes:
        prompt_id: the prompt's row.
        request_id: the request.
        prompt: positive prompt.
        state: of its newest purchase, in the ledger's words.
        reason: why, as the provider said it or as the ledger knows.
        waiting: whether a run may still bring an image by itself.
    """

    prompt_id: str
    request_id: str
    prompt: str
    state: str
    reason: str
    waiting: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Troubles:
    """What a prompt set's prompts met with.

    Attributes:
        prompts: distinct prompt ids of the set.
        requests: its distinct requests.
        moderated: requests whose newest purchase moderation rejected, sorted by prompt.
        without_image: requests of the prompts that have not one image, sorted by prompt.
    """

    prompts: int
    requests: int
    moderated: Sequence[Trouble]
    without_image: Sequence[Trouble]

    @property
    def prompts_without_image(self) -> int:
        """How many prompts have not one image."""
        return len({each.prompt_id for each in self.without_image})

    @property
    def given_up(self) -> int:
        """How many of those no run will bring by itself."""
        hopeful = {each.prompt_id for each in self.without_image if each.waiting}
        return len({each.prompt_id for each in self.without_image} - hopeful)


def troubles_of(requests_path: Path, ledger: Ledger) -> Troubles:
    """Look through the requests of a prompt set.

    Args:
        requests_path: the set's request table.
        ledger: what became of them.

    Raises:
        UnreadablePromptFileError: the request table is missing; materialize `plan` first.
        LedgerUnavailableError: the ledger cannot be read.
    """
    table = request_columns(requests_path, ["prompt_id", "request_id", "prompt"])
    rows = sorted(set(zip(*table.values(), strict=True)))
    ids = {request_id for _, request_id, _ in rows}
    purchases, shown = ledger.purchases(ids), shown_of(ledger, ids)
    with_image = {prompt_id for prompt_id, request_id, _ in rows if request_id in shown}
    moderated: list[Trouble] = []
    without_image: list[Trouble] = []
    for prompt_id, request_id, prompt in rows:
        purchase = purchases.get(request_id)
        is_moderated = purchase is not None and purchase.error_kind == _MODERATION
        if not is_moderated and prompt_id in with_image:
            continue
        trouble = _trouble(prompt_id, request_id, prompt, purchase)
        if is_moderated:
            moderated.append(trouble)
        if prompt_id not in with_image:
            without_image.append(trouble)
    return Troubles(
        prompts=len({prompt_id for prompt_id, _, _ in rows}),
        requests=len(ids),
        moderated=moderated,
        without_image=without_image,
    )


def _trouble(prompt_id: str, request_id: str, prompt: str, purchase: Purchase | None) -> Trouble:
    state = purchase.state if purchase else PurchaseState.PLANNED
    said = purchase.problem if purchase else ""
    return Trouble(
        prompt_id=prompt_id,
        request_id=request_id,
        prompt=prompt,
        state=state.value,
        reason=said or _REASONS.get(state, state.value),
        waiting=state.unfinished or state is PurchaseState.PLANNED,
    )
