"""The `release` asset."""

import shlex
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
from pydantic import Field

from wan_pipeline import __version__
from wan_pipeline.dataset.metadata import METADATA
from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.release.create import (
    Circumstances,
    CreatedRelease,
    ReleaseOrder,
    create_release,
)
from wan_pipeline.dataset.release.errors import ReleaseUsageError
from wan_pipeline.dataset.release.facts import MissingRequest, Price
from wan_pipeline.dataset.release.sources import SetSource
from wan_pipeline.dataset.release.split import DEFAULT_SPLIT, SplitRatios
from wan_pipeline.dataset.release.tables import EVENTS_FILE, PURCHASES_FILE, RELEASE_IMAGES
from wan_pipeline.defs import ui
from wan_pipeline.defs.named import is_named
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.planning import standing_of, unfinished_of
from wan_pipeline.ledger.arrow import EVENTS, PURCHASES
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.sets import find_prompt_sets
from wan_pipeline.prompts.table import PROMPTS_FILE, REJECTS_FILE, rows_in
from wan_pipeline.wan.prices import VERSION as PRICE_TABLE_VERSION

__all__ = ["JOB", "ReleaseConfig", "release"]

JOB = "make_release"
NAMED = 5  # prompt sets, in an error
LINEAGE = {
    **ui.same_columns(RELEASE_IMAGES, source="image_metadata", origin=METADATA),
    "split": ("image_metadata", "prompt_id"),
    "quality_flags": ("quality", "flags"),
}
BY_LEDGER = "the ledger"
BY_PROVIDER = "the provider's answer"
# A link stands where the metadata, which is held against the ledger, has the purchase's own value.
PURCHASES_LINEAGE = {
    **ui.from_words(BY_LEDGER, PURCHASES.names),
    **ui.from_words(BY_PROVIDER, ["error_code", "error_message", "final_answer"]),
    **ui.same_columns(PURCHASES, source="image_metadata", origin=METADATA),
    # There it is an image's share of this amount.
    "cost_usd": BY_LEDGER,
}
EVENTS_LINEAGE = {
    **ui.from_words(BY_LEDGER, EVENTS.names),
    **ui.same_columns(EVENTS, source="image_metadata", origin=METADATA),
    # Events tell of whole purchases, and of images that never arrived, too.
    "image_index": BY_LEDGER,
}


class ReleaseConfig(dg.Config):
    """What is released, under which name."""

    name: str = Field(
        default="",
        description="Name of the release: lower-case letters, digits, dot, underscore, hyphen. Its"
        " versions are counted: name@v1, name@v2, ... Nothing is released without a name, so that"
        " materializing the whole graph makes no version.",
    )
    sets: list[str] = Field(
        default=[], description="Prompt sets to release; every set that was built when empty."
    )
    split: str = Field(
        default=DEFAULT_SPLIT,
        description="Shares of train, validation and test. A prompt's side depends on its id only.",
    )
    incomplete: bool = Field(
        default=False,
        description="Whether sets with failed, unknown or missing requests are released all the"
        " same; the manifest names each of these.",
    )


@dg.asset(
    deps=["image_metadata", "quality"],
    group_name="dataset",
    kinds={"pyarrow", "parquet", "json"},
    owners=["team:wan-pipeline"],
    code_version="1",
    output_required=False,
)
def release(
    context: dg.AssetExecutionContext, config: ReleaseConfig, wan: WanResource
) -> Iterator[dg.MaterializeResult]:
    """An immutable, named version of one or more prompt sets: something to train on and to check.

    Made by hand only, never by a schedule or a condition: launch the job `make_release` with a name
    and the sets, or type `wan release create`. Its manifest holds the SHA-256 of every table and
    image, the columns, counts, cost, prompt files and the range of the ledger behind them. Released
    again without a change, the newest version is told and nothing is made.

    The data version is the hash of the manifest, which stands for every byte of the release.
    """
    if not is_named(context, config.name, job=JOB, field="name", otherwise="no release was made"):
        return
    with wan.ledger() as ledger:
        made = create_release(
            ReleaseOrder(
                name=config.name,
                sources=[_source(wan, ledger, name) for name in _sets(wan, config.sets)],
                ratios=SplitRatios.parse(config.split),
                incomplete=config.incomplete,
                thresholds=wan.settings().thresholds,
                circumstances=_circumstances(wan),
            ),
            ledger=ledger,
            measurements=MeasurementCache(wan.layout.measurements),
            releases_dir=wan.layout.releases,
            now=datetime.now(UTC),
        )
    yield dg.MaterializeResult(
        data_version=dg.DataVersion(made.manifest.hashes.manifest), metadata=_metadata(made)
    )


def _sets(wan: WanResource, named: Sequence[str]) -> list[str]:
    """The sets that are meant, each once; all that were built when none is named.

    Raises:
        ReleaseUsageError: none was built, or the prompt file of one that was is gone.
        PromptError: two files have one name, or a table cannot be read.
    """
    if named:
        return sorted(set(named))
    known = find_prompt_sets(wan.layout.prompts_dir)
    every = wan.layout.with_metadata
    built = [name for name in every if name in known]
    if gone := [name for name in every if name not in known]:
        raise _gone(gone, left=built, prompts_dir=wan.layout.prompts_dir)
    if not built:
        hopeless = [_without_rows(wan, name) for name in known]
        if hopeless and all(hopeless):
            raise ReleaseUsageError(f"{'; '.join(hopeless[:NAMED])}. Nothing was made")
        raise ReleaseUsageError(
            f"no prompt set of {wan.layout.prompts_dir} was built yet: `wan run` builds them."
            " Nothing was made"
        )
    return built


def _gone(sets: Sequence[str], *, left: Sequence[str], prompts_dir: Path) -> ReleaseUsageError:
    """That sets were built and cannot be released: a release says which file it came from."""
    one = len(sets) == 1
    was = "was built, but its file is" if one else "were built, but their files are"
    them = "it" if one else "them"
    otherwise = (
        f", or name the sets to release without {them}: `wan release create NAME"
        f" {shlex.join(left)}`"
    )
    return ReleaseUsageError(
        f"prompt set{'' if one else 's'} {', '.join(sets)} {was} no longer in {prompts_dir}. Put"
        f" {them} back{otherwise if left else ''}. Nothing was made"
    )


def _without_rows(wan: WanResource, prompt_set: str) -> str:
    """Why no row of a set can be built, and what to do; empty when one can, or nobody looked.

    Its run has said so before: who is sent back there goes round in a circle.
    """
    folder = wan.layout.tables(prompt_set)
    prompts, rejects = folder / PROMPTS_FILE, folder / REJECTS_FILE
    if not prompts.exists() or rows_in(prompts):
        return ""
    why = "it had no rows. Add at least one"
    if rows_in(rejects):
        why = f"every row was rejected, and {rejects} says why. Correct them"
    return (
        f"prompt set {prompt_set} has no usable row: when {wan.prompt_file(prompt_set)} was last"
        f" read, {why}, then `wan run {prompt_set}`"
    )


def _source(wan: WanResource, ledger: Ledger, prompt_set: str) -> SetSource:
    layout, prompt_file = wan.layout, wan.prompt_file(prompt_set)
    folder = layout.tables(prompt_set)
    requests = folder / REQUESTS_FILE
    if hopeless := _without_rows(wan, prompt_set):
        raise ReleaseUsageError(f"{hopeless}. Nothing was made")
    if not requests.exists() or not layout.metadata(prompt_set).exists():
        raise ReleaseUsageError(
            f"prompt set {prompt_set} was not built yet: `wan run {prompt_set}`. Nothing was made"
        )
    unfinished = unfinished_of(requests, ledger)
    missing = [
        MissingRequest(
            request_id=each.request_id,
            prompt_id=each.prompt_id,
            state=each.state,
            reason=each.reason,
        )
        for each in unfinished
    ]
    return SetSource(
        prompt_set=prompt_set,
        prompt_file=prompt_file,
        prompts=folder / PROMPTS_FILE,
        requests=requests,
        metadata=layout.metadata(prompt_set),
        quality=layout.quality(prompt_set),
        truncate=wan.truncate_prompts,
        rejections=rows_in(folder / REJECTS_FILE),
        images_short=standing_of(requests, ledger).images_short,
        missing=missing,
        next_steps={each.request_id: each.next_step for each in unfinished},
    )


def _circumstances(wan: WanResource) -> Circumstances:
    """Named one by one: a setting that is added later, a secret above all, is not in it."""
    account = wan.account
    return Circumstances(
        profile=account.name.value,
        code_version=__version__,
        price=Price(
            usd_per_image=account.price_usd,
            source=account.price_source,
            table_version=PRICE_TABLE_VERSION,
        ),
        settings={
            "model": account.model,
            "dialect": account.dialect,
            "request_form": wan.request_form,
            "base_seed": wan.base_seed,
            "truncate_prompts": wan.truncate_prompts,
        },
    )


def _metadata(made: CreatedRelease) -> dict[str, object]:
    manifest = made.manifest
    missing = [
        {"prompt_set": facts.name, **each.model_dump()}
        for facts in manifest.prompt_sets
        for each in facts.missing
    ]
    return {
        "release": manifest.reference,
        "new": int(made.new),
        "dagster/row_count": manifest.counts.images,
        "dagster/column_schema": ui.column_schema(RELEASE_IMAGES, LINEAGE),
        "dagster/column_lineage": ui.column_lineage(LINEAGE),
        **ui.further_table(
            "purchases",
            made.folder / PURCHASES_FILE,
            schema=PURCHASES,
            sources=PURCHASES_LINEAGE,
        ),
        **ui.further_table(
            "events", made.folder / EVENTS_FILE, schema=EVENTS, sources=EVENTS_LINEAGE
        ),
        "prompt_sets": ", ".join(facts.name for facts in manifest.prompt_sets),
        "prompts": manifest.counts.prompts,
        "requests": manifest.counts.requests,
        "image_files": manifest.counts.files,
        "image_bytes": manifest.counts.file_bytes,
        **{f"images_{side}": counts.images for side, counts in manifest.counts.by_split.items()},
        "images_flagged": manifest.counts.flagged,
        "images_not_checked": sum(manifest.unchecked.values()),
        "files_in_several_splits": manifest.counts.files_in_several_splits,
        "cost_usd": ui.money(manifest.cost.total_usd),
        "content_hash": manifest.hashes.content,
        "manifest_hash": manifest.hashes.manifest,
        "missing_requests": len(missing),
        "missing": ui.table_rows(missing),
        "folder": dg.MetadataValue.path(str(made.folder)),
    }
