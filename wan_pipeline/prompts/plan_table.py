"""``prompts.parquet`` to ``requests.parquet``, and reading both back, streamed.

The request table has one row per request of a prompt. Two prompts that ask for the same have a row
each and share a request id: one purchase, two rows of metadata.
"""

from __future__ import annotations

import hashlib
from array import array
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wan_pipeline.prompts.canonical import canonical_json
from wan_pipeline.prompts.digests import Digests
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.expand import PlannedRequest, expand
from wan_pipeline.prompts.prompt import Prompt
from wan_pipeline.prompts.request import REQUEST_COLUMNS, GenerationRequest
from wan_pipeline.prompts.tables import PROMPTS, REQUESTS, AtomicParquetWriter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = [
    "REQUESTS_FILE",
    "RequestTableSummary",
    "iter_prompts",
    "iter_requests",
    "request_columns",
    "request_ids",
    "write_request_table",
]

REQUESTS_FILE = "requests.parquet"
_BATCH_ROWS = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestTableSummary:
    """The size of a plan, before anything is known about what is bought already.

    Attributes:
        rows: rows of the table, one per request of a prompt.
        distinct_requests: purchases: distinct request ids.
        images: images of the distinct requests together; each is billed.
        shared: rows whose request another row asks for too, ``rows - distinct_requests``.
        seed_with_prompt_extend: rows with a given seed whose prompt the provider rewrites, so
            that the seed does not reproduce them.
        data_version: hash of the rows that does not depend on their order.
    """

    rows: int
    distinct_requests: int
    images: int
    shared: int
    seed_with_prompt_extend: int
    data_version: str


@dataclass(slots=True)
class _Tally:
    ids: Digests = field(default_factory=Digests)
    contents: Digests = field(default_factory=Digests)
    images: array[int] = field(default_factory=lambda: array("B"))
    seed_with_prompt_extend: int = 0

    def add(self, planned: PlannedRequest) -> None:
        row = [
            planned.request_id,
            planned.prompt_id,
            planned.replica,
            planned.seed_source,
            planned.prompt_columns,
        ]
        self.ids.append(bytes.fromhex(planned.request_id))
        self.contents.append(hashlib.sha256(canonical_json(row).encode()).digest())
        self.images.append(planned.request.n)
        if planned.seed_source == "given" and planned.request.prompt_extend:
            self.seed_with_prompt_extend += 1

    def summary(self) -> RequestTableSummary:
        first = self.ids.first_of_each()
        distinct = int(first.sum())
        images = np.frombuffer(self.images.tobytes(), np.uint8)
        return RequestTableSummary(
            rows=len(self.ids),
            distinct_requests=distinct,
            images=int(images[first].sum(dtype=np.int64)),
            shared=len(self.ids) - distinct,
            seed_with_prompt_extend=self.seed_with_prompt_extend,
            data_version=self.contents.combined(),
        )


def write_request_table(
    prompts_parquet: Path, *, out: Path, model: str, base_seed: int
) -> RequestTableSummary:
    """Expand every prompt of a prompt table and write the requests to `out`, atomically.

    Args:
        prompts_parquet: a table written by `wan_pipeline.prompts.table.build_prompt_table`.
        out: the file to write or replace.
        model: model id, as the API names it.
        base_seed: first ingredient of every derived seed.

    Raises:
        UnreadablePromptFileError: the prompt table is missing or damaged.
    """
    tally = _Tally()
    with AtomicParquetWriter(out, REQUESTS) as writer:
        planned = (
            request
            for prompt in iter_prompts(prompts_parquet)
            for request in expand(prompt, model=model, base_seed=base_seed)
        )
        while batch := list(islice(planned, _BATCH_ROWS)):
            for request in batch:
                tally.add(request)
            writer.write_columns(_columns(batch))
        writer.publish()
    return tally.summary()


def iter_prompts(path: Path, *, batch_size: int = _BATCH_ROWS) -> Iterator[Prompt]:
    """Yield the prompts of a prompt table in its order, reading `batch_size` rows at a time.

    Raises:
        UnreadablePromptFileError: the table is missing or damaged.
    """
    for batch in _batches(path, PROMPTS.names, batch_size):
        for row in batch.to_pylist():
            yield Prompt(**row)


def iter_requests(path: Path, *, batch_size: int = _BATCH_ROWS) -> Iterator[PlannedRequest]:
    """Yield the rows of a request table in its order, reading `batch_size` rows at a time.

    Raises:
        UnreadablePromptFileError: the table is missing or damaged.
    """
    for batch in _batches(path, REQUESTS.names, batch_size):
        for row in batch.to_pylist():
            yield PlannedRequest(
                request=GenerationRequest(**{name: row[name] for name in REQUEST_COLUMNS}),
                request_id=row["request_id"],
                prompt_id=row["prompt_id"],
                replica=row["replica"],
                seed_source=row["seed_source"],
                row=row["row"],
                prompt_columns=row["prompt_columns"],
            )


def request_ids(path: Path) -> list[str]:
    """Return the request id of every row of a request table, in its order; one may recur.

    Raises:
        UnreadablePromptFileError: the table is missing or damaged.
    """
    batches = _batches(path, ["request_id"], _BATCH_ROWS)
    return [request_id for batch in batches for request_id in batch.column(0).to_pylist()]


def request_columns(path: Path, columns: list[str]) -> dict[str, list[Any]]:
    """Return some columns of a request table, whole.

    Raises:
        UnreadablePromptFileError: the table is missing or damaged.
    """
    read: dict[str, list[Any]] = {column: [] for column in columns}
    for batch in _batches(path, columns, _BATCH_ROWS):
        for column in columns:
            read[column].extend(batch.column(column).to_pylist())
    return read


def _batches(path: Path, columns: list[str], batch_size: int) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path) as table:
            yield from table.iter_batches(batch_size=batch_size, columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise UnreadablePromptFileError(
            path,
            f"cannot be read as a table ({str(error).splitlines()[0]})",
            "Plan the prompt set again",
        ) from error


def _columns(planned: list[PlannedRequest]) -> dict[str, list[Any]]:
    own = ("request_id", "prompt_id", "replica", "row", "seed_source", "prompt_columns")
    of_request = (*REQUEST_COLUMNS, "width", "height")
    return {
        **{name: [getattr(row, name) for row in planned] for name in own},
        **{name: [getattr(row.request, name) for row in planned] for name in of_request},
    }
