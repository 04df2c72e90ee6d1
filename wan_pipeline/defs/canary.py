"""The job that reproduces a release, and the weekly canary, off until it is switched on."""

import dagster as dg

from wan_pipeline.dataset.release.errors import ReleaseError
from wan_pipeline.dataset.release.reader import locate_release
from wan_pipeline.dataset.reproduction.naming import label_of
from wan_pipeline.defs.assets.drift import JOB
from wan_pipeline.defs.automation import SPEND
from wan_pipeline.defs.resources import WanResource

__all__ = ["canary_jobs", "canary_schedules"]

reproduce = dg.define_asset_job(
    JOB,
    selection=dg.AssetSelection.assets("drift") | SPEND,
    description="Buy a sample of a release's requests once more and compare, and show what it has"
    " cost; the run's configuration names the release. Spends money.",
)
canary_jobs = [reproduce]


@dg.schedule(
    job=reproduce,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    description="Buys a few requests of the release WAN_CANARY_RELEASE once more, so that a silent"
    " change of the provider's model fails a check. Spends money.",
)
def weekly_canary(
    context: dg.ScheduleEvaluationContext, wan: WanResource
) -> dg.RunRequest | dg.SkipReason:
    """One reproduction a week, labelled with its day; tried again, it buys nothing twice."""
    if not wan.canary_release:
        return dg.SkipReason(
            "no canary is set: make a release of a small set whose rows have prompt_extend false,"
            " then set WAN_CANARY_RELEASE to its name"
        )
    try:
        name, version, _ = locate_release(wan.layout.releases, wan.canary_release)
    except ReleaseError as error:
        return dg.SkipReason(f"WAN_CANARY_RELEASE: {error}")
    if wan.account.price_usd is None:
        return dg.SkipReason("the price is not known; set WAN_PRICE_USD")
    config = {
        "release": f"{name}@v{version}",
        "sample": str(wan.canary_sample),
        "label": label_of(context.scheduled_execution_time),
    }
    return dg.RunRequest(
        run_key=f"{config['release']}:{config['label']}",
        run_config={"ops": {"drift": {"config": config}}},
    )


canary_schedules = [weekly_canary]
