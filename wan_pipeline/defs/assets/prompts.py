"""The `prompts` asset."""

import dagster as dg
import pyarrow.parquet as pq

from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.prompts.matrix.count import Ceiling, MatrixCount, shown
from wan_pipeline.prompts.table import PROMPTS_FILE, REJECTS_FILE, build_prompt_table
from wan_pipeline.prompts.tables import PROMPTS, REJECTS

__all__ = ["prompts"]

# Above this table is a file, which has no columns in the UI: so it is said, not linked.
ORIGINS = {
    **ui.from_words("the prompt file, or the rule for what it leaves empty", PROMPTS.names),
    "prompt_id": "the prompt file, or a hash of prompt and negative prompt",
    "prompt_columns": "the prompt file: its other columns as JSON",
    "row": "the prompt file: which row, from 1",
}
REJECTS_ORIGINS = {
    **ui.from_words("the prompt file", ["file", "row", "column", "value", "place"]),
    **ui.from_words("the rules of the prompt table", ["rule", "remedy"]),
}


@dg.asset(
    partitions_def=prompt_sets,
    group_name="dataset",
    kinds={"pandas", "parquet"},
    owners=["team:wan-pipeline"],
    code_version="1",
)
def prompts(context: dg.AssetExecutionContext, wan: WanResource) -> dg.MaterializeResult:
    """The validated prompt table of one prompt set.

    Reads the set's file from `data/prompts/` (CSV, TSV, JSONL, Parquet, or a YAML matrix of
    templates) and checks every row against the rules of the API page. Good rows go on; a row that
    breaks a rule goes to the rejects table with its file, row, column, value, the rule and what to
    do about it. A set without a single good row fails, and so does a matrix that would make more
    prompts than is allowed.

    The data version is a hash of the rows that does not depend on their order.
    """
    prompt_set = context.partition_key
    folder = wan.layout.tables(prompt_set)
    summary = build_prompt_table(
        wan.prompt_file(prompt_set),
        out_dir=folder,
        set_name=prompt_set,
        truncate=wan.truncate_prompts,
        ceiling=Ceiling(max_prompts=wan.matrix_max_prompts, price_usd=wan.account.price_usd),
    )
    rejects = pq.read_table(folder / REJECTS_FILE)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(summary.data_version),
        metadata={
            "dagster/row_count": summary.accepted,
            "dagster/column_schema": ui.column_schema(PROMPTS, ORIGINS),
            "source_file": dg.MetadataValue.path(str(summary.file)),
            "table": dg.MetadataValue.path(str(folder / PROMPTS_FILE)),
            "rows_read": summary.rows_read,
            "rejected_rows": summary.rejected_rows,
            "duplicates": summary.duplicates,
            "truncated_texts": summary.truncated,
            **ui.further_table(
                "rejects_table", folder / REJECTS_FILE, schema=REJECTS, sources=REJECTS_ORIGINS
            ),
            "rejects": ui.table_rows(rejects.slice(0, 50).to_pylist()),
            "carried_columns": ", ".join(summary.columns) or "none",
            **({} if summary.matrix is None else _made_of(summary.matrix)),
        },
    )


def _made_of(matrix: MatrixCount) -> dict[str, object]:
    """What multiplies what, for a person who wonders where all the rows come from."""
    return {
        "matrix": ui.table_rows(
            [
                {
                    "template": each.template,
                    "axes": " × ".join(map(str, each.axes)),
                    # A count may be larger than what GraphQL takes for a number.
                    "combinations": shown(each.combinations),
                    "prompts": each.prompts,
                }
                for each in matrix.templates
            ]
        )
    }
