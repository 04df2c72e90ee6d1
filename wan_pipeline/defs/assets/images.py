"""The `images` asset, the only one that spends money."""

import hashlib
import statistics
from datetime import datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path

import dagster as dg
import pyarrow as pa
from pydantic import Field

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.progress import ProgressSink, in_log, stop_of
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.planning import standing_of, unfinished_of
from wan_pipeline.generation.progress import BatchReport
from wan_pipeline.layout import DataLayout
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, iter_requests, request_ids
from wan_pipeline.prompts.tables import REQUESTS
from wan_pipeline.report.contact_sheet import ContactItem, contact_sheet
from wan_pipeline.wan.errors import ConfigurationError

__all__ = ["COLUMNS", "NEVER_BUYS", "ImagesConfig", "images"]

SHEET_IMAGES = 16

# A run with this tag buys nothing, whatever its configuration says or leaves out.
NEVER_BUYS = {"wan/buys": "never"}

AS_PLANNED = frozenset(REQUESTS.names) - {"request_id", "n", "width", "height"}
NOT_OURS = {"prompt_set", "phash"}  # the set and later stages know them
COLUMNS = pa.schema(
    [column for column in METADATA if column.name not in AS_PLANNED | NOT_OURS],
)
LINEAGE = {
    "request_id": ("plan", "request_id"),
    "n": ("plan", "n"),
    **ui.from_words("the file", ["image_id", "width", "height", "path", "format", "bytes"]),
    **ui.from_words(
        "the provider's answer",
        [
            *("image_index", "actual_prompt", "task_id", "job_id", "completed_at", "url"),
            *("url_expires_at", "discount", "provider_metadata"),
        ],
    ),
    "cost_usd": "the provider's answer, or the price table where that tells none",
    **ui.from_words("the settings", ["profile", "dialect"]),
    **ui.from_words(
        "the ledger",
        [
            *("submitted_at", "latency_s", "cost_source", "bought_by_set", "run_id"),
            *("code_version", "created_at"),
        ],
    ),
}


class ImagesConfig(dg.Config):
    """How one run of `images` behaves."""

    create: bool = Field(
        default=True,
        description="Whether missing images are bought. When false, only what earlier runs paid"
        " for is polled and fetched.",
    )
    retry: list[str] = Field(
        default=[],
        description="What is bought again: `failed` (refused or failed for a reason that may pass),"
        " `lost` (paid, and its result can no longer arrive). Costs money again.",
    )
    retry_before: str | None = Field(
        default=None,
        description="Only attempts begun before this time (ISO 8601, with its offset from UTC) are"
        " bought again.",
    )
    budget_run_usd: str | None = Field(
        default=None, description="Cap of this run in USD, where it is lower than the settings'."
    )
    budget_day_usd: str | None = Field(default=None, description="The same, of this UTC day.")
    budget_set_usd: str | None = Field(default=None, description="The same, of this prompt set.")
    budget_total_usd: str | None = Field(default=None, description="The same, for ever.")

    def caps(self) -> Caps:
        """The run's own caps.

        Raises:
            ConfigurationError: one of them is no amount.
        """
        return Caps(
            run=_usd("budget_run_usd", self.budget_run_usd),
            day=_usd("budget_day_usd", self.budget_day_usd),
            prompt_set=_usd("budget_set_usd", self.budget_set_usd),
            total=_usd("budget_total_usd", self.budget_total_usd),
        )

    def retries(self) -> RetryRule:
        """What is bought again; the settings know how often.

        Raises:
            ConfigurationError: a word that means nothing, or a time that is none.
        """
        before = None if self.retry_before is None else _time("retry_before", self.retry_before)
        try:
            return RetryRule(what=frozenset(map(Retry, self.retry)), before=before)
        except ValueError as error:
            raise ConfigurationError(
                f"run config `retry`: {error}; use {', '.join(Retry)}. Nothing was sent"
            ) from error


@dg.asset(
    deps=["plan"],
    partitions_def=prompt_sets,
    group_name="dataset",
    kinds={"httpx", "png"},
    owners=["team:wan-pipeline"],
    code_version="1",
    pool="wan_api",
)
def images(
    context: dg.AssetExecutionContext,
    config: ImagesConfig,
    wan: WanResource,
    progress: dg.ResourceParam[ProgressSink],
) -> dg.MaterializeResult:
    """The images of one prompt set, each bought once and stored as received.

    Submits, polls and downloads concurrently in one run, at the speed that the account allows.
    What is stored already is not asked for; what an interrupted run left is taken up. Every image
    is verified (signature, checksums, end of file) and kept under the SHA-256 of its bytes.

    A request that fails is counted and reported here and does not stop the others. The run is
    stopped when no request can succeed: no credit, a bad key, a missing model, a full disk.
    """
    prompt_set, layout = context.partition_key, wan.layout
    requests = layout.tables(prompt_set) / REQUESTS_FILE
    sink = progress.also(in_log(context.log.info))
    if config.create and not NEVER_BUYS.items() <= context.run.tags.items():
        report = wan.buy(
            (row.request for row in iter_requests(requests)),
            prompt_set=prompt_set,
            run_id=context.run.run_id,
            progress=sink,
            total=len(set(request_ids(requests))),
            caps=config.caps(),
            retry=config.retries(),
        )
    else:
        report = wan.recover(prompt_set=prompt_set, run_id=context.run.run_id, progress=sink)
    progress.finished(report)
    if (stop := stop_of(report)) is not None:
        raise dg.Failure(str(stop), metadata=_counts(report), allow_retries=False) from stop
    with wan.ledger() as ledger:
        stored = standing_of(requests, ledger).images_stored
        return dg.MaterializeResult(
            data_version=_data_version(ledger, requests),
            metadata={
                **_counts(report),
                "dagster/row_count": stored,
                "dagster/column_schema": ui.column_schema(COLUMNS, LINEAGE),
                "dagster/column_lineage": ui.column_lineage(LINEAGE),
                "images_stored": stored,
                "not_complete": _not_complete(ledger, requests),
                "contact_sheet": _contact_sheet(ledger, requests, layout),
                "files": dg.MetadataValue.path(str(layout.root / "images")),
            },
        )


def _usd(name: str, given: str | None) -> Decimal | None:
    """An amount from the run's configuration, where it is text so that no float rounds it."""
    if given is None:
        return None
    try:
        amount = Decimal(given)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not (amount.is_finite() and amount >= 0):
        raise ConfigurationError(
            f"run config `{name}`: {given!r} is no amount of USD; write it like 12.50. Nothing was"
            " sent"
        )
    return amount


def _time(name: str, given: str) -> datetime:
    try:
        time = datetime.fromisoformat(given)
    except ValueError:
        time = datetime.min  # noqa: DTZ901  refused below, for having no offset
    if time.tzinfo is None:
        raise ConfigurationError(
            f"run config `{name}`: {given!r} is no time with an offset; write it like"
            " 2026-11-25T12:00:00+00:00. Nothing was sent"
        )
    return time


def _counts(report: BatchReport) -> dict[str, dg.MetadataValue | int | float]:
    tally = report.tally
    latency = statistics.median(tally.latencies_s) if tally.latencies_s else None
    return {
        "requests": tally.requests,
        "already_stored": tally.already_stored,
        "creates_sent": tally.created,
        "taken_up_from_earlier_runs": tally.taken_up,
        "requests_completed": tally.done,
        "requests_failed": tally.failed,
        "images_new": tally.images,
        "throttled": tally.throttled,
        "breaker_pauses": len(tally.pauses),
        "files_repaired": len(tally.repairs),
        "requests_left": report.left,
        "cost_of_left_usd": ui.money(report.left_cost_usd),
        "cost_usd": ui.money(tally.cost_usd),
        "median_latency_s": dg.MetadataValue.null()
        if latency is None
        else dg.MetadataValue.float(latency),
        "problems": dg.MetadataValue.json(dict(tally.problems)),
    }


def _data_version(ledger: Ledger, requests: Path) -> dg.DataVersion:
    """A hash of which image every request brought."""
    digest = hashlib.sha256()
    for request_id, shown in sorted(shown_of(ledger, request_ids(requests)).items()):
        for record in shown.images:
            digest.update(f"{request_id} {record.image_index} {record.image_id}\n".encode())
    return dg.DataVersion(digest.hexdigest())


def _not_complete(ledger: Ledger, requests: Path) -> dg.MetadataValue:
    rows = [
        {
            "prompt_id": request.prompt_id,
            "request_id": request.request_id,
            "state": request.state,
            "reason": request.reason,
            "next_step": request.next_step,
        }
        for request in unfinished_of(requests, ledger)
    ]
    return ui.table_rows(rows)


def _contact_sheet(ledger: Ledger, requests: Path, layout: DataLayout) -> dg.MetadataValue:
    """One image of each of the first prompts, small."""
    stored = shown_of(ledger, request_ids(requests))
    items: list[ContactItem] = []
    for planned in iter_requests(requests):
        if planned.request_id in stored:
            path = stored[planned.request_id].images[0].path
            assert path is not None, "a stored image has one"  # noqa: S101
            item = ContactItem(image_path=layout.root / path, caption=planned.request.prompt)
            items.append(item)
        if len(items) == SHEET_IMAGES:
            break
    return dg.MetadataValue.md(contact_sheet(items) if items else "no image is stored yet")
