"""Prompts to requests: every default resolved, every seed known. Pure; buys and reads nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from wan_pipeline.prompts.request import GenerationRequest
from wan_pipeline.prompts.seeds import MAX_SEED, derive_seed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from wan_pipeline.prompts.prompt import Prompt

__all__ = ["PlannedRequest", "SeedSource", "expand"]

SeedSource = Literal["given", "derived"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedRequest:
    """A request together with the prompt it comes from.

    Attributes:
        request: what would be bought.
        request_id: identity of `request`; equal ones are one purchase.
        prompt_id: the prompt.
        replica: which of the prompt's requests, from 0.
        seed_source: whether the seed comes from the prompt file or from its content.
        row: number of the prompt's data row in its file, from 1.
        prompt_columns: the prompt's other columns as canonical JSON.
    """

    request: GenerationRequest
    request_id: str
    prompt_id: str
    replica: int
    seed_source: SeedSource
    row: int
    prompt_columns: str


def expand(prompt: Prompt, *, model: str, base_seed: int) -> Iterator[PlannedRequest]:
    """Yield the requests of one prompt, one for each replica.

    Replica ``r`` of a prompt with a seed uses ``seed + r``, beginning again at 0 after the largest
    seed; without one its seed is derived from (`base_seed`, prompt id, ``r``).
    """
    for replica in range(prompt.replicas):
        if prompt.seed is None:
            seed = derive_seed(base_seed, prompt.prompt_id, replica)
        else:
            seed = (prompt.seed + replica) % (MAX_SEED + 1)
        request = GenerationRequest(
            model=model,
            prompt=prompt.prompt,
            negative_prompt=prompt.negative_prompt,
            size=prompt.size,
            n=prompt.n,
            seed=seed,
            prompt_extend=prompt.prompt_extend,
            watermark=prompt.watermark,
        )
        yield PlannedRequest(
            request=request,
            request_id=request.request_id,
            prompt_id=prompt.prompt_id,
            replica=replica,
            seed_source="derived" if prompt.seed is None else "given",
            row=prompt.row,
            prompt_columns=prompt.prompt_columns,
        )
