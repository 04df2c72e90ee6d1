"""The `content` hash of a release: equal on any machine for the same images and prompts.

Canonical form: of every row the values of `CONTENT_COLUMNS`, in that order, as a JSON array
(`prompts.canonical`: compact, UTF-8, RFC 8785 for these values); of each such text its SHA-256, 32
bytes; the digests sorted, behind one another, after the line ``wan_pipeline.release.content/1``.
The SHA-256 of that is the hash. The order of the rows does not matter, how often one occurs does.

Outside it, since another machine, day or account has others for the same images: times, URLs,
task, run and ledger ids, cost, profile, file paths, `phash`, quality flags and code version.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

from wan_pipeline.prompts.canonical import canonical_json

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CONTENT_COLUMNS", "ContentHash"]

HEADER = b"wan_pipeline.release.content/1\n"
CONTENT_COLUMNS = (
    "image_id",
    "request_id",
    "image_index",
    "model",
    "prompt",
    "negative_prompt",
    "size",
    "width",
    "height",
    "n",
    "seed",
    "prompt_extend",
    "watermark",
    "actual_prompt",
    "prompt_set",
    "prompt_id",
    "seed_source",
    "replica",
    "prompt_columns",
    "split",
)


class ContentHash:
    """Rows go in, in any order; 32 bytes of memory each."""

    def __init__(self) -> None:
        self._digests: list[bytes] = []

    def add(self, rows: Iterable[dict[str, Any]]) -> None:
        """Count rows in, given as objects that hold at least `CONTENT_COLUMNS`."""
        for row in rows:
            text = canonical_json([row[name] for name in CONTENT_COLUMNS])
            self._digests.append(hashlib.sha256(text.encode()).digest())

    def hexdigest(self) -> str:
        """The hash of all rows so far, 64 hex digits."""
        digest = hashlib.sha256(HEADER)
        for each in sorted(self._digests):
            digest.update(each)
        return digest.hexdigest()
