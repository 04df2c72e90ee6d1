"""What an interrupted night leaves is fetched by the hourly schedule, which never buys."""

import os
from decimal import Decimal
from functools import partial
from pathlib import Path

from wan_pipeline.emulator.plan import EmulatorPlan, LatencyLaw
from wan_pipeline.ledger.intents import intend
from wan_pipeline.ledger.records import Intention, PurchaseKey
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator
from wan_pipeline_tests.pipeline.site import Site, settings_for
from wan_pipeline_tests.pipeline.ticks import NIGHT, names, tick
from wan_pipeline_tests.waiting import wait_for

SLOW = EmulatorPlan(
    latency=LatencyLaw(
        queue_max_s=0.05,
        service_median_s=2.5,
        service_sigma=0,
        prompt_extend_s=0,
        further_image_s=0,
    )
)


def test_leftovers_are_work_are_fetched_hourly_and_recovery_never_buys(tmp_path: Path) -> None:
    """A run gives up on slow tasks; the hour after fetches them and leaves the unbought alone."""
    with (
        RunningEmulator(tmp_path / "provider", SLOW) as provider,
        Site(
            tmp_path / "data",
            settings_for(tmp_path / "data", provider.base_url, task_patience_s=0.1),
        ) as site,
    ):
        site.write("set.csv", "prompt\none\ntwo\n")
        site.run("plan_only", "set")
        assert tick(site, "hourly_recovery") == ([], "nothing is unfinished")
        run = site.run("build_dataset", "set")
        assert run.outcome.failed_step == "gallery_every_request_stored"
        assert run.metadata["images"]["requests_failed"] == 2

        # Nothing is left to buy, but tasks are out there: the night counts them as work.
        assert names(tick(site, "nightly_build")[0]) == ["set"]
        (request,) = tick(site, "hourly_recovery")[0]
        assert request.partition_key == "set"
        assert site.defs.resolve_job_def("recover").tags["wan/buys"] == "never"
        assert request.run_config == {"ops": {"images": {"config": {"create": False}}}}

        # Something new to buy, which recovery must leave alone.
        site.write("set.csv", "prompt\none\ntwo\nthree\n")
        site.run("plan_only", "set")
        provider.set_plan(FAST)
        _wait_until_done(provider)
        recovered = site.run("recover", "set")
        assert recovered.outcome.success
        assert recovered.metadata["images"]["images_new"] == 2
        assert provider.bill()["creates_received"] == 2
        with site.ledger() as ledger:
            assert (ledger.spent(), ledger.reserved()) == (Decimal("0.06"), 0)
        assert tick(site, "hourly_recovery") == ([], "nothing is unfinished")

        # A launch that leaves the configuration out buys nothing either.
        job = site.defs.resolve_job_def("recover")
        bare = job.execute_in_process(
            instance=site.instance,
            partition_key="set",
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        )
        assert bare.success
        assert provider.bill()["creates_received"] == 2

        # The next build buys the third, and then there is nothing to do at night.
        assert site.run("build_dataset", "set").outcome.success
        assert provider.bill()["creates_received"] == 3
        assert tick(site, "nightly_build") == ([], "set: everything is stored")
        os.utime(site.layout.prompts_dir / "set.csv")
        assert names(tick(site, "nightly_build")[0]) == ["set"]


def test_what_a_reproduction_left_is_fetched_with_any_set(site: Site) -> None:
    """No partition has its name, and every recovery fetches everything."""
    site.write("set.csv", "prompt\none\n")
    intention = Intention(
        profile="emulator",
        request_id="r1",
        request="{}",
        n=1,
        price_usd=Decimal("0.03"),
        bought_by_set="reproduce/kites@v1/may",
        dialect="gateway",
        form="flat",
        code_version="test",
        reproduction=True,
    )
    with site.ledger() as ledger, ledger.owner("dead") as owner:
        change = partial(intend, intention=intention, owner=owner, now=NIGHT)
        assert isinstance(ledger.apply_now(change), PurchaseKey)
    requests, reason = tick(site, "hourly_recovery")
    assert (requests, "`wan reconcile` fetches" in reason) == ([], True)
    site.instance.add_dynamic_partitions("prompt_set", ["set"])
    assert names(tick(site, "hourly_recovery")[0]) == ["set"]


def _wait_until_done(provider: RunningEmulator) -> None:
    def done() -> bool:
        tasks = provider.bill()["tasks"]
        return not tasks["queued"] and not tasks["running"]

    wait_for(done, what="the end of the tasks", within_s=10)
