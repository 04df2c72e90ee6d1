"""Where a request or an image turns up: prompt tables, releases, exports. Reads only."""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wan_pipeline.dataset.exports.elsewhere import export_of, indexes
from wan_pipeline.dataset.exports.index import INDEX_FILE
from wan_pipeline.dataset.release.errors import ReleaseError
from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.reference import every_version
from wan_pipeline.dataset.release.tables import IMAGES_FILE
from wan_pipeline.dataset.trace.story import ExportPlace, PromptRow, ReleasePlace
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.request import REQUEST_COLUMNS
from wan_pipeline.prompts.sets import scan

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from wan_pipeline.layout import DataLayout

__all__ = ["Places", "PlannedRows", "exported_as", "request_as_told"]

_OF_INDEX = ("image_id", "file_sha256", "path")
_OF_PLACE = ("member", "row")
_OF_PLAN = ("request_id", "prompt_id", "row", "replica", "seed_source", "prompt_columns")
_OF_RELEASE = (
    "image_id",
    "request_id",
    "image_index",
    "prompt_set",
    "prompt_id",
    "replica",
    "seed_source",
    "prompt_columns",
    "split",
)


@dataclass(frozen=True, slots=True)
class PlannedRows:
    """Rows of request tables: the request as it would be sent, and the prompt rows, by request."""

    requests: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    prompts: dict[str, list[PromptRow]] = field(default_factory=dict[str, list[PromptRow]])

    def add(self, request_id: str, request: dict[str, Any], row: PromptRow) -> None:
        """Note one row, unless the same prompt is known already."""
        self.requests.setdefault(request_id, request)
        known = self.prompts.setdefault(request_id, [])
        named = {(each.prompt_set, each.prompt_id, each.replica) for each in known}
        if (row.prompt_set, row.prompt_id, row.replica) not in named:
            known.append(row)


class Places:
    """Looks through a profile's folder.

    Attributes:
        problems: what could not be looked into, in words.
        looked_at: what was, for who finds nothing.
    """

    def __init__(self, layout: DataLayout) -> None:
        self._layout = layout
        self.problems: list[str] = []
        self.looked_at: list[str] = []

    def planned(self, wanted: pc.Expression) -> PlannedRows:
        """Rows of every set's request table that meet a condition on its columns."""
        found, files = PlannedRows(), scan(self._layout.prompts_dir).sets
        tables = sorted((self._layout.root / "sets").glob(f"*/{REQUESTS_FILE}"))
        for table in tables:
            prompt_set = table.parent.name
            file = files.get(prompt_set)
            for row in self._rows(table, [*_OF_PLAN, *REQUEST_COLUMNS], wanted):
                found.add(
                    row["request_id"],
                    {name: row[name] for name in REQUEST_COLUMNS},
                    PromptRow(
                        prompt_set=prompt_set,
                        prompt_id=row["prompt_id"],
                        file=None if file is None else str(file),
                        row=row["row"],
                        replica=row["replica"],
                        seed_source=row["seed_source"],
                        columns=row["prompt_columns"],
                    ),
                )
        self.looked_at.append(f"{len(tables)} planned prompt sets")
        return found

    def released(
        self, column: str, values: Collection[str], planned: PlannedRows
    ) -> dict[str, list[ReleasePlace]]:
        """By request, where rows are released whose `column` is one of `values`.

        Rows of prompts that no request table knows any more are noted in `planned`.
        """
        found: dict[str, list[ReleasePlace]] = {}
        folder = self._layout.releases
        references = every_version(folder)
        for reference in references:
            for row in self._rows_of_release(reference, column, values):
                request_id = row["request_id"]
                found.setdefault(request_id, []).append(
                    ReleasePlace(
                        release=reference,
                        image_id=row["image_id"],
                        image_index=row["image_index"],
                        prompt_set=row["prompt_set"],
                        prompt_id=row["prompt_id"],
                        split=row["split"],
                    )
                )
                planned.add(
                    request_id,
                    {name: row[name] for name in REQUEST_COLUMNS},
                    PromptRow(
                        prompt_set=row["prompt_set"],
                        prompt_id=row["prompt_id"],
                        file=None,
                        row=None,
                        replica=row["replica"],
                        seed_source=row["seed_source"],
                        columns=row["prompt_columns"],
                    ),
                )
        self.looked_at.append(f"{len(references)} releases")
        return found

    def exported(self, wanted: pc.Expression, *, also: Path | None = None) -> list[ExportPlace]:
        """Where images are exported whose rows in an index meet a condition on its columns.

        Args:
            wanted: the condition, such as `exported_as` makes.
            also: a file that may lie in an export that nobody noted.
        """
        indices = dict.fromkeys(indexes(self._layout.exports))
        if also is not None:
            near = (folder / INDEX_FILE for folder in also.resolve().parents[:4])
            indices |= dict.fromkeys(each for each in near if each.is_file())
        found: dict[ExportPlace, None] = {}
        for index in indices:
            columns = [*_OF_INDEX, *(name for name in _OF_PLACE if name in self._names(index))]
            for row in self._rows(index, columns, wanted):
                place = ExportPlace(
                    export=self._export_of(index),
                    path=row["path"],
                    member=row.get("member"),
                    row=row.get("row"),
                    image_id=row["image_id"],
                    file_sha256=row["file_sha256"],
                )
                found[place] = None
        self.looked_at.append(f"{len(indices)} exports")
        return list(found)

    def holds(self, release: str) -> bool:
        """Whether there is a release of that reference, ``name@v3``."""
        return release in every_version(self._layout.releases)

    def _export_of(self, index: Path) -> str:
        try:
            return export_of(index)
        except (OSError, ValueError) as error:
            self.problems.append(f"{index.parent} does not tell where its export lies ({error})")
            return str(index.parent)

    def _rows_of_release(
        self, reference: str, column: str, values: Collection[str]
    ) -> Iterator[dict[str, Any]]:
        try:
            release = open_release(self._layout.releases, reference)
        except ReleaseError as error:
            self.problems.append(str(error))
            return
        columns = [*_OF_RELEASE, *REQUEST_COLUMNS]
        condition = pc.field(column).isin(list(values))
        yield from self._rows(release.folder / IMAGES_FILE, columns, condition)

    def _names(self, table: Path) -> list[str]:
        try:
            return pq.read_schema(table).names
        except (pa.ArrowException, OSError):
            return []  # which reading its rows will say

    def _rows(
        self, table: Path, columns: list[str], condition: pc.Expression
    ) -> list[dict[str, Any]]:
        try:
            return pq.read_table(table, columns=columns, filters=condition).to_pylist()
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            self.problems.append(f"{table} cannot be read ({str(error).splitlines()[0]})")
            return []


def exported_as(name: str) -> pc.Expression:
    """Rows of an index whose file, or member of an archive, is called so."""
    path, member = pc.field("path"), pc.field("member")
    return (path == name) | pc.ends_with(path, f"/{name}") | (member == name)


def request_as_told(text: str) -> dict[str, Any]:
    """The ledger's canonical JSON of a request; what is none is kept as text."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"request": text}
