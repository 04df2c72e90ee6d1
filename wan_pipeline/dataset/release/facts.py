"""The parts of a manifest: frozen facts, none of them optional or free."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

__all__ = [
    "Cost",
    "Count",
    "Counts",
    "Hashes",
    "LedgerRange",
    "MissingRequest",
    "Part",
    "Price",
    "PromptSetFacts",
    "SplitCounts",
    "TableFile",
]

Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=2**53)]
Usd = Annotated[Decimal, Field(ge=0, le=10**12)]


class Part(BaseModel):
    """A part of the manifest; nothing in it is optional or free."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Hashes(Part):
    """`content`: see `content.py`; `manifest`: see `manifest.py`."""

    content: Sha256
    manifest: Sha256


class MissingRequest(Part):
    """A request of a prompt set that has no images in the release, or not all, and why."""

    request_id: Sha256
    prompt_id: str
    state: str
    reason: str


class PromptSetFacts(Part):
    """One prompt set as it was released.

    `rows_version` is the hash of the validated rows, whatever their order; `file_sha256` that of
    the prompt file's bytes. `quality_checked` counts the images that the quality checks had seen,
    `images_short` those that complete requests did not bring.
    """

    name: str
    file: str
    file_sha256: Sha256
    rows_version: Sha256
    prompts: Count
    requests: Count
    images: Count
    quality_checked: Count
    rejections: Count
    images_short: Count
    missing: tuple[MissingRequest, ...]


class SplitCounts(Part):
    """What one side of the split holds."""

    images: Count
    prompts: Count


class Counts(Part):
    """Rows and files.

    `files_in_several_splits` counts images that prompts on different sides share.
    """

    images: Count
    files: Count
    file_bytes: Count
    requests: Count
    prompts: Count
    by_split: dict[str, SplitCounts]
    files_in_several_splits: Count
    flagged: Count


class Cost(Part):
    """What the images cost: each purchase behind them once, whoever shares it."""

    total_usd: Usd
    purchases: Count
    by_source: dict[str, Usd]


class Price(Part):
    """The price per image in force when the release was made, and where it comes from."""

    usd_per_image: Usd | None
    source: str
    table_version: str


class LedgerRange(Part):
    """Event numbers: first and last behind the images, and the ledger's newest at that moment."""

    first_event: Count
    last_event: Count
    newest_event: Count


class TableFile(Part):
    """One Parquet file of the release."""

    file: str
    bytes: Count
    sha256: Sha256
    rows: Count
    columns: list[dict[str, Any]]
