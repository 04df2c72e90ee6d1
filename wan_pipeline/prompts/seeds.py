"""Seeds for prompts that come without one: a function of content, stable for ever."""

from __future__ import annotations

import hashlib

from wan_pipeline.prompts.canonical import canonical_json

__all__ = ["MAX_SEED", "derive_seed"]

#: Largest seed the API page allows.
MAX_SEED = 2147483647


def derive_seed(base_seed: int, prompt_id: str, replica: int) -> int:
    """Return the seed of one replica of a prompt, between 0 and `MAX_SEED`.

    The first eight bytes of the SHA-256 of the canonical JSON of the three arguments, modulo
    `MAX_SEED` + 1. Changing this function changes what every rerun buys, so it never changes.
    """
    digest = hashlib.sha256(canonical_json([base_seed, prompt_id, replica]).encode()).digest()
    return int.from_bytes(digest[:8], "big") % (MAX_SEED + 1)
