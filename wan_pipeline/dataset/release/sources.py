"""What a release is made of: the tables of a prompt set, held against each other and the ledger.

A release says which prompt file it came from. So the file must still give the rows that were
planned, every cell of the metadata table must be what plan, ledger and pixels give for it today,
and every image file must have the bytes of its name. What does not fit is named, and nothing is
released.
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
from wan_pipeline.dataset.metadata_rows import cost_bearers, metadata_rows
from wan_pipeline.dataset.quality.phash import to_hex
from wan_pipeline.dataset.release.cells import different_cells, row_digests, shortened
from wan_pipeline.dataset.release.errors import StaleTableError
from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.prompts.digests import Digests
from wan_pipeline.prompts.errors import NoUsableRowsError
from wan_pipeline.prompts.plan_table import iter_prompts, iter_requests
from wan_pipeline.prompts.table import build_prompt_table

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from wan_pipeline.dataset.quality.measuring import Measured
    from wan_pipeline.dataset.release.facts import MissingRequest
    from wan_pipeline.ledger.reading import LedgerReader
    from wan_pipeline.ledger.shown import Shown
    from wan_pipeline.prompts.expand import PlannedRequest

__all__ = ["PlannedSet", "SetSource", "image_rows", "read_planned"]

BATCH_ROWS = 8_192
CHUNK = 1_000  # requests whose purchases are in memory at once
KEY = ("request_id", "image_index", "prompt_id", "replica")
# Columns that plan and ledger tell; the hash is told by the pixels.
HELD = tuple(name for name in METADATA.names if name != "phash")


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
        next_steps: what brings each of these further, by request id; true today, so no part of a
            manifest.
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
    next_steps: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSet:
    """What a set's file and tables agree on.

    Attributes:
        file_sha256: of the prompt file.
        rows_version: hash of the validated rows; the data version of the asset `prompts`.
        prompts: validated rows.
        requests: distinct requests.
        attempts: which purchase brought the images of each request that has any.
        rows: digests of the rows that the metadata table must have, by `row_digests` of `HELD`.
        files: path by image id, relative to ``data/<profile>``.
    """

    file_sha256: str
    rows_version: str
    prompts: int
    requests: int
    attempts: dict[str, int]
    rows: set[bytes]
    files: dict[str, str]


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
        try:
            fresh = build_prompt_table(
                source.prompt_file,
                out_dir=Path(folder),
                set_name=source.prompt_set,
                truncate=source.truncate,
            )
        except NoUsableRowsError as error:  # its words name a table that goes with the folder
            raise StaleTableError(
                f"{source.prompt_file} (or WAN_TRUNCATE_PROMPTS) was changed after it was planned,"
                f" and none of its rows can be used: `wan plan {source.prompt_set}` tells why, and"
                " buys nothing. Nothing was made"
            ) from error
    _check_planned(source, fresh.data_version)
    attempts, rows, ids, files = dict[str, int](), set[bytes](), set[str](), dict[str, str]()
    for planned in _expected(source, ledger):
        ids.update(planned.request_ids)
        for request_id, found in planned.shown.items():
            attempts[request_id] = found.purchase.attempt
            files.update(
                (each.image_id, each.path) for each in found.images if each.image_id and each.path
            )
        rows.update(row_digests(planned.rows, HELD))
    return PlannedSet(
        file_sha256=file_sha256,
        rows_version=fresh.data_version,
        prompts=fresh.accepted,
        requests=len(ids),
        attempts=attempts,
        rows=rows,
        files=files,
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


def image_rows(
    source: SetSource, planned: PlannedSet, *, ledger: LedgerReader, measured: Measured
) -> Iterator[pa.RecordBatch]:
    """Stream the metadata table, which must have exactly the rows that were planned and stored.

    Args:
        source: the set.
        planned: by `read_planned`.
        ledger: of the profile; asked again for what a wrong row should be.
        measured: what is known of the set's images.

    Raises:
        StaleTableError: another row or cell, at the latest after its last row.
    """
    left = set(planned.rows)
    try:
        with pq.ParquetFile(source.metadata) as table:
            if not table.schema_arrow.equals(METADATA):
                raise _stale(source, " has the columns of another version")
            for batch in table.iter_batches(batch_size=BATCH_ROWS):
                for position, digest in enumerate(row_digests(batch, HELD)):
                    if digest not in left:
                        (row,) = batch.slice(position, 1).to_pylist()
                        raise _stale(source, _difference(source, ledger, row))
                    left.remove(digest)
                _check_phashes(source, batch, measured)
                yield batch
    except (pa.ArrowException, OSError) as error:
        raise _stale(source, f" cannot be read ({str(error).splitlines()[0]})") from error
    if left:
        raise _stale(source, f" lacks {len(left)} rows of images that are stored")


def _difference(source: SetSource, ledger: LedgerReader, row: dict[str, Any]) -> str:
    """How a row of the metadata table that nothing gives differs from the one that it should be.

    That is the one that differs in a single cell, or else the one of the same image and prompt.
    """
    same: dict[str, Any] | None = None
    for planned in _expected(source, ledger):
        for other in planned.rows.to_pylist():
            wrong = different_cells(row, other, HELD)
            if not wrong:
                return f", {_named(row)}: the row is there twice"
            if len(wrong) == 1:
                return _told(row, other, wrong)
            if not different_cells(row, other, KEY):
                same = other
    if same is None:
        return f" has a row too many: {_named(row)}, of which the ledger shows no such image"
    return _told(row, same, different_cells(row, same, HELD))


def _told(row: dict[str, Any], expected: dict[str, Any], wrong: Sequence[str]) -> str:
    column = wrong[0]
    more = f" ({len(wrong) - 1} more columns differ)" if len(wrong) > 1 else ""
    return (
        f", {_named(row)}: {column} is {shortened(row[column])}, but plan and ledger say"
        f" {shortened(expected[column])}{more}"
    )


def _named(row: dict[str, Any]) -> str:
    return (
        f"request {row['request_id']}, image {row['image_index']}, prompt"
        f" {shortened(row['prompt_id'])}"
    )


def _check_phashes(source: SetSource, batch: Any, measured: Measured) -> None:
    """Whether the perceptual hashes are those of the pixels."""
    ids = batch.column("image_id").to_pylist()
    for position, found in enumerate(batch.column("phash").to_pylist()):
        known = measured.known.get(ids[position])
        expected = None if known is None else to_hex(known.phash)
        if found == expected:
            continue
        (row,) = batch.slice(position, 1).to_pylist()
        if (problem := measured.problems.get(ids[position])) is not None:
            why = f"{row['path']} {problem}"
        else:
            why = f"its pixels give {shortened(expected)}"
        raise _stale(source, f", {_named(row)}: phash is {shortened(found)}, but {why}")


def _stale(source: SetSource, what: str) -> StaleTableError:
    return StaleTableError(
        f"{source.metadata}{what}. The table was changed, or is older than what it tells of or than"
        f" this version: `wan run {source.prompt_set}` (free when nothing is missing), or the job"
        " `publish` for that set, writes it anew from the ledger. Nothing was made"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Expected:
    """Some planned requests, what the ledger shows for them, and their rows of metadata."""

    request_ids: Sequence[str]
    shown: dict[str, Shown]
    rows: Any


def _expected(source: SetSource, ledger: LedgerReader) -> Iterator[_Expected]:
    """The rows that the metadata table must have, in the order of the request table."""
    bearers = cost_bearers(source.requests)
    for chunk in _chunks(source.requests):
        for each in chunk:
            _check_request(source, each)
        shown = shown_of(ledger, {each.request_id for each in chunk})
        rows = [
            row
            for each in chunk
            if each.request_id in shown
            for row in metadata_rows(
                each, shown[each.request_id], bearers, prompt_set=source.prompt_set
            )
        ]
        yield _Expected(
            request_ids=[each.request_id for each in chunk],
            shown=shown,
            rows=pa.RecordBatch.from_pylist(rows, schema=METADATA),
        )


def _check_request(source: SetSource, planned: PlannedRequest) -> None:
    """Whether a row of the request table is the request that its id stands for."""
    if (gives := planned.request.request_id) != planned.request_id:
        raise StaleTableError(
            f"{source.requests}, prompt {shortened(planned.prompt_id)}: request_id is"
            f" {planned.request_id}, but the row's columns give {gives}. The table was changed, or"
            f" is of another version: `wan run {source.prompt_set}` plans it anew. Nothing was made"
        )


def _chunks(requests: Path) -> Iterator[list[PlannedRequest]]:
    chunk: list[PlannedRequest] = []
    for row in iter_requests(requests):
        chunk.append(row)
        if len(chunk) == CHUNK:
            yield chunk
            chunk = []
    yield chunk
