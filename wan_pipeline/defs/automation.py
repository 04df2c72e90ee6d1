"""Jobs, schedules and the sensor. Everything is off until somebody switches it on.

Ticks have 60 seconds: they look at file names, times and sizes, the stored plan and the ledger, and
never open a prompt file.
"""

import dagster as dg

from wan_pipeline.defs.assets.exports import JOB as MAKE_EXPORTS
from wan_pipeline.defs.assets.images import NEVER_BUYS
from wan_pipeline.defs.assets.release import JOB as MAKE_RELEASE
from wan_pipeline.defs.assets.spend import LAST_EVENT
from wan_pipeline.defs.partitions import prompt_sets
from wan_pipeline.defs.resources import WanResource
from wan_pipeline.generation.planning import PLAN_FILE, Plan, standing_of
from wan_pipeline.ledger.review import unfinished
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.prompts.changes import change_key, changed_at_ns
from wan_pipeline.prompts.errors import UnreadablePromptFileError
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.prompts.sets import scan
from wan_pipeline.told import counted

__all__ = ["SPEND", "jobs", "schedules", "sensors"]

BUILT = dg.AssetSelection.assets("images", "image_metadata", "quality", "gallery")
# Has no partitions: in a run for one prompt set it ignores the set and covers them all.
SPEND = dg.AssetSelection.assets("spend")

build_dataset = dg.define_asset_job(
    "build_dataset",
    selection=dg.AssetSelection.assets("prompts", "plan") | BUILT | SPEND,
    description="Validate, plan, buy what is missing, and show one prompt set. Spends money.",
)
plan_only = dg.define_asset_job(
    "plan_only",
    selection=dg.AssetSelection.assets("prompts", "plan"),
    description="Validate and price one prompt set. Free.",
)
recover = dg.define_asset_job(
    "recover",
    selection=BUILT.without_checks() | SPEND,
    config={"ops": {"images": {"config": {"create": False}}}},
    tags=NEVER_BUYS,
    description="Poll and fetch what interrupted runs paid for. Never buys.",
)
publish = dg.define_asset_job(
    "publish",
    selection=dg.AssetSelection.assets("image_metadata", "quality", "gallery") | SPEND,
    description="Rebuild metadata, quality, gallery and spend page of one prompt set from what is"
    " stored. Free.",
)
report_spend = dg.define_asset_job(
    "report_spend",
    selection=SPEND,
    description="Export the ledger, draw the page about money, and check both. Free.",
)
RELEASE = dg.AssetSelection.assets("release")
# Making hashes every image already; the check that does it once more has a job of its own.
CHEAP_CHECK = dg.AssetSelection.checks(
    dg.AssetCheckKey(dg.AssetKey("release"), "no_image_on_two_sides")
)
make_release = dg.define_asset_job(
    MAKE_RELEASE,
    selection=RELEASE.without_checks() | CHEAP_CHECK,
    description="Fix prompt sets as the next version of a release; the run's configuration names"
    " both. Free.",
)
make_exports = dg.define_asset_job(
    MAKE_EXPORTS,
    selection=dg.AssetSelection.assets("exports"),
    description="Export a release for training; the run's configuration names it. Free.",
)
verify_releases = dg.define_asset_job(
    "verify_releases",
    selection=dg.AssetSelection.checks_for_assets(dg.AssetKey("release")),
    description="Hash every file of every release again. Free; reads every image.",
)
of_releases = [make_release, make_exports, verify_releases]
jobs = [build_dataset, plan_only, recover, publish, report_spend, *of_releases]


@dg.sensor(
    job=plan_only,
    minimum_interval_seconds=60,
    description="Registers new and changed prompt files and plans them. Free.",
)
def new_prompt_files(
    context: dg.SensorEvaluationContext, wan: WanResource
) -> dg.SensorResult | dg.SkipReason:
    """One partition and one free planning run per new or changed file."""
    folder = scan(wan.layout.prompts_dir)
    for problem in folder.problems:
        context.log.error(problem.message)
    known = set(context.instance.get_dynamic_partitions("prompt_set"))
    requests = [
        dg.RunRequest(run_key=f"{name}:{change_key(path)}", partition_key=name)
        for name, path in sorted(folder.sets.items())
    ]
    if not requests:
        return dg.SkipReason(f"no prompt file in {wan.layout.prompts_dir}")
    return dg.SensorResult(
        run_requests=requests,
        dynamic_partitions_requests=[
            prompt_sets.build_add_request(sorted(set(folder.sets) - known))
        ],
    )


@dg.schedule(
    job=plan_only,
    cron_schedule="30 1 * * *",
    execution_timezone="UTC",
    description="Plans every prompt set anew, so that prices and counts are of today. Free.",
)
def daily_plan(
    context: dg.ScheduleEvaluationContext, wan: WanResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """One planning run per registered set whose file is there."""
    sets = _registered(context, wan)
    return [_run(context, name) for name in sets] or dg.SkipReason(
        "no prompt set is registered: switch the sensor new_prompt_files on"
    )


@dg.schedule(
    job=build_dataset,
    cron_schedule="0 2 * * *",
    execution_timezone="UTC",
    description="Builds every prompt set with something left to buy or to fetch. Spends money.",
)
def nightly_build(
    context: dg.ScheduleEvaluationContext, wan: WanResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """One build per set with work; the reason for each set without."""
    requests: list[dg.RunRequest] = []
    reasons: list[str] = []
    for name in _registered(context, wan):
        reason = _nothing_to_do(wan, name)
        if reason is None:
            requests.append(_run(context, name))
        else:
            reasons.append(f"{name}: {reason}")
    return requests or dg.SkipReason("; ".join(reasons) or "no prompt set is registered")


@dg.schedule(
    job=recover,
    cron_schedule="0 * * * *",
    execution_timezone="UTC",
    description="Fetches what interrupted runs paid for, before its URLs die. Never buys.",
)
def hourly_recovery(
    context: dg.ScheduleEvaluationContext, wan: WanResource
) -> list[dg.RunRequest] | dg.SkipReason:
    """One recovery per set that has unfinished purchases.

    Each of them fetches everything, so what was bought by no set, reproductions above all, needs no
    recovery of its own unless there is no other.
    """
    registered = _registered(context, wan)
    with wan.ledger() as ledger:
        buyers = {purchase.bought_by_set for purchase in ledger.unfinished()}
    if not buyers:
        return dg.SkipReason("nothing is unfinished")
    sets = [name for name in registered if name in buyers] or registered[:1]
    return [_run(context, name) for name in sets] or dg.SkipReason(
        "no prompt set is registered; `wan reconcile` fetches what is unfinished"
    )


@dg.schedule(
    job=report_spend,
    cron_schedule="30 * * * *",  # after the hour's recovery
    execution_timezone="UTC",
    description="Draws the page about money anew when the ledger has changed or something is still"
    " to be fetched. Free.",
)
def hourly_spend(
    context: dg.ScheduleEvaluationContext, wan: WanResource
) -> dg.RunRequest | dg.SkipReason:
    """One report, unless it would say the same as the last one."""
    if not wan.settings().has_ledger:
        return dg.SkipReason("nothing was bought yet")
    last = context.instance.get_latest_materialization_event(dg.AssetKey("spend"))
    told = last.asset_materialization if last is not None else None
    with wan.ledger() as ledger, snapshot(ledger) as view:
        # What is unfinished comes nearer to its deadline, whether or not anything is written.
        if told is not None and not unfinished(view):
            shown = told.metadata.get(LAST_EVENT)
            if shown is not None and shown.value == view.last_event:
                return dg.SkipReason("nothing has happened since the last report")
    return dg.RunRequest(run_key=context.scheduled_execution_time.isoformat())


sensors = [new_prompt_files]
schedules = [daily_plan, nightly_build, hourly_recovery, hourly_spend]


def _registered(context: dg.ScheduleEvaluationContext, wan: WanResource) -> list[str]:
    """Sets that are partitions and whose file still is where it was."""
    files = scan(wan.layout.prompts_dir).sets
    known = context.instance.get_dynamic_partitions("prompt_set")
    return sorted(name for name in known if name in files)


def _run(context: dg.ScheduleEvaluationContext, name: str) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{name}:{context.scheduled_execution_time.isoformat()}", partition_key=name
    )


def _nothing_to_do(wan: WanResource, name: str) -> str | None:
    """Why a set needs no build, or None when it does."""
    folder = wan.layout.tables(name)
    if not ((folder / PLAN_FILE).exists() and (folder / REQUESTS_FILE).exists()):
        return "it has no plan yet; materialize `plan`, or switch the sensor on"
    try:
        plan = Plan.load(folder / PLAN_FILE)
        with wan.ledger() as ledger:
            standing = standing_of(folder / REQUESTS_FILE, ledger)
    except UnreadablePromptFileError:
        return (
            "its stored plan is damaged or of another version; plan it again: materialize `plan`,"
            f" switch daily_plan on, or run `wan plan {name}`"
        )
    if standing.in_flight:
        return None
    if wan.account.price_usd is None:
        return "its price is not known; set WAN_PRICE_USD"
    source = scan(wan.layout.prompts_dir).sets[name]
    if changed_at_ns(source) != plan.source_mtime_ns or standing.to_buy:
        return None
    left = standing.failed + standing.unknown + standing.lost
    verb = "needs" if left == 1 else "need"
    return f"{counted(left, 'request')} {verb} a person" if left else "everything is stored"
