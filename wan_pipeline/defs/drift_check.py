"""The check of `drift`: does the provider still bring what it brought when the release was made?"""

from pathlib import Path

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wan_pipeline.dataset.reproduction.compare import Outcome
from wan_pipeline.dataset.reproduction.table import DRIFT_FILE
from wan_pipeline.dataset.reproduction.verdict import REPORT_FILE, Verdict, read_report
from wan_pipeline.defs import ui
from wan_pipeline.defs.assets.drift import FOLDER
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.report.drift import PAGE_FILE

__all__ = ["drift_checks"]

SHOWN = 50
COLUMNS = ["prompt_id", "image_index", "outcome", "distance", "state", "request_id", "problem"]
NEVER = "nothing was reproduced yet: launch the job `reproduce` with a release"


@dg.asset_check(asset="drift")
def no_drift(context: dg.AssetCheckExecutionContext, wan: WanResource) -> dg.AssetCheckResult:
    """The newest reproduction brought the same pictures, and all of them; others are named."""
    event = context.instance.get_latest_materialization_event(dg.AssetKey("drift"))
    told = event.asset_materialization if event is not None else None
    folder = Path(str(told.metadata[FOLDER].value)) if told is not None else None
    report = read_report(folder / REPORT_FILE) if folder is not None else None
    if folder is None or report is None:
        return dg.AssetCheckResult(
            passed=False, severity=dg.AssetCheckSeverity.WARN, description=NEVER
        )
    is_drift = report["verdict"] == Verdict.DRIFT
    return dg.AssetCheckResult(
        passed=report["verdict"] == Verdict.NO_DRIFT,
        # Something is not known, which is worth a warning; or it is known to be otherwise.
        severity=dg.AssetCheckSeverity.ERROR if is_drift else dg.AssetCheckSeverity.WARN,
        description=f"{report['release']}, {report['label']}: {report['sentence']}",
        metadata={
            "verdict": report["verdict"],
            "counted": report["counted"],
            "drifted": report["drifted"],
            "images": ui.table_rows(_named(folder / DRIFT_FILE), limit=SHOWN),
            "page": ui.page_link(folder / PAGE_FILE, wan),
        },
    )


def _named(table: Path) -> list[dict[str, object]]:
    """The images that a person should look at, the farthest first."""
    wanted = (pc.field("drifted")) | pc.field("outcome").isin(
        [Outcome.NOT_BROUGHT.value, Outcome.UNDECODABLE.value]
    )
    rows = pq.read_table(table, columns=COLUMNS, filters=wanted)
    rows = rows.sort_by([("distance", "descending"), ("prompt_id", "ascending")])
    return [
        {name: "" if value is None else value for name, value in row.items()}
        for row in rows.slice(0, SHOWN).to_pylist()
    ]


drift_checks = [no_drift]
