"""The `spend` asset."""

import hashlib
from datetime import UTC, datetime

import dagster as dg

from wan_pipeline.defs import ui
from wan_pipeline.defs.assets.images import COLUMNS
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.ledger.arrow import EVENTS, IMAGES, PURCHASES
from wan_pipeline.ledger.cap_use import cap_uses
from wan_pipeline.ledger.export import ExportSummary, export_lock, export_snapshot
from wan_pipeline.ledger.review import price_differences, unfinished, unknowns
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.report.spend import SpendSummary, spend_preview, write_spend_page
from wan_pipeline.report.spending import read_spending

__all__ = ["LAST_EVENT", "spend"]

LAST_EVENT = "last_event"
# In a run that also buys, without being above it (`drift`), it waits for what may still be bought.
# An edge would not do: where `drift` is asked for nothing, what is below it would be skipped.
LAST = {"dagster/priority": "-1"}
BY_LEDGER = "the ledger"
BY_PROVIDER = "the provider's answer"
LINEAGE = {
    **ui.from_words(BY_LEDGER, PURCHASES.names),
    **ui.from_words(BY_PROVIDER, ["error_code", "error_message", "final_answer"]),
    **ui.same_columns(PURCHASES, source="images", origin=COLUMNS),
    "request": ("images", "request_id"),
}
IMAGES_LINEAGE = {
    **ui.from_words(BY_LEDGER, IMAGES.names),
    **ui.same_columns(IMAGES, source="images", origin=COLUMNS),
}
EVENTS_LINEAGE = {
    **ui.from_words(BY_LEDGER, EVENTS.names),
    **ui.same_columns(EVENTS, source="images", origin=COLUMNS),
}


@dg.asset(
    deps=["images"],
    group_name="dataset",
    kinds={"matplotlib", "html", "parquet"},
    owners=["team:wan-pipeline"],
    code_version="1",
    op_tags=LAST,
)
def spend(wan: WanResource) -> dg.MaterializeResult:
    """What everything has cost so far, of all prompt sets together.

    Exports the ledger of the profile as three Parquet tables of one moment (purchases, images,
    events), and draws a page that opens from disk: cost per day and per set, latency, outcomes,
    what is left of each budget, and every unknown purchase with what to do about it. Free; every
    build and reproduction refreshes it, and so does the schedule `hourly_spend` once it is on.

    It has no partitions: a purchase that two sets share is in it once.
    """
    folder, now = wan.layout.spend, datetime.now(UTC)
    with wan.ledger() as ledger, export_lock(folder), snapshot(ledger) as view:
        exported = export_snapshot(view, folder)
        summary = SpendSummary(
            profile=wan.profile,
            created=now,
            spending=read_spending(exported),
            unknowns=unknowns(view),
            unfinished=unfinished(view),
            price_differences=price_differences(view),
            caps=cap_uses(view, wan.settings().caps, now=now),
            files={name: path.name for name, path in exported.files.items()},
        )
        report = write_spend_page(summary, out_dir=folder)
    return dg.MaterializeResult(
        data_version=_data_version(exported),
        metadata={
            **_figures(summary),
            "dagster/row_count": exported.purchases,
            "dagster/column_schema": ui.column_schema(PURCHASES, LINEAGE),
            "dagster/column_lineage": ui.column_lineage(LINEAGE),
            **ui.page_told(report.path, wan),
            "page_bytes": report.bytes,
            "tables": dg.MetadataValue.path(str(folder)),
            **ui.further_table(
                "images", exported.files["images"], schema=IMAGES, sources=IMAGES_LINEAGE
            ),
            **ui.further_table(
                "events", exported.files["events"], schema=EVENTS, sources=EVENTS_LINEAGE
            ),
            "image_rows": exported.images,
            "event_rows": exported.events,
            LAST_EVENT: exported.last_event,
        },
    )


def _figures(summary: SpendSummary) -> dict[str, dg.MetadataValue | int | str]:
    """What the page shows, for the UI, which plots numbers: so none is ever left out."""
    spending, deadline = summary.spending, summary.oldest_deadline
    return {
        "spent_usd": ui.money(spending.spent_usd),
        "reserved_usd": ui.money(spending.reserved_usd),
        "unknown": len(summary.unknowns),
        **{f"purchases_{state.value}": count for state, count in spending.states.items()},
        **{f"images_{state.value}": count for state, count in spending.images.items()},
        "costs_that_are_not_the_price": len(summary.price_differences),
        "oldest_deadline": "none" if deadline is None else deadline.isoformat(),
        "preview": dg.MetadataValue.md(spend_preview(summary)),
    }


def _data_version(exported: ExportSummary) -> dg.DataVersion:
    """A hash of the tables; the page shows nothing else, but for the time and the caps."""
    digest = hashlib.sha256()
    for path in exported.files.values():
        with path.open("rb") as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return dg.DataVersion(digest.hexdigest())
