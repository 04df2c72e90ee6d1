"""What a trace tells: values only, in the order in which they came about."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.ledger.lookup import Event
    from wan_pipeline.ledger.records import ImageRecord, Purchase

__all__ = ["ExportPlace", "FoundBy", "PromptRow", "ReleasePlace", "RequestStory", "Trace"]


class FoundBy(StrEnum):
    """What led to the answer.

    Attributes:
        STORED_BYTES: the file has the bytes of an image as received.
        EXPORTED_BYTES: the file has the bytes of an image as shipped.
        METADATA: the file's own metadata names it; nothing but that says so.
        ID: the id of an image, prompt, request or task, or its beginning.
        EXPORTED_SHA256: the hash of an image as shipped, or its beginning.
        EXPORTED_NAME: the name of an exported file.
        PROMPT_TEXT: a prompt's whole text.
    """

    STORED_BYTES = "stored_bytes"
    EXPORTED_BYTES = "exported_bytes"
    METADATA = "metadata"
    ID = "id"
    EXPORTED_SHA256 = "exported_sha256"
    EXPORTED_NAME = "exported_name"
    PROMPT_TEXT = "prompt_text"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptRow:
    """A row that asks for the request.

    Attributes:
        prompt_set: whose row.
        prompt_id: its id.
        file: the prompt file; None when it is not there any more.
        row: number of the data row in the file, from 1; None when only a release knows the row.
        replica: which of the prompt's replicas, from 0.
        seed_source: `given` or `derived`.
        columns: the row's other columns, as JSON.
    """

    prompt_set: str
    prompt_id: str
    file: str | None
    row: int | None
    replica: int
    seed_source: str
    columns: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleasePlace:
    """An image in a release: which one, for which prompt, on which side."""

    release: str
    image_id: str
    image_index: int
    prompt_set: str
    prompt_id: str
    split: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ExportPlace:
    """An image in an export.

    Attributes:
        export: folder of the export.
        path: the file in it that holds the image.
        member: its name within an archive, where it is in one.
        row: its row within a table, where it is in one.
        image_id: the image.
        file_sha256: of the bytes as shipped.
    """

    export: str
    path: str
    member: str | None
    row: int | None
    image_id: str
    file_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestStory:
    """A request from its prompt to its images.

    Attributes:
        request_id: its id.
        request: as it was sent, or would be.
        prompts: the rows that ask for it.
        purchases: every attempt at it; none when it was never bought.
        events: everything that happened to it, in order.
        images: of every attempt.
        releases: where these images are released.
        exports: where they are exported.
        reason: why not every image is there; empty when all are.
        next_step: what brings it further; empty when nothing does.
    """

    request_id: str
    request: dict[str, Any]
    prompts: Sequence[PromptRow]
    purchases: Sequence[Purchase]
    events: Sequence[Event]
    images: Sequence[ImageRecord]
    releases: Sequence[ReleasePlace]
    exports: Sequence[ExportPlace]
    reason: str
    next_step: str

    @property
    def cost_usd(self) -> Decimal:
        """Paid for it, by all attempts together."""
        return sum((each.cost_usd or Decimal(0) for each in self.purchases), Decimal(0))

    @property
    def reserved_usd(self) -> Decimal:
        """Set aside for it, by all attempts together."""
        return sum((each.reserved_usd for each in self.purchases), Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What was asked for, and what belongs to it.

    Attributes:
        asked: as it was given.
        kind: `image`, `prompt`, `request` or `task`.
        what: what it is, in words.
        found_by: what led there.
        image_ids: the images that were asked for; empty when it was no image.
        requests: their stories.
        problems: releases and exports that could not be looked into, and what in a file's own
            metadata does not fit.
    """

    asked: str
    kind: str
    what: str
    found_by: FoundBy
    image_ids: Sequence[str]
    requests: Sequence[RequestStory]
    problems: Sequence[str]

    @property
    def cost_usd(self) -> Decimal:
        """Paid for all of it."""
        return sum((each.cost_usd for each in self.requests), Decimal(0))

    @property
    def reserved_usd(self) -> Decimal:
        """Set aside for all of it."""
        return sum((each.reserved_usd for each in self.requests), Decimal(0))
