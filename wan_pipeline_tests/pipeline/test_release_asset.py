"""The asset `release` in a real instance, and what every table tells about its columns."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import dagster as dg
import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.release.reader import open_release
from wan_pipeline.dataset.release.reference import versions_of
from wan_pipeline.dataset.release.verify import verify_release
from wan_pipeline.definitions import build_defs
from wan_pipeline.defs.assets.release import release as release_asset
from wan_pipeline.defs.launch import run_job
from wan_pipeline_tests.pipeline.site import Run

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from wan_pipeline_tests.pipeline.conftest import Built
    from wan_pipeline_tests.pipeline.site import Site

SAID = re.compile(r"(^|; )from ")
COLUMN_SCHEMA, COLUMN_LINEAGE = "dagster/column_schema", "dagster/column_lineage"


def run_release(site: Site, **config: Any) -> Run:
    """Run the job with a configuration, as the launchpad and `wan` do."""
    return run_configured(site, "make_release", "release", config)


def run_configured(site: Site, job: str, asset: str, config: dict[str, Any]) -> Run:
    """Run a job whose one asset takes a configuration."""
    outcome = run_job(site.defs, site.instance, job, ops={asset: config})
    logged = site.instance.all_logs(outcome.run_id)
    return Run(outcome, [each.dagster_event for each in logged if each.dagster_event is not None])


@dataclass(frozen=True)
class Made:
    """A release of the built set, and the runs that made it and would have made it again."""

    first: Run
    second: Run


@pytest.fixture(scope="session")
def made(built: Built) -> Made:
    """`toys@v1`."""
    return Made(
        run_release(built.site, name="toys", sets=["small"]),
        run_release(built.site, name="toys", split="90/5/5"),
    )


def test_the_asset_makes_a_release_and_tells_about_it(built: Built, made: Made) -> None:
    """Counts, cost, hashes and columns are what the UI shows."""
    assert made.first.outcome.success, made.first.outcome
    told = made.first.metadata["release"]
    release = open_release(built.site.layout.releases, "toys")
    assert told["release"] == "toys@v1" == release.reference
    assert (told["new"], told["dagster/row_count"], told["image_files"]) == (1, 9, 7)
    assert told["images_not_checked"] == 0
    assert told["cost_usd"] == pytest.approx(float(built.bill["usd"]))
    assert str(release.manifest.cost.total_usd) == str(built.bill["usd"]).rstrip("0")
    assert told["manifest_hash"] == release.manifest.hashes.manifest
    assert told["content_hash"] == release.manifest.hashes.content
    assert made.first.data_versions["release"] == told["manifest_hash"]
    assert verify_release(built.site.layout.releases, "toys").whole


def test_the_manifest_names_the_prompt_rows_by_the_assets_data_version(
    built: Built, made: Made
) -> None:
    """So that a release can be held against the asset graph."""
    (facts,) = open_release(built.site.layout.releases, "toys").manifest.prompt_sets
    assert facts.rows_version == built.first.data_versions["prompts"]
    assert (facts.file, facts.prompts, facts.requests, facts.images) == ("small.csv", 5, 5, 9)


def test_released_again_the_run_succeeds_and_makes_nothing(built: Built, made: Made) -> None:
    """The same split in other words is the same split."""
    told = made.second.metadata["release"]
    assert (told["new"], told["release"]) == (0, "toys@v1")
    assert versions_of(built.site.layout.releases, "toys") == [1]
    assert made.second.data_versions == made.first.data_versions


def test_no_secret_is_in_a_release(built: Built, made: Made) -> None:
    """Settings are named one by one; the base URL is not among them."""
    text = (built.site.layout.releases / "toys/v1/manifest.json").read_text()
    assert built.site.settings.base_url is not None
    assert built.site.settings.base_url not in text
    assert str(built.site.folder) not in text


def test_checks_hash_again_and_look_at_the_split(built: Built, made: Made) -> None:
    """Twins share images: with the split's luck they are on one side or the check says so."""
    release = open_release(built.site.layout.releases, "toys")
    cheap = made.first.checks
    assert cheap.keys() == {"no_image_on_two_sides"}
    shared = release.manifest.counts.files_in_several_splits
    assert cheap["no_image_on_two_sides"].passed == (shared == 0)
    assert verified(built.site)
    path = release.folder / "events.parquet"
    data = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(data[:-1] + b"x")
    assert not verified(built.site)
    path.write_bytes(data)
    assert verified(built.site)


def verified(site: Site) -> bool:
    """Whether the check of the job `verify_releases` passes."""
    outcome = run_job(site.defs, site.instance, "verify_releases")
    assert outcome.success, outcome
    logged = site.instance.all_logs(outcome.run_id)
    events = [each.dagster_event for each in logged if each.dagster_event is not None]
    checks = Run(outcome, events).checks
    assert checks.keys() == {"releases_are_whole", "no_image_on_two_sides"}
    return checks["releases_are_whole"].passed


def test_the_job_without_a_name_fails_and_the_graph_without_one_goes_on(built: Built) -> None:
    """Materializing everything must not make a version, and must not fail for want of a name."""
    failed = run_release(built.site)
    assert not failed.outcome.success
    assert "names no release" in failed.outcome.error
    result = dg.materialize(
        [release_asset], resources=dict(built.site.resources), instance=built.site.instance
    )
    assert result.success
    assert list(result.get_asset_materialization_events()) == []


def test_every_table_tells_its_columns_and_where_they_come_from(built: Built, made: Made) -> None:
    """Of all assets that there are, whoever adds one, and all their tables.

    Every origin is a column of an asset that this one depends on; a column without one says in
    its description where it comes from.
    """
    exported = run_configured(built.site, "make_exports", "exports", {"release": "toys"})
    told = {**built.first.metadata, **made.first.metadata, **exported.metadata}
    specs = {
        spec.key.to_user_string(): spec
        for spec in build_defs(built.site.settings).resolve_all_asset_specs()
    }
    del specs["drift"]  # buys; `test_canary` looks at its columns
    assert told.keys() == specs.keys()
    columns = {
        name: {column.name for column in metadata[COLUMN_SCHEMA].columns}
        for name, metadata in told.items()
    }
    tables = 0
    for name, spec in specs.items():
        above = {dep.asset_key.to_user_string() for dep in spec.deps}
        for schema, linked in tables_of(told[name]):
            tables += 1
            assert linked.keys() <= {column.name for column in schema.columns}
            assert origins_missing(schema, linked) == [], name
            for column, origins in linked.items():
                for origin in origins:
                    asset = origin.asset_key.to_user_string()
                    assert asset in above, (name, column)
                    assert origin.column_name in columns[asset], (name, column, origin)
    # rejects; pairs, elsewhere, outcomes; images, events; purchases, events; index
    assert tables == len(specs) + 9


def tables_of(metadata: dict[str, Any]) -> Iterator[tuple[dg.TableSchema, dict[str, Any]]]:
    """Columns of every table an asset tells of, and where they come from."""
    for key, schema in metadata.items():
        if key.endswith("column_schema"):
            linked = metadata.get(key.removesuffix("schema") + "lineage")
            yield schema, dict(linked.deps_by_column) if linked else {}


def origins_missing(schema: dg.TableSchema, linked: Collection[str]) -> list[str]:
    """Columns of which neither a link nor a word says where they come from."""
    return [
        column.name
        for column in schema.columns
        if column.name not in linked and not SAID.search(column.description or "")
    ]


def test_the_columns_told_are_the_columns_of_the_file(built: Built, made: Made) -> None:
    """In their order."""
    schema = made.first.metadata["release"][COLUMN_SCHEMA]
    file = pq.read_schema(built.site.layout.releases / "toys/v1/images.parquet")
    assert [column.name for column in schema.columns] == file.names
    assert all(column.description for column in schema.columns)


@pytest.mark.parametrize("name", ["purchases", "events"])
def test_the_ledgers_rows_in_a_release_tell_their_columns_and_their_origin(
    built: Built, made: Made, name: str
) -> None:
    """As in the file; what links to the metadata has the values that stand there."""
    told = made.first.metadata["release"]
    table = pq.read_table(told[name])
    schema, lineage = told[f"{name}_column_schema"], told[f"{name}_column_lineage"]
    assert [column.name for column in schema.columns] == table.schema.names
    assert origins_missing(schema, lineage.deps_by_column) == []
    above = pq.read_table(built.site.layout.metadata("small"))
    assert "request_id" in lineage.deps_by_column
    for column, (origin,) in lineage.deps_by_column.items():
        assert origin.asset_key == dg.AssetKey("image_metadata")
        assert values_of(table, column) == values_of(above, origin.column_name), column


def values_of(table: Any, column: str) -> set[tuple[str, Any]]:
    """The different values of a column, with the request they are of."""
    return set(zip(table["request_id"].to_pylist(), table[column].to_pylist(), strict=True))


def test_the_index_of_every_export_tells_its_columns_and_their_origin(
    built: Built, made: Made
) -> None:
    """Its `path` is a place in the export, and not the path that the release has."""
    config = {"release": "toys", "format": "all"}
    told = run_configured(built.site, "make_exports", "exports", config).metadata["exports"]
    above = pq.read_table(built.site.layout.releases / "toys/v1/images.parquet")
    for layout in ("parquet", "imagefolder", "webdataset"):
        table = pq.read_table(told[f"index_{layout}"])
        schema = told[f"index_{layout}_column_schema"]
        lineage = told[f"index_{layout}_column_lineage"].deps_by_column
        assert [column.name for column in schema.columns] == table.schema.names
        assert origins_missing(schema, lineage) == []
        assert set(table.schema.names) - set(lineage) == {"path", "member", "row"}
        for column in ("image_id", "request_id", "image_index", "split"):
            (origin,) = lineage[column]
            assert origin.asset_key == dg.AssetKey("release")
            assert values_of(table, column) == values_of(above, origin.column_name)
