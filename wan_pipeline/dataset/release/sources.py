"""What a release is made of: the tables of a prompt set, held against each other and the ledger.

A release says which prompt file it came from. So the file must still give the rows that were
planned, the metadata table must have exactly the images that the ledger shows for them, and every
image file must have the bytes of its name. What does not fit is named, and nothing is released.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.dataset.release.errors import StaleTableError
from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.prompts.canonical import canonical_json
from wan_pipeline.prompts.digests import Digests
from wan_pipeline.prompts.plan_table import iter_prompts, iter_requests
from wan_pipeline.prompts.table import build_prompt_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from wan_pipeline.dataset.release.facts import MissingRequest
    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.shown import Shown
    from wan_pipeline.prompts.expand import PlannedRequest

__all__ = ["PlannedSet", "SetSource", "image_rows", "read_planned"]

BATCH_ROWS = 8_192
CHUNK = 2_000  # requests whose purchases are in memory at once


@dataclass(frozen=True, slots=True, kw_only=True)
class SetSource:
    """One prompt set to release.

    Attributes:
        prompt_set: its name.
        prompt_file: the user's file.
        prompts: the validated rows.
        requests: the request table.
        metadata: the metadata table.
        quality: the quality table; it need not exist.
        truncate: whether the file's texts are cut to their limits, as when it was planned.
        rejections: rules broken by rows of the file.
        images_short: images that complete requests did not bring.
        missing: requests that are not complete.
    """

    prompt_set: str
    prompt_file: Path
    prompts: Path
    requests: Path
    metadata: Path
    quality: Path
    truncate: bool
    rejections: int
    images_short: int
    missing: Sequence[MissingRequest]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSet:
    """What a set's file and tables agree on.

    Attributes:
        file_sha256: of the prompt file.
        rows_version: hash of the validated rows; the data version of the asset `prompts`.
        prompts: validated rows.
        requests: distinct requests.
        attempts: which purchase brought the images of each request that has any.
        rows: digests of the rows that the metadata table must have, by `row_digest`.
    """

    file_sha256: str
    rows_version: str
    prompts: int
    requests: int
    attempts: dict[str, int]
    rows: set[bytes]


def read_planned(source: SetSource, ledger: LedgerReader, *, scratch: Path) -> PlannedSet:
    """Hold prompt file, prompt table, request table and ledger against each other.

    Args:
        source: the set.
        ledger: of the profile.
        scratch: a folder for what is needed meanwhile.

    Raises:
        StaleTableError: the prompt file gives other rows than were planned.
        PromptError: the file or a table cannot be read.
    """
    with source.prompt_file.open("rb") as file:
        file_sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        fresh = build_prompt_table(
            source.prompt_file,
            out_dir=Path(folder),
            set_name=source.prompt_set,
            truncate=source.truncate,
        )
    _check_planned(source, fresh.data_version)
    attempts, rows, ids = dict[str, int](), set[bytes](), set[str]()
    for chunk in _chunks(source.requests):
        shown = shown_of(ledger, {row.request_id for row in chunk})
        for row in chunk:
            ids.add(row.request_id)
            if found := shown.get(row.request_id):
                attempts[row.request_id] = found.purchase.attempt
                rows.update(_digests(row, found))
    return PlannedSet(
        file_sha256=file_sha256,
        rows_version=fresh.data_version,
        prompts=fresh.accepted,
        requests=len(ids),
        attempts=attempts,
        rows=rows,
    )


def _check_planned(source: SetSource, rows_version: str) -> None:
    """Whether the prompt file still gives the rows that were planned."""
    planned = Digests()
    for prompt in iter_prompts(source.prompts):
        planned.append(prompt.content_digest())
    if planned.combined() != rows_version:
        raise StaleTableError(
            f"{source.prompt_file} (or WAN_TRUNCATE_PROMPTS) was changed after it was planned, so"
            f" the images are not known to be those of its rows: `wan run {source.prompt_set}`"
            " builds it anew. Nothing was made"
        )


def _digests(row: PlannedRequest, found: Shown) -> Iterator[bytes]:
    """The rows that the metadata table must have of a request."""
    for image in found.images:
        yield row_digest(
            request_id=row.request_id,
            image_index=image.image_index,
            image_id=image.image_id,
            prompt_id=row.prompt_id,
            replica=row.replica,
            seed_source=row.seed_source,
            prompt_columns=row.prompt_columns,
        )


def row_digest(**values: Any) -> bytes:
    """16 bytes of what decides whether a metadata row belongs to a request and its images."""
    return hashlib.sha256(canonical_json(values).encode()).digest()[:16]


def image_rows(source: SetSource, planned: PlannedSet) -> Iterator[pa.RecordBatch]:
    """Stream the metadata table, which must have exactly the rows that were planned and stored.

    Raises:
        StaleTableError: it has not, at the latest after its last row.
    """
    left = set(planned.rows)
    names = ("request_id", "image_index", "image_id", "prompt_id")
    of_prompt = ("replica", "seed_source", "prompt_columns")
    try:
        with pq.ParquetFile(source.metadata) as table:
            if not table.schema_arrow.equals(METADATA):
                raise _stale(source, "has the columns of another version")
            for batch in table.iter_batches(batch_size=BATCH_ROWS):
                for row in batch.select([*names, *of_prompt]).to_pylist():
                    digest = row_digest(**row)
                    if digest not in left:
                        raise _stale(source, f"has a row too many, of prompt {row['prompt_id']!r}")
                    left.remove(digest)
                yield batch
    except (pa.ArrowException, OSError) as error:
        raise _stale(source, f"cannot be read ({str(error).splitlines()[0]})") from error
    if left:
        raise _stale(source, f"lacks {len(left)} rows of images that are stored")


def _stale(source: SetSource, what: str) -> StaleTableError:
    return StaleTableError(
        f"{source.metadata} {what}: `wan run {source.prompt_set}`, or the job `publish` for that"
        " set, writes it anew from the ledger. Nothing was made"
    )


def _chunks(requests: Path) -> Iterator[list[PlannedRequest]]:
    chunk: list[PlannedRequest] = []
    for row in iter_requests(requests):
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk
