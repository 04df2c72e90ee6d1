"""The `gallery` asset."""

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pyarrow as pa

from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.dataset.quality.outcomes import RequestOutcome, RequestOutcomes, outcomes_of
from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.planning import Standing, standing_of
from wan_pipeline.ledger.bought import bought_by
from wan_pipeline.ledger.reasons import LOST
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.prompts.expand import PlannedRequest
from wan_pipeline.prompts.plan_table import REQUESTS_FILE, iter_requests
from wan_pipeline.report.gallery import GallerySummary, write_gallery
from wan_pipeline.report.items import AbsentRequest, GalleryRow, Outcome
from wan_pipeline.report.pages import relative_link
from wan_pipeline.report.rows import gallery_rows
from wan_pipeline.report.run_history import RunHistory, read_history
from wan_pipeline.report.run_report import REPORT_FILE, write_run_report
from wan_pipeline.report.spending import FAILED

__all__ = ["gallery"]

SHOWN = {column.name for column in fields(GalleryRow)}
COLUMNS = pa.schema([column for column in METADATA if column.name in SHOWN])
LINEAGE = ui.same_columns(COLUMNS, source="image_metadata", origin=METADATA)


@dg.asset(
    deps=["image_metadata", "quality"],
    partitions_def=prompt_sets,
    group_name="dataset",
    kinds={"jinja", "html", "matplotlib"},
    owners=["team:wan-pipeline"],
    code_version="3",
    automation_condition=dg.AutomationCondition.eager(),
)
def gallery(context: dg.AssetExecutionContext, wan: WanResource) -> dg.MaterializeResult:
    """A static HTML page that shows every image of the prompt set.

    Opens from disk with no network and no server: thousands of images by size, seed, outcome,
    flag and your own columns, the pictures of one prompt side by side, groups of near duplicates,
    and what is not there and why. Beside it lies a report about the set's runs: cost, outcomes and
    latency over time. Free to build; follows `image_metadata` by itself once its automation is
    switched on.
    """
    prompt_set, layout = context.partition_key, wan.layout
    requests = layout.tables(prompt_set) / REQUESTS_FILE
    measured = (layout.quality(prompt_set), layout.quality_pairs(prompt_set))
    rows, not_shown = gallery_rows(
        layout.metadata(prompt_set),
        data_root=layout.root,
        thumbnails=layout.thumbnails,
        quality=measured[0],
        pairs=measured[1],
    )
    with wan.ledger() as ledger:
        standing, outcomes = standing_of(requests, ledger), outcomes_of(requests, ledger)
        with snapshot(ledger) as view:
            bought = bought_by(view, prompt_set)
    known = _Known(standing=standing, outcomes=outcomes, history=read_history(bought))
    summary = _summary(wan, prompt_set, rows, known)
    folder = layout.gallery(prompt_set)
    # The gallery's page is written last: what it links to is there.
    runs = write_run_report(
        known.history,
        prompt_set=prompt_set,
        profile=wan.profile,
        created=summary.created,
        out_dir=folder,
    )
    report = write_gallery(rows, out_dir=folder, data_root=layout.root, summary=summary)
    return dg.MaterializeResult(
        data_version=_data_version(
            (layout.metadata(prompt_set), *measured), known.incomplete, bought
        ),
        metadata={
            "dagster/row_count": report.images,
            "dagster/column_schema": ui.column_schema(COLUMNS, LINEAGE),
            "dagster/column_lineage": ui.column_lineage(LINEAGE),
            **ui.page_told(report.path, wan),
            "page_bytes": report.bytes,
            "runs": ui.page_link(runs.path, wan),
            "thumbnails_failed": len(not_shown),
            "cost_usd": ui.money(summary.cost_usd),
            "cost_of_images_usd": ui.money(summary.shown_usd),
            "images_missing": summary.missing,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """What the ledger tells of a set, beside its images.

    Attributes:
        standing: its requests by how far they are.
        outcomes: what became of each.
        history: what its runs bought.
    """

    standing: Standing
    outcomes: RequestOutcomes
    history: RunHistory

    @property
    def incomplete(self) -> list[RequestOutcome]:
        """Requests of which not every image is there."""
        return [row for row in self.outcomes.rows if not row.complete]


def _summary(
    wan: WanResource, prompt_set: str, rows: Sequence[GalleryRow], known: _Known
) -> GallerySummary:
    """What became of the set's requests, in the words of the page."""
    standing, incomplete, layout = known.standing, known.incomplete, wan.layout
    once = {row.request_id: row for row in incomplete}.values()
    return GallerySummary(
        prompt_set=prompt_set,
        profile=wan.profile,
        images=len(rows),
        requests=standing.requests,
        failed=Counter(each.reason for each in once if each.state in FAILED),
        waiting={"to buy": standing.to_buy, "in flight": standing.in_flight},
        unknown=standing.unknown,
        missing=known.outcomes.images_short,
        cost_usd=known.history.spent_usd,
        shown_usd=sum((row.cost_usd for row in rows), Decimal(0)),
        created=datetime.now(UTC),
        absent=_absent(incomplete, layout.tables(prompt_set) / REQUESTS_FILE),
        report=REPORT_FILE,
        quarantine=relative_link(layout.quarantine(prompt_set), layout.gallery(prompt_set)),
    )


def _data_version(
    tables: Sequence[Path], incomplete: Sequence[RequestOutcome], bought: pa.Table
) -> dg.DataVersion:
    """A hash of what the pages show, but for the time at which they were made."""
    digest = hashlib.sha256()
    for table in tables:
        digest.update(hashlib.sha256(table.read_bytes() if table.exists() else b"").digest())
    for row in incomplete:
        told = (row.prompt_id, row.request_id, row.state, row.told, *row.flags)
        digest.update(f"{told}\n".encode(errors="backslashreplace"))
    for batch in bought.to_batches():
        digest.update(repr(batch.to_pydict()).encode())
    return dg.DataVersion(digest.hexdigest())


def _absent(incomplete: Sequence[RequestOutcome], requests: Path) -> list[AbsentRequest]:
    """Requests that are not complete, with what was, or would have been, asked for."""
    wanted = {(row.prompt_id, row.request_id) for row in incomplete}
    planned = {
        key: row
        for row in iter_requests(requests)
        if (key := (row.prompt_id, row.request_id)) in wanted
    }
    return [_absent_request(row, planned[row.prompt_id, row.request_id]) for row in incomplete]


def _absent_request(row: RequestOutcome, planned: PlannedRequest) -> AbsentRequest:
    asked, outcome = planned.request, _outcome(row.state)
    return AbsentRequest(
        request_id=row.request_id,
        prompt_id=row.prompt_id,
        prompt=asked.prompt,
        state=row.state if outcome is Outcome.FAILED else outcome.replace("_", " "),
        reason=row.told,
        outcome=outcome,
        negative_prompt=asked.negative_prompt,
        size=asked.size,
        seed=asked.seed,
        seed_source=planned.seed_source,
        n=asked.n,
        not_here=asked.n - row.images_stored,
        replica=planned.replica,
        model=asked.model,
        prompt_columns=json.loads(planned.prompt_columns),
        flags=row.flags,
    )


def _outcome(state: str) -> Outcome:
    """Of a request that is not complete."""
    if state in FAILED:
        return Outcome.FAILED
    return _BY_STATE.get(state, Outcome.IN_FLIGHT)


_BY_STATE = {
    PurchaseState.PLANNED: Outcome.TO_BUY,
    PurchaseState.UNKNOWN: Outcome.UNKNOWN,
    LOST: Outcome.LOST,
    PurchaseState.STORED: Outcome.BROUGHT_FEWER,
}
