"""Checks of releases. They read and hash; nothing blocks and nothing is changed."""

from collections.abc import Iterator

import dagster as dg

from wan_pipeline.dataset.release.errors import DamagedReleaseError, ReleaseAccessError
from wan_pipeline.dataset.release.manifest import Manifest, read_manifest
from wan_pipeline.dataset.release.reference import every_version, release_names, versions_of
from wan_pipeline.dataset.release.tables import MANIFEST_FILE
from wan_pipeline.dataset.release.verify import verify_release
from wan_pipeline.defs import ui
from wan_pipeline.defs.resources import WanResource

__all__ = ["release_checks"]

WARN, ERROR = dg.AssetCheckSeverity.WARN, dg.AssetCheckSeverity.ERROR


@dg.asset_check(asset="release")
def releases_are_whole(wan: WanResource) -> dg.AssetCheckResult:
    """Every byte of every version of every release is as it was released."""
    folder = wan.layout.releases
    reports = [verify_release(folder, reference) for reference in every_version(folder)]
    differences = [
        {"release": report.reference, "file": each.path, "what": each.says}
        for report in reports
        for each in report.differences
    ]
    return dg.AssetCheckResult(
        passed=not differences,
        severity=ERROR,
        description=f"{len(reports)} versions were hashed again, {len(differences)} differences."
        " `wan release verify` tells the same, and what to do about it",
        metadata={
            "versions": len(reports),
            "differences": len(differences),
            "files": ui.table_rows(differences),
        },
    )


@dg.asset_check(asset="release")
def no_image_on_two_sides(wan: WanResource) -> dg.AssetCheckResult:
    """No image is both in train and in validation or test, under prompts with different ids."""
    found = [
        {"release": each.reference, "files": each.counts.files_in_several_splits}
        for each in _newest(wan)
        if each.counts.files_in_several_splits
    ]
    return dg.AssetCheckResult(
        passed=not found,
        severity=WARN,
        description=f"{len(found)} releases have an image on several sides of the split: give"
        " prompts that share a request one id, or leave all but one of them out",
        metadata={"releases": ui.table_rows(found)},
    )


def _newest(wan: WanResource) -> Iterator[Manifest]:
    """The newest version of each release; a damaged one is the other check's business."""
    folder = wan.layout.releases
    for name in release_names(folder):
        version = versions_of(folder, name)[-1]
        try:
            yield read_manifest(folder / name / f"v{version}" / MANIFEST_FILE)
        except (DamagedReleaseError, ReleaseAccessError):
            continue


release_checks = [releases_are_whole, no_image_on_two_sides]
