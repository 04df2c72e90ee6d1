"""Compare two releases: which images came, went or were made anew, and what else changed.

A row is one image of one prompt: prompt set, prompt id, request, replica and index. The same row
with other bytes is an image made anew; so is, of what is left on both sides, the one row with the
same prompt set, prompt id, replica and index, whose request has changed. Of rows whose image is the
same, every other column is compared; one column of both tables is in memory at a time.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from wan_pipeline.dataset.release.errors import DamagedReleaseError
from wan_pipeline.dataset.release.matching import KEY, PLACE, matched
from wan_pipeline.dataset.release.tables import PURCHASES_FILE, RELEASE_IMAGES
from wan_pipeline.prompts.request import REQUEST_COLUMNS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from wan_pipeline.dataset.release.reader import Release

__all__ = ["ColumnChange", "DiffedRow", "ReleaseDiff", "diff_releases"]

EXAMPLES = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffedRow:
    """One image of one prompt.

    Attributes:
        prompt_set: whose prompt.
        prompt_id: which prompt.
        request_id: the request that brought it, of the second release where that has the row.
        replica: which of the prompt's replicas.
        image_index: which of the request's images.
        before: image id in the first release; None where it is not in it.
        after: image id in the second.
        former_request_id: the request in the first release, where it was another.
        changed: columns in which the two requests differ; empty when it is one request.
    """

    prompt_set: str
    prompt_id: str
    request_id: str
    replica: int
    image_index: int
    before: str | None
    after: str | None
    former_request_id: str | None = None
    changed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """A column that differs in rows whose image is the same.

    Attributes:
        column: its name.
        rows: how many rows.
        examples: some of them: prompt set, prompt id, image id, value before, value after.
    """

    column: str
    rows: int
    examples: tuple[tuple[str, str, str, Any, Any], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseDiff:
    """From one release to another.

    Attributes:
        before: reference of the first.
        after: reference of the second.
        same_content: whether their content hashes are equal.
        added: rows that only the second has.
        removed: rows that only the first has.
        regenerated: the same place in the same prompt, with other bytes: of the same request, or
            of one that was changed.
        unchanged: rows with the same image.
        columns: what else changed in those, the request of the same image included; the split is
            not among them.
        moved_prompts: prompts that changed sides: prompt id, side before, side after.
        cost_before_usd: of the purchases behind the first.
        cost_after_usd: of those behind the second.
        bought_usd: of the purchases that only the second needs.
        dropped_usd: of the purchases that only the first needs.
    """

    before: str
    after: str
    same_content: bool
    added: tuple[DiffedRow, ...]
    removed: tuple[DiffedRow, ...]
    regenerated: tuple[DiffedRow, ...]
    unchanged: int
    columns: tuple[ColumnChange, ...]
    moved_prompts: tuple[tuple[str, str, str], ...]
    cost_before_usd: Decimal
    cost_after_usd: Decimal
    bought_usd: Decimal
    dropped_usd: Decimal

    @property
    def differs(self) -> bool:
        """Whether anything that was compared differs."""
        rows = self.added or self.removed or self.regenerated
        return bool(rows or self.columns or self.moved_prompts)


def diff_releases(before: Release, after: Release) -> ReleaseDiff:
    """Compare two opened releases.

    Raises:
        DamagedReleaseError: a table cannot be read, or has two rows for one image of a prompt.
    """
    gone, came, both = matched(_keyed(before, "row_before"), _keyed(after, "row_after"))
    old, new = _values(before, "image_id"), _values(after, "image_id")
    same = pc.equal(old.take(both["row_before"]), new.take(both["row_after"]))
    pairs, anew = both.filter(same), both.filter(pc.invert(same))
    costs, moved = _costs(before, after), _moved(before, after)
    return ReleaseDiff(
        before=before.reference,
        after=after.reference,
        same_content=before.manifest.hashes.content == after.manifest.hashes.content,
        added=_rows(came, after=new.take(came["row_after"])),
        removed=_rows(gone, before=old.take(gone["row_before"])),
        regenerated=_regenerated(before, after, anew),
        unchanged=pairs.num_rows,
        columns=_columns(before, after, pairs),
        moved_prompts=moved,
        cost_before_usd=before.manifest.cost.total_usd,
        cost_after_usd=after.manifest.cost.total_usd,
        bought_usd=costs[1],
        dropped_usd=costs[0],
    )


def _table(release: Release, columns: Sequence[str]) -> Any:
    types: Any = RELEASE_IMAGES
    schema = pa.schema([types.field(name) for name in columns])
    batches = list(release.rows(columns))
    if any(not batch.schema.equals(schema) for batch in batches):
        raise DamagedReleaseError(
            f"{release.reference} has columns of another version; make it anew to compare it"
        )
    return pa.Table.from_batches(batches, schema=schema)


def _values(release: Release, column: str) -> Any:
    return _table(release, [column])[column].combine_chunks()


def _keyed(release: Release, number: str) -> Any:
    table = _table(release, KEY)
    if table.group_by(list(KEY)).aggregate([]).num_rows != table.num_rows:
        raise DamagedReleaseError(
            f"{release.reference} has two rows for one image of a prompt, so it was not made by"
            " this package as it is: make it anew to compare it"
        )
    rows = pa.array(range(table.num_rows), pa.int64())
    return table.append_column(number, rows)


def _rows(table: Any, *, before: Any = None, after: Any = None) -> tuple[DiffedRow, ...]:
    """Rows of one side, with their image ids."""
    nothing = pa.nulls(table.num_rows)
    files = zip(
        (nothing if before is None else before).to_pylist(),
        (nothing if after is None else after).to_pylist(),
        strict=True,
    )
    rows = table.select(list(KEY)).to_pylist()
    return tuple(
        DiffedRow(**row, before=old, after=new) for row, (old, new) in zip(rows, files, strict=True)
    )


def _regenerated(before: Release, after: Release, anew: Any) -> tuple[DiffedRow, ...]:
    """Rows of both sides with other bytes, and why: in which columns their requests differ."""
    numbers = (anew["row_before"].combine_chunks(), anew["row_after"].combine_chunks())
    changed: list[list[str]] = [[] for _ in range(anew.num_rows)]
    for name in REQUEST_COLUMNS if anew.num_rows else ():
        sides = zip((before, after), numbers, strict=True)
        old, new = (_values(side, name).take(at).to_pylist() for side, at in sides)
        for columns, one, other in zip(changed, old, new, strict=True):
            if one != other:
                columns.append(name)
    plain = _rows(
        anew,
        before=_values(before, "image_id").take(numbers[0]),
        after=_values(after, "image_id").take(numbers[1]),
    )
    former = anew["former_request_id"].to_pylist()
    return tuple(
        replace(
            row,
            former_request_id=None if request_id == row.request_id else request_id,
            changed=tuple(columns),
        )
        for row, request_id, columns in zip(plain, former, changed, strict=True)
    )


def _columns(before: Release, after: Release, pairs: Any) -> tuple[ColumnChange, ...]:
    """Columns that differ between the paired rows."""
    types: Any = RELEASE_IMAGES
    found: list[ColumnChange] = []
    for name in types.names:
        if name in {*PLACE, "image_id", "split"}:
            continue
        old = _values(before, name).take(pairs["row_before"].combine_chunks())
        new = _values(after, name).take(pairs["row_after"].combine_chunks())
        if old.equals(new):
            continue
        values = zip(old.to_pylist(), new.to_pylist(), strict=True)
        changed = [at for at, (one, other) in enumerate(values) if one != other]
        if changed:
            found.append(_change(before, name, changed, pairs, old, new))
    return tuple(found)


def _change(
    before: Release, column: str, changed: Sequence[int], pairs: Any, old: Any, new: Any
) -> ColumnChange:
    some = list(changed[:EXAMPLES])
    keys = pairs.take(some)
    ids = _values(before, "image_id").take(keys["row_before"].combine_chunks()).to_pylist()
    return ColumnChange(
        column=column,
        rows=len(changed),
        examples=tuple(
            (key["prompt_set"], key["prompt_id"], image_id, old[at].as_py(), new[at].as_py())
            for at, key, image_id in zip(some, keys.to_pylist(), ids, strict=True)
        ),
    )


def _moved(before: Release, after: Release) -> tuple[tuple[str, str, str], ...]:
    """Prompts of both releases that are on another side now."""
    sides = [
        {row["prompt_id"]: row["split"] for row in _distinct(each)} for each in (before, after)
    ]
    shared = sorted(sides[0].keys() & sides[1].keys())
    return tuple(
        (prompt, sides[0][prompt], sides[1][prompt])
        for prompt in shared
        if sides[0][prompt] != sides[1][prompt]
    )


def _distinct(release: Release) -> list[dict[str, Any]]:
    names = ["prompt_id", "split"]
    return _table(release, names).group_by(names).aggregate([]).to_pylist()


def _costs(before: Release, after: Release) -> tuple[Decimal, Decimal]:
    """USD of the purchases that only the first needs, and that only the second needs."""
    paid = [
        {
            (row["profile"], row["request_id"], row["attempt"]): row["cost_usd"] or Decimal(0)
            for batch in each.table_rows(
                PURCHASES_FILE, ["profile", "request_id", "attempt", "cost_usd"]
            )
            for row in batch.to_pylist()
        }
        for each in (before, after)
    ]
    only = (paid[0].keys() - paid[1].keys(), paid[1].keys() - paid[0].keys())
    dropped, bought = (
        sum((of[key] for key in keys), Decimal(0)) for of, keys in zip(paid, only, strict=True)
    )
    return dropped, bought
