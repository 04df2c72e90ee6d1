"""The frozen generation request and its identity.

A request is what is bought. Two requests with the same content are the same purchase, whatever
prompt set, row or machine they come from; that is why the request id is a hash of content only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields

from wan_pipeline.prompts.canonical import canonical_json

__all__ = ["REQUEST_COLUMNS", "GenerationRequest"]


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationRequest:
    """One create call with every default resolved.

    Attributes:
        model: model id, as the API names it.
        prompt: positive prompt, 1 to 2000 characters.
        negative_prompt: up to 500 characters; empty means none.
        size: ``width*height`` in pixels, ASCII asterisk.
        n: images asked for, 1 to 4; each is billed.
        seed: 0 to 2147483647, always known.
        prompt_extend: whether the provider rewrites the prompt.
        watermark: whether "AI Generated" is drawn bottom right.
    """

    model: str
    prompt: str
    negative_prompt: str
    size: str
    n: int
    seed: int
    prompt_extend: bool
    watermark: bool

    @property
    def width(self) -> int:
        """Pixels across."""
        return int(self.size.partition("*")[0])

    @property
    def height(self) -> int:
        """Pixels down."""
        return int(self.size.partition("*")[2])

    def canonical_json(self) -> bytes:
        """The request as RFC 8785 canonical JSON: same content, same bytes, on any machine."""
        return canonical_json(
            {
                "model": self.model,
                "prompt": self.prompt,
                "negative_prompt": self.negative_prompt,
                "size": self.size,
                "n": self.n,
                "seed": self.seed,
                "prompt_extend": self.prompt_extend,
                "watermark": self.watermark,
            }
        ).encode()

    @property
    def request_id(self) -> str:
        """SHA-256 of the canonical JSON, 64 lower-case hex digits."""
        return hashlib.sha256(self.canonical_json()).hexdigest()


REQUEST_COLUMNS = tuple(each.name for each in fields(GenerationRequest))
"""Columns that say a request in every table that has one."""
