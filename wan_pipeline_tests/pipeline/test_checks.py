"""Checks that a healthy provider never fails, and checks run by themselves."""

from collections.abc import Iterator

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.pipeline.site import Site, settings_for


@pytest.fixture(scope="module")
def dear(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Two images, planned at 2 cents and billed at 3."""
    folder = tmp_path_factory.mktemp("dear")
    with (
        RunningEmulator(folder / "provider") as provider,
        Site(
            folder / "data", settings_for(folder / "data", provider.base_url, price_usd="0.02")
        ) as site,
    ):
        site.write("dear.csv", "prompt,prompt_extend\none,false\ntwo,false\n")
        assert site.run("build_dataset", "dear").outcome.success  # tests come in any order
        yield site


def recheck(site: Site, asset: str) -> dict[str, bool]:
    """Run only the checks of one asset, as a person may in the UI."""
    defs = dg.Definitions.merge(
        site.defs,
        dg.Definitions(
            jobs=[
                dg.define_asset_job(
                    "recheck", selection=dg.AssetSelection.checks_for_assets(dg.AssetKey(asset))
                )
            ]
        ),
    )
    result = defs.resolve_job_def("recheck").execute_in_process(
        instance=site.instance,
        tags={"dagster/partition": "dear"},
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
    )
    return {each.check_name: each.passed for each in result.get_asset_check_evaluations()}


def test_a_provider_that_bills_more_than_planned_is_told(dear: Site) -> None:
    """The check names the purchases and both sums; the images are there all the same."""
    run = dear.run("build_dataset", "dear")
    assert run.outcome.success
    check = run.checks["cost_is_within_plan"]
    assert not check.passed
    assert check.metadata["paid_usd"].value == pytest.approx(0.06)
    assert check.metadata["planned_usd"].value == pytest.approx(0.04)
    assert len(check.metadata["dearer"].value.records) == 2
    told = {"cost_is_within_plan", "reported_cost_is_the_price"}
    assert {name for name, each in run.checks.items() if not each.passed} == told


def test_one_image_under_two_requests_is_told(dear: Site) -> None:
    """A provider that hands out the same bytes twice was paid twice for one image."""
    assert recheck(dear, "image_metadata")["no_duplicate_images"]
    path = dear.layout.metadata("dear")
    table = pq.read_table(path)
    alike = pa.array([table["image_id"][0].as_py()] * table.num_rows)
    position = table.schema.get_field_index("image_id")
    pq.write_table(table.set_column(position, table.schema.field(position), alike), path)
    checks = recheck(dear, "image_metadata")
    assert not checks["no_duplicate_images"]
    assert checks["image_count_is_sum_of_n"]


def test_checks_run_alone(dear: Site) -> None:
    """A person can repeat the last check without building anything."""
    assert recheck(dear, "gallery") == {"every_request_stored": True}
