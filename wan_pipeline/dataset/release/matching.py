"""Which row of one release is which row of another.

By all of its key where both have it; else by its place, once the request was changed.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

__all__ = ["KEY", "PLACE", "matched"]

PLACE = ("prompt_set", "prompt_id", "replica", "image_index")
KEY = (*PLACE, "request_id")


def matched(first: Any, second: Any) -> tuple[Any, Any, Any]:
    """Rows that only the first has, that only the second has, and that both have.

    The last have row numbers of both sides, and the first side's request as `former_request_id`.
    """
    order = [(name, "ascending") for name in KEY]
    joined = first.join(second, keys=list(KEY), join_type="full outer").sort_by(order)
    no_before, no_after = pc.is_null(joined["row_before"]), pc.is_null(joined["row_after"])
    gone, came = joined.filter(no_after), joined.filter(no_before)
    same = joined.filter(pc.invert(pc.or_(no_before, no_after)))
    same = same.append_column("former_request_id", same["request_id"])
    former = gone.rename_columns({"request_id": "former_request_id"})
    changed = (
        _only_ones(former)
        .drop_columns("row_after")
        .join(_only_ones(came).drop_columns("row_before"), keys=list(PLACE), join_type="inner")
    )
    gone = gone.filter(pc.invert(pc.is_in(gone["row_before"], changed["row_before"])))
    came = came.filter(pc.invert(pc.is_in(came["row_after"], changed["row_after"])))
    both = pa.concat_tables([same, changed.select(same.column_names)]).sort_by(order)
    return gone, came, both


def _only_ones(table: Any) -> Any:
    """Rows that no other row shares its place with: prompts without ids may have several sizes."""
    counted = table.group_by(list(PLACE)).aggregate([([], "count_all")])
    alone = counted.filter(pc.equal(counted["count_all"], 1)).select(list(PLACE))
    return table.join(alone, keys=list(PLACE), join_type="left semi")
