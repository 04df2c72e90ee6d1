"""`spend` in real runs: refreshed by every build, covering all sets, with checks that tell."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import dagster as dg
import pyarrow.parquet as pq
import pytest
import sqlalchemy as sa

from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.database import open_database
from wan_pipeline.ledger.schema import UNREADABLE_COST
from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.ledger.entries import Book, event_row, purchase_row
from wan_pipeline_tests.pipeline.site import Site, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from wan_pipeline.settings import Settings
    from wan_pipeline_tests.pipeline.conftest import Built

PLAN = EmulatorPlan(
    speed_up=1000,
    faults=(
        Fault(kind=FaultKind.ERROR_500_AFTER, prompt_contains="doubtful"),
        Fault(kind=FaultKind.TASK_FAILED_BILLED, prompt_contains="dear"),
    ),
)
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
HALF_PAST = datetime(2026, 1, 2, 2, 30, tzinfo=UTC)
GOOD = {
    "no_unknowns": True,
    "nothing_about_to_expire": True,
    "ledger_agrees_with_files": True,
    "reported_cost_is_the_price": True,
    "spend_within_budget": True,
}


@dataclass(frozen=True)
class Report:
    """A run of the job `report_spend`, without a prompt set."""

    metadata: dict[str, object]
    checks: dict[str, dg.AssetCheckEvaluation]

    @property
    def passed(self) -> dict[str, bool]:
        """Which checks did."""
        return {name: check.passed for name, check in self.checks.items()}


def report(site: Site, settings: Settings | None = None) -> Report:
    """Run the job as the schedule does."""
    if settings is not None:
        site = _with_settings(site, settings)
    job = site.defs.resolve_job_def("report_spend")
    result = job.execute_in_process(instance=site.instance, run_config=QUIET)
    assert result.success
    (made,) = result.asset_materializations_for_node("spend")
    return Report(
        {name: entry.value for name, entry in made.metadata.items()},
        {each.check_name: each for each in result.get_asset_check_evaluations()},
    )


def _with_settings(site: Site, settings: Settings) -> Site:
    """The same folder and instance under other settings."""
    other = Site(site.folder, settings)
    other.instance = site.instance
    return other


def tick(site: Site) -> tuple[list[dg.RunRequest], str]:
    """One tick of the schedule as the daemon evaluates it."""
    with dg.build_schedule_context(
        instance=site.instance,
        scheduled_execution_time=HALF_PAST,
        resources=site.resources,
        repository_def=site.defs.get_repository_def(),
    ) as context:
        data = site.defs.resolve_schedule_def("hourly_spend").evaluate_tick(context)
    return list(data.run_requests or []), data.skip_message or ""


# --- what a build leaves ---


def test_a_build_of_one_set_leaves_the_tables_and_the_page(built: Built) -> None:
    """Of the whole ledger, whatever the run was for; the page opens from where it lies."""
    folder = built.site.layout.spend
    purchases = pq.read_table(folder / "purchases.parquet")
    assert sum(purchases["cost_usd"].to_pylist()) == Decimal("0.21")
    assert pq.read_metadata(folder / "images.parquet").num_rows == 7
    assert pq.read_metadata(folder / "events.parquet").num_rows > 20
    told = built.first.metadata["spend"]
    assert told["page"] == str(folder / "index.html")
    assert "open" not in told  # nobody serves it
    assert "$0.21" in (folder / "index.html").read_text("utf-8")
    assert "| small | $0.21 | $0.00 | 5 | 0 |" in told["preview"]
    assert len(told["preview"]) < 1000


def test_the_page_is_there_when_nothing_was_bought(site: Site) -> None:
    """A report before the first build is empty and all its checks pass."""
    made = report(site)
    assert made.metadata["dagster/row_count"] == 0
    assert made.metadata["spent_usd"] == 0.0
    assert made.passed == GOOD
    assert "Nothing was bought yet" in (site.layout.spend / "index.html").read_text("utf-8")


def test_which_jobs_refresh_it() -> None:
    """Every one that may have changed the ledger, and the one that does nothing else."""
    from wan_pipeline.definitions import defs  # noqa: PLC0415

    def steps(job: str) -> set[str]:
        return {node.name for node in defs.resolve_job_def(job).all_node_defs}

    for job in ("build_dataset", "recover", "publish", "report_spend"):
        assert "spend" in steps(job), job
        assert "spend_no_unknowns" in steps(job), job
    assert "spend" not in steps("plan_only")
    assert not any("every_request_stored" in step for step in steps("recover"))
    assert {step for step in steps("report_spend") if "spend" not in step} <= {"report_spend"}


# --- what goes wrong ---


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A set of four: two stored, one create without a clear answer, one billed for nothing."""
    folder = tmp_path_factory.mktemp("troubled")
    with (
        RunningEmulator(folder / "provider", PLAN) as provider,
        Site(folder / "data", settings_for(folder / "data", provider.base_url)) as site,
    ):
        site.write("水墨.csv", "prompt\na kite\na boat\na doubtful one\na dear one\n")
        run = site.run("build_dataset", "水墨")
        assert run.outcome.failed_step == "gallery_every_request_stored"
        assert run.metadata["spend"]["unknown"] == 1
        yield site


def test_unknowns_and_surprising_costs_warn_and_do_not_stop(troubled: Site) -> None:
    """The figures, the preview and the page agree; the report is there all the same."""
    made = report(troubled)
    assert made.passed == {**GOOD, "no_unknowns": False, "reported_cost_is_the_price": False}
    assert made.metadata["reserved_usd"] == pytest.approx(0.03)
    assert made.metadata["purchases_unknown"] == 1
    assert made.metadata["purchases_failed"] == 1
    unknown = made.checks["no_unknowns"]
    assert unknown.severity is dg.AssetCheckSeverity.WARN
    assert "0.03 USD" in (unknown.description or "")
    assert "wan ledger adopt" in (unknown.description or "")
    (row,) = unknown.metadata["purchases"].value.records
    assert (row.data["set"], row.data["prompt"]) == ("水墨", "a doubtful one")
    dear = made.checks["reported_cost_is_the_price"]
    assert dear.severity is dg.AssetCheckSeverity.WARN
    assert dear.metadata["surplus_usd"].value == pytest.approx(0.03)
    page = (troubled.layout.spend / "index.html").read_text("utf-8")
    assert row.data["request_id"] in page
    assert "a doubtful one" in page


def test_a_cost_that_cannot_be_read_warns_and_is_shown(site: Site) -> None:
    """As it was reported, and with what counts instead."""
    with Book(site.layout.ledger) as book:
        book.add(
            [purchase_row("odd", cost_source="unreadable")],
            events=[event_row("odd", to_state="succeeded", detail=f"{UNREADABLE_COST}0,50")],
        )
    dear = report(site).checks["reported_cost_is_the_price"]
    assert (dear.passed, dear.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "cannot be read: 1. The price counts there" in (dear.description or "")
    assert dear.metadata["unreadable"].value == 1
    (row,) = dear.metadata["purchases"].value.records
    assert row.data["reported_usd"] == "0,50"


def test_a_missing_file_is_an_error_until_it_is_back(troubled: Site) -> None:
    """So is a file that was cut; one that no row knows is counted and forgiven."""
    with troubled.ledger() as ledger:
        paths = [
            troubled.layout.root / (record.path or "")
            for records in ledger.images().values()
            for record in records
            if record.state == "stored"
        ]
    gone, cut = paths
    kept = {path: path.read_bytes() for path in paths}
    gone.unlink()
    cut.write_bytes(b"x")
    stray = gone.with_name("stray.png")
    stray.write_bytes(b"stray")
    made = report(troubled).checks["ledger_agrees_with_files"]
    assert (made.passed, made.severity) == (False, dg.AssetCheckSeverity.ERROR)
    counts = {
        name: made.metadata[name].value for name in ("missing", "wrong_length", "unknown_files")
    }
    assert counts == {"missing": 1, "wrong_length": 1, "unknown_files": 1}
    named = {record.data["path"] for record in made.metadata["disagreements"].value.records}
    assert named == {path.relative_to(troubled.layout.root).as_posix() for path in paths}
    for path, data in kept.items():
        path.write_bytes(data)
    made = report(troubled).checks["ledger_agrees_with_files"]
    assert made.passed
    assert made.metadata["unknown_bytes"].value == len(b"stray")
    stray.unlink()


def test_caps_that_were_passed_are_an_error(troubled: Site) -> None:
    """Lowered after the money was spent, the cap is passed by what the check and the page say."""
    lower = troubled.settings.model_copy(update={"budget_set_usd": Decimal("0.05")})
    made = report(troubled, lower)
    check = made.checks["spend_within_budget"]
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.ERROR)
    (row,) = check.metadata["caps"].value.records
    assert (row.data["of"], row.data["left_usd"]) == ("水墨", "-0.07")
    assert "240 %" in (troubled.layout.spend / "index.html").read_text("utf-8")
    enough = troubled.settings.model_copy(update={"budget_total_usd": Decimal("0.12")})
    assert report(troubled, enough).checks["spend_within_budget"].passed


def test_a_deadline_that_comes_near_warns(troubled: Site) -> None:
    """Two hours before the results of a day die, and not three."""
    for left, passes in ((timedelta(hours=3), True), (timedelta(hours=1), False)):
        _set_unfinished(troubled, deadline=datetime.now(UTC) + left)
        check = report(troubled).checks["nothing_about_to_expire"]
        assert check.passed is passes
        assert check.metadata["unfinished"].value == 1
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert "recover" in (check.description or "")
    _set_unfinished(troubled, deadline=None)


def _set_unfinished(site: Site, *, deadline: datetime | None) -> None:
    """Make the purchase that failed one that is still at the provider, or failed again."""
    purchases = schema.purchases
    values = {"state": "failed" if deadline is None else "submitted", "deadline_at": deadline}
    reader, writer = open_database(site.layout.ledger)
    with writer.begin() as connection:
        connection.execute(
            sa.update(purchases).where(purchases.c.request.contains("a dear one")).values(**values)
        )
    reader.dispose()
    writer.dispose()


# --- the schedule ---


def test_the_hour_reports_only_what_is_new(tmp_path: Path) -> None:
    """Nothing bought, something bought, nothing since, something still out there."""
    with (
        RunningEmulator(tmp_path / "provider") as provider,
        Site(tmp_path / "data", settings_for(tmp_path / "data", provider.base_url)) as site,
    ):
        assert tick(site) == ([], "nothing was bought yet")
        site.write("set.csv", "prompt\na dear one\n")
        site.run("build_dataset", "set")
        assert tick(site) == ([], "nothing has happened since the last report")
        site.write("more.csv", "prompt\na boat\n")
        site.run("build_dataset", "more")
        assert tick(site)[0] == []  # that build has reported already
        site.instance.wipe_assets([dg.AssetKey("spend")])
        (request,) = tick(site)[0]
        assert request.partition_key is None
        assert site.defs.resolve_schedule_def("hourly_spend").job_name == "report_spend"
        assert report(site).metadata["dagster/row_count"] == 2
        assert tick(site)[0] == []
        _set_unfinished(site, deadline=datetime.now(UTC) + timedelta(days=1))
        assert len(tick(site)[0]) == 1
