"""Assets that need a release to be named: without one they do nothing, or say what is missing."""

import dagster as dg

from wan_pipeline.dataset.release.errors import ReleaseUsageError

__all__ = ["is_named"]


def is_named(
    context: dg.AssetExecutionContext, release: str, *, job: str, field: str, otherwise: str
) -> bool:
    """Whether the run's configuration names a release; if not, the asset makes nothing.

    Materializing the whole graph must make no version, no export and no purchase. In the asset's
    own job a missing name can only have been forgotten.

    Args:
        context: of the asset.
        release: what the configuration says.
        job: the asset's own job.
        field: the field of the configuration that names the release.
        otherwise: what is true without a name, as in ``nothing was exported``.

    Raises:
        ReleaseUsageError: it names none, and the run is one of the asset's own job.
    """
    if release:
        return True
    missing = f"{otherwise}: the run's configuration names no release"
    if context.run.job_name == job:
        asset = context.asset_key.to_user_string()
        raise ReleaseUsageError(f"{missing}. Write it under ops: {asset}: config: {field}")
    context.log.info(missing)
    return False
