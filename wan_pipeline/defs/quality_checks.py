"""Checks of `quality`: what is flagged of images and of requests. None blocks.

Each counts, shows the first rows, and links to its table and to its section of the quarantine page.
The shares that are allowed are settings. Whether sizes are right and images as many as asked for is
checked on `image_metadata`.
"""

# pyright: reportAttributeAccessIssue=false
# (pyarrow makes its compute functions at import time.)

from collections.abc import Mapping, Sequence

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq

from wan_pipeline.dataset.quality.flags import Flag, RequestFlag
from wan_pipeline.dataset.quality.outcomes import RequestOutcomes, read_outcomes
from wan_pipeline.dataset.quality.reading import read_table
from wan_pipeline.defs import ui
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.layout import DataLayout
from wan_pipeline.told import counted

__all__ = ["quality_checks"]

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR
SHOWN = 50
TOLD = ["prompt_id", "request_id", "image_index", "image_id"]


@dg.asset_check(asset="quality", partitions_def=prompt_sets)
def images_differ(context: dg.AssetCheckExecutionContext, wan: WanResource) -> dg.AssetCheckResult:
    """No image looks like another one of its set, by perceptual hash."""
    settings = wan.settings()
    found = Flagged(wan, context.partition_key, Flag.NEAR_DUPLICATE)
    pairs = wan.layout.quality_pairs(context.partition_key)
    listed = read_table(pairs)
    left_out = int((listed.schema.metadata or {}).get(b"pairs_left_out", b"0"))
    return found.result(
        passed=found.share <= settings.near_duplicates_allowed,
        severity=WARN,
        description=f"{found.count} of {found.images} images differ from another one in at most"
        f" {settings.near_duplicate_distance} of 64 bits"
        f"{ui.share_allowed(wan, 'near_duplicates_allowed')}",
        metadata={
            "groups": found.distinct("near_duplicate_group"),
            "pairs": listed.num_rows + left_out,
            "pairs_listed_across_prompts": pc.sum(pc.invert(listed["same_prompt"])).as_py() or 0,
            "nearest_pairs": ui.table_rows(listed.slice(0, SHOWN).to_pylist()),
            "pair_table": dg.MetadataValue.path(str(pairs)),
        },
        columns=["near_duplicates", "near_duplicate_group"],
    )


@dg.asset_check(asset="quality", partitions_def=prompt_sets)
def images_are_not_blank(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """There is something to see on every image."""
    settings = wan.settings()
    found = Flagged(wan, context.partition_key, Flag.BLANK)
    return found.result(
        passed=found.share <= settings.blank_allowed,
        severity=WARN,
        description=f"{found.count} of {found.images} images have a contrast below"
        f" {settings.blank_contrast:g}{ui.share_allowed(wan, 'blank_allowed')}",
        columns=["contrast"],
    )


@dg.asset_check(asset="quality", partitions_def=prompt_sets)
def images_can_be_decoded(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """Every stored file was there, unchanged, and a picture when it was measured.

    A measured one is not read again; that files still are there is checked on `spend`.
    """
    found = Flagged(wan, context.partition_key, Flag.UNDECODABLE)
    return found.result(
        passed=found.count == 0,
        severity=ERROR,
        description=f"{found.count} of {found.images} images cannot be decoded",
        columns=["problem"],
    )


@dg.asset_check(asset="quality", partitions_def=prompt_sets)
def watermarks_are_where_asked_for(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """Where a watermark was asked for, something speaks for it.

    The protocol never confirms one. What can be known: whether it was asked for, whether the lower
    right corner is plain (then the text is not there), and whether the file says by itself that a
    model made it. A corner that is not plain proves nothing.
    """
    layout, prompt_set = wan.layout, context.partition_key
    found = Flagged(wan, prompt_set, Flag.NO_WATERMARK_INFORMATION)
    asked = pq.read_table(layout.metadata(prompt_set), columns=["image_id", "watermark"])
    asked_for = pc.count_distinct(asked.filter(asked["watermark"])["image_id"]).as_py()
    allowed = wan.settings().unmarked_allowed
    labelled = found.table.filter(pc.greater(pc.list_value_length(found.table["labels"]), 0))
    return found.result(
        passed=found.count <= allowed * asked_for,
        severity=WARN,
        description=f"{found.count} of {asked_for} images that should bear a watermark show no sign"
        f" of it{ui.share_allowed(wan, 'unmarked_allowed')}",
        metadata={
            "asked_for": asked_for,
            "labelled_files": pc.count_distinct(labelled["image_id"]).as_py(),
        },
        columns=["labels"],
    )


@dg.asset_check(asset="quality", partitions_def=prompt_sets)
def no_moderation_failures(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """Moderation rejected no request of the set; those it did are listed."""
    prompt_set = context.partition_key
    outcomes, allowed = _outcomes(wan.layout, prompt_set), wan.settings().moderated_allowed
    count = outcomes.count(RequestFlag.MODERATION_FAILED)
    return dg.AssetCheckResult(
        passed=count <= allowed * outcomes.requests,
        severity=WARN,
        description=f"moderation rejected {count} of {counted(outcomes.requests, 'request')}"
        f"{ui.share_allowed(wan, 'moderated_allowed')}",
        metadata={
            "moderated_requests": count,
            "requests": outcomes.requests,
            **_where(wan, prompt_set, outcomes, RequestFlag.MODERATION_FAILED),
        },
    )


@dg.asset_check(asset="quality", partitions_def=prompt_sets)
def every_prompt_has_an_image(
    context: dg.AssetCheckExecutionContext, wan: WanResource
) -> dg.AssetCheckResult:
    """Every prompt produced at least one image; an error once no run will bring one by itself."""
    prompt_set = context.partition_key
    outcomes, allowed = _outcomes(wan.layout, prompt_set), wan.settings().without_image_allowed
    count = outcomes.count(RequestFlag.NEVER_PRODUCED)
    return dg.AssetCheckResult(
        passed=count <= allowed * outcomes.prompts,
        severity=ERROR if outcomes.given_up else WARN,
        description=f"{count} of {outcomes.prompts} prompts have no image, {outcomes.given_up} of"
        f" them for a reason that does not pass by itself"
        f"{ui.share_allowed(wan, 'without_image_allowed')}",
        metadata={
            "prompts_without_image": count,
            "given_up": outcomes.given_up,
            "prompts": outcomes.prompts,
            **_where(wan, prompt_set, outcomes, RequestFlag.NEVER_PRODUCED),
        },
    )


class Flagged:
    """The rows of a set's quality table that bear one flag; images are counted once."""

    def __init__(self, wan: WanResource, prompt_set: str, flag: Flag) -> None:
        """Read the table."""
        self._wan, self._set, self._flag = wan, prompt_set, flag
        self.table = read_table(wan.layout.quality(prompt_set))
        bears = [flag in flags for flags in self.table["flags"].to_pylist()]
        self._rows = self.table.filter(bears) if bears else self.table
        self.images: int = pc.count_distinct(self.table["image_id"]).as_py()
        self.count: int = pc.count_distinct(self._rows["image_id"]).as_py()

    @property
    def share(self) -> float:
        """Of the set's images, how many bear the flag."""
        return self.count / self.images if self.images else 0.0

    def distinct(self, column: str) -> int:
        """How many values the flagged rows have in a column."""
        return pc.count_distinct(self._rows[column]).as_py()

    def result(
        self,
        *,
        passed: bool,
        severity: dg.AssetCheckSeverity,
        description: str,
        columns: Sequence[str],
        metadata: Mapping[str, object] | None = None,
    ) -> dg.AssetCheckResult:
        """The check's result: counts, the first rows with some columns, and where all of it is."""
        layout = self._wan.layout
        first = self._rows.select([*TOLD, *columns]).slice(0, SHOWN).to_pylist()
        return dg.AssetCheckResult(
            passed=passed,
            severity=severity,
            description=description,
            metadata={
                "flagged_images": self.count,
                "images": self.images,
                "share": self.share,
                **(metadata or {}),
                "rows": ui.table_rows(first),
                "page": ui.page_link(layout.quarantine(self._set), self._wan, self._flag),
                "table": dg.MetadataValue.path(str(layout.quality(self._set))),
            },
        )


def _outcomes(layout: DataLayout, prompt_set: str) -> RequestOutcomes:
    return read_outcomes(layout.quality_outcomes(prompt_set))


def _where(
    wan: WanResource, prompt_set: str, outcomes: RequestOutcomes, flag: RequestFlag
) -> dict[str, dg.MetadataValue]:
    """The first requests that bear a flag, and where all of them are."""
    first = [
        {
            "prompt_id": row.prompt_id,
            "prompt": row.prompt,
            "state": row.state,
            "reason": row.reason,
            "next_step": row.next_step,
            "request_id": row.request_id,
        }
        for row in outcomes.flagged(flag)[:SHOWN]
    ]
    return {
        "rows": ui.table_rows(first),
        "page": ui.page_link(wan.layout.quarantine(prompt_set), wan, flag),
        "table": dg.MetadataValue.path(str(wan.layout.quality_outcomes(prompt_set))),
    }


quality_checks = [
    images_differ,
    images_are_not_blank,
    images_can_be_decoded,
    watermarks_are_where_asked_for,
    no_moderation_failures,
    every_prompt_has_an_image,
]
