"""The `drift` asset: buys a sample of a release once more and compares."""

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import dagster as dg
from pydantic import Field

from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.release.reader import Release, open_release
from wan_pipeline.dataset.reproduction.compare import DriftRule, compare
from wan_pipeline.dataset.reproduction.naming import Series, checked_label, label_of
from wan_pipeline.dataset.reproduction.sample import Sample, choose, read_size
from wan_pipeline.dataset.reproduction.table import DRIFT, DRIFT_FILE, write_drift_table
from wan_pipeline.dataset.reproduction.verdict import (
    REPORT_FILE,
    DriftReport,
    judge,
    write_report,
)
from wan_pipeline.dataset.reproduction.whole import require_whole
from wan_pipeline.defs import ui
from wan_pipeline.defs.assets.images import NEVER_BUYS, ImagesConfig
from wan_pipeline.defs.named import is_named
from wan_pipeline.defs.progress import ProgressSink, in_log
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.progress import BatchReport
from wan_pipeline.report.drift import PAGE_FILE, write_drift_page
from wan_pipeline.told import rest_told
from wan_pipeline.wan.errors import AccountStopError

__all__ = ["FOLDER", "JOB", "LINEAGE", "DriftConfig", "drift"]

JOB = "reproduce"
FOLDER = "folder"
ZERO = Decimal(0)
_FROM_RELEASE = ("request_id", "image_index", "prompt_id", "prompt", "seed", "size")
_OLD = ("image_id", "path", "width", "height", "bytes", "cost_usd", "task_id", "created_at")
_NEW = ("cost_usd", "task_id", "created_at")
LINEAGE: ui.Origins = {
    **{name: ("release", name) for name in _FROM_RELEASE},
    **{f"old_{name}": ("release", name) for name in _OLD},
    "rewritten": ("release", "prompt_extend"),
    "old_phash": ("release", "path"),  # computed anew, so that both sides are measured alike
    "outcome": [("release", name) for name in ("image_id", "width", "height", "path")],
    "counted": [("release", name) for name in ("path", "prompt_extend")],
    "drifted": [("release", name) for name in ("image_id", "width", "height", "path")],
    "distance": ("release", "path"),
    **ui.from_words("the ledger", ["state", "attempt"]),
    "problem": "the provider's answer, or what became of a file",
    **ui.from_words(
        "the file brought now",
        [f"new_{name}" for name in ("image_id", "path", "phash", "width", "height", "bytes")],
    ),
    **ui.from_words("the reproduction's purchase", [f"new_{name}" for name in _NEW]),
}


class DriftConfig(dg.Config):
    """What is bought once more."""

    release: str = Field(
        default="",
        description="The release, such as faces@v2, or faces for its newest version. Nothing is"
        " bought without one, so that materializing the whole graph reproduces nothing.",
    )
    sample: str = Field(
        default="20",
        description="How many of its requests, or `all`. Requests whose prompt is not rewritten"
        " come first, then the smaller request id, so that the choice is the same each time.",
    )
    label: str = Field(
        default="",
        description="Which reproduction; the UTC date when empty. The same label goes on with it"
        " and buys nothing twice, another one buys anew.",
    )
    create: bool = Field(
        default=True,
        description="Whether what is missing is bought. When false, only what earlier runs paid for"
        " is fetched and compared.",
    )
    count_rewritten: bool = Field(
        default=False,
        description="Whether images of prompts that the provider rewrites count for the verdict.",
    )
    budget_run_usd: str | None = Field(
        default=None, description="Cap of this run in USD, where it is lower than the settings'."
    )


@dg.asset(
    deps=["release"],
    group_name="dataset",
    kinds={"httpx", "parquet", "html"},
    owners=["team:wan-pipeline"],
    code_version="1",
    pool="wan_api",
    output_required=False,
)
def drift(
    context: dg.AssetExecutionContext,
    config: DriftConfig,
    wan: WanResource,
    progress: dg.ResourceParam[ProgressSink],
) -> Iterator[dg.MaterializeResult]:
    """Whether the provider still makes the same pictures of the same requests. Spends money.

    Hashes the files of the sample first: where one is missing or damaged, nothing is sent. Then
    buys a sample of a release's requests once more, under the same caps as any purchase, and
    compares image by image: equal bytes, else the distance of perceptual hashes. The dataset is not
    touched. A table, a report and a page with old and new side by side are written under
    `reproductions/`; the check `no_drift` fails when more images than allowed have drifted, when
    not every request could be compared, or when nothing can be.

    Never automatic: launch the job `reproduce` with a release, type `wan reproduce`, or switch the
    schedule `weekly_canary` on.
    """
    if not is_named(
        context, config.release, job=JOB, field="release", otherwise="nothing was reproduced"
    ):
        return
    label = checked_label(config.label or label_of(datetime.now(UTC)))
    size = read_size(config.sample)
    release = open_release(wan.layout.releases, config.release)
    series = Series(release=release.name, version=release.version, label=label)
    sample = choose(release, size)
    require_whole(sample, release)
    batch = _batch(context, config, wan, series, sample, progress)
    progress.finished(batch)
    report = _compared(wan, config, release, series, sample, run_id=context.run.run_id)
    context.log.info(report.sentence)
    metadata = {
        **_metadata(wan, series, report),
        "files_repaired": len(batch.tally.repairs),
    }
    if batch.stop is not None:
        left = rest_told(batch.left, batch.left_cost_usd)
        stop = AccountStopError(batch.stop, f"{batch.stop_detail.rstrip(' .')}; {left}")
        raise dg.Failure(str(stop), metadata=metadata, allow_retries=False) from stop
    yield dg.MaterializeResult(metadata=metadata)


def _batch(
    context: dg.AssetExecutionContext,
    config: DriftConfig,
    wan: WanResource,
    series: Series,
    sample: Sample,
    progress: ProgressSink,
) -> BatchReport:
    """Buy what the series has not, or only fetch what is paid for."""
    sink, run_id = progress.also(in_log(context.log.info)), context.run.run_id
    if config.create and not NEVER_BUYS.items() <= context.run.tags.items():
        return wan.buy(
            (each.request for each in sample.requests),
            prompt_set=series.name,
            run_id=run_id,
            progress=sink,
            total=len(sample.requests),
            caps=ImagesConfig(budget_run_usd=config.budget_run_usd).caps(),
            reproduction=True,
        )
    return wan.recover(prompt_set=series.name, run_id=run_id, progress=sink)


def _compared(
    wan: WanResource,
    config: DriftConfig,
    release: Release,
    series: Series,
    sample: Sample,
    *,
    run_id: str,
) -> DriftReport:
    """Compare, and write table, report and page; the report is the last, so it speaks of both."""
    settings, layout = wan.settings(), wan.layout
    rule = DriftRule(
        distance=settings.drift_distance,
        share=settings.drift_share,
        count_rewritten=config.count_rewritten,
    )
    with wan.ledger() as ledger:
        rows = compare(
            sample,
            release=release,
            ledger=ledger,
            series=series.name,
            cache=MeasurementCache(layout.measurements),
            rule=rule,
        )
        ids = [each.request.request_id for each in sample.requests]
        bought = ledger.purchases(ids, series=series.name).values()
    report = judge(
        rows,
        sample=sample,
        series=series,
        rule=rule,
        profile=wan.profile,
        run_id=run_id,
        new_cost_usd=sum((each.cost_usd or ZERO for each in bought), ZERO),
        now=datetime.now(UTC),
    )
    folder = series.folder(layout.reproductions)
    write_drift_table(rows, folder / DRIFT_FILE)
    write_drift_page(report, rows, layout=layout, out_dir=folder)
    write_report(report, folder / REPORT_FILE)
    return report


def _metadata(
    wan: WanResource, series: Series, report: DriftReport
) -> dict[str, dg.MetadataValue | int | float | str]:
    folder = series.folder(wan.layout.reproductions)
    return {
        "release": report.release,
        "label": report.label,
        "verdict": report.verdict.value,
        "dagster/row_count": report.images,
        "dagster/column_schema": ui.column_schema(DRIFT, LINEAGE),
        "dagster/column_lineage": ui.column_lineage(LINEAGE),
        "requests": report.requests,
        "images_counted": report.counted,
        "images_drifted": report.drifted,
        "drifted_share": dg.MetadataValue.float(report.share),
        "farthest": dg.MetadataValue.null() if report.farthest is None else report.farthest,
        "images_rewritten": report.rewritten,
        **{f"images_{outcome}": count for outcome, count in report.outcomes.items()},
        "incomplete": dg.MetadataValue.json(report.incomplete),
        "cost_differences": len(report.cost_differences),
        "cost_usd": ui.money(report.new_cost_usd),
        **ui.page_told(folder / PAGE_FILE, wan),
        FOLDER: dg.MetadataValue.path(str(folder)),
    }
