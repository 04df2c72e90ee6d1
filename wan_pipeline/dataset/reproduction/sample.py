"""Which requests of a release are bought once more, and what they brought at the time.

The sample is the same each time, so that reproductions of one release can be compared with each
other: requests whose prompt the provider does not rewrite come first, and among equals the smaller
request id. A request id is a SHA-256, so that this is a random choice that nobody makes, and a
larger sample contains a smaller one.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from wan_pipeline.dataset.reproduction.errors import ReproductionUsageError
from wan_pipeline.prompts.request import REQUEST_COLUMNS, GenerationRequest

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from wan_pipeline.dataset.release.reader import Release

__all__ = ["EVERYTHING", "ReleasedImage", "ReleasedRequest", "Sample", "choose", "read_size"]

EVERYTHING = "all"
ZERO = Decimal(0)
_OF_IMAGE = ("image_index", "image_id", "path", "width", "height", "bytes", "cost_usd")
_OF_BOTH = ("request_id", "prompt_id", "actual_prompt", "task_id", "created_at")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedImage:
    """One image as the release has it; columns as in its table."""

    image_index: int
    image_id: str
    path: str
    width: int
    height: int
    bytes: int
    cost_usd: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasedRequest:
    """One request of a release with its images.

    Attributes:
        request: as it was sent.
        prompt_id: one of the prompts that ask for it.
        actual_prompt: the rewritten prompt, where the provider told it.
        task_id: the task that brought the images.
        created_at: when it was bought.
        images: those that the release has, by index.
    """

    request: GenerationRequest
    prompt_id: str
    actual_prompt: str | None
    task_id: str
    created_at: datetime
    images: tuple[ReleasedImage, ...]

    @property
    def cost_usd(self) -> Decimal:
        """What its images cost."""
        return sum((each.cost_usd for each in self.images), ZERO)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What is reproduced.

    Attributes:
        requests: in the order of choice.
        of: how many requests the release has.
    """

    requests: tuple[ReleasedRequest, ...]
    of: int

    @property
    def rewritten(self) -> int:
        """Requests whose prompt the provider rewrites, which it does otherwise each time."""
        return sum(each.request.prompt_extend for each in self.requests)


def read_size(text: str) -> int | None:
    """The size of a sample as a person writes it; None for everything.

    Raises:
        ReproductionUsageError: it is no number above 0, nor `all`.
    """
    if text == EVERYTHING:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 10 and int(text) > 0):
        raise ReproductionUsageError(
            f"{text[:40]!r} is no size of a sample: write how many requests, such as 20, or"
            f" {EVERYTHING}. Nothing was sent"
        )
    return int(text)


def choose(release: Release, size: int | None) -> Sample:
    """Read the first requests of a release in the order of choice; all of them when `size` is None.

    Raises:
        DamagedReleaseError: its table cannot be read.
        ReproductionUsageError: a row is no request that this version would send.
    """
    ranks: set[tuple[bool, str]] = set()
    for batch in release.rows(["prompt_extend", "request_id"]):
        columns = (batch.column(name).to_pylist() for name in ("prompt_extend", "request_id"))
        ranks.update(zip(*columns, strict=True))
    chosen = heapq.nsmallest(len(ranks) if size is None else size, ranks)
    order = [request_id for _, request_id in chosen]
    found = _read(release, frozenset(order))
    return Sample(requests=tuple(found[request_id] for request_id in order), of=len(ranks))


def _read(release: Release, wanted: Collection[str]) -> dict[str, ReleasedRequest]:
    """The requests that are wanted, by their ids."""
    heads: dict[str, dict[str, Any]] = {}
    images: dict[str, dict[int, ReleasedImage]] = {}
    for batch in release.rows([*_OF_BOTH, *REQUEST_COLUMNS, *_OF_IMAGE]):
        for row in batch.to_pylist():
            request_id = row["request_id"]
            if request_id not in wanted:
                continue
            heads.setdefault(request_id, row)
            image = ReleasedImage(**{name: row[name] for name in _OF_IMAGE})
            # Prompts that share a purchase have a row each, and only one bears the cost.
            known = images.setdefault(request_id, {}).setdefault(image.image_index, image)
            if known.cost_usd < image.cost_usd:
                images[request_id][image.image_index] = image
    return {
        request_id: _request(release, request_id, head, images[request_id])
        for request_id, head in heads.items()
    }


def _request(
    release: Release, request_id: str, head: dict[str, Any], images: dict[int, ReleasedImage]
) -> ReleasedRequest:
    request = GenerationRequest(**{name: head[name] for name in REQUEST_COLUMNS})
    if request.request_id != request_id:
        raise ReproductionUsageError(
            f"{release.reference}: request {request_id} cannot be sent again: this version makes"
            f" {request.request_id} of its row. Use the version that made the release"
            f" ({release.manifest.code_version}). Nothing was sent"
        )
    return ReleasedRequest(
        request=request,
        prompt_id=head["prompt_id"],
        actual_prompt=head["actual_prompt"],
        task_id=head["task_id"],
        created_at=head["created_at"],
        images=tuple(image for _, image in sorted(images.items())),
    )
