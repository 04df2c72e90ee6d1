"""`quality` in real runs: what is flagged is told by checks that link to it; nothing is removed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.quality.cache import MeasurementCache
from wan_pipeline.dataset.quality.measure import Measurement
from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.pipeline.quality_pages import outcomes_with, section_of
from wan_pipeline_tests.pipeline.site import Run, Site, supplied

MIXED = """\
prompt_id,prompt,n,watermark
a-good,a quiet harbour,2,
b-marked,a marked hill,1,true
c-forbidden,a forbidden scene,1,
d-half,a half moon,2,
"""
ALIKE = Measurement(phash=0xF0F0, contrast=1.0, corner_contrast=1.0)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Run]]:
    """Four prompts, one rejected by moderation, one an image short, and the run that built them."""
    folder = tmp_path_factory.mktemp("mixed")
    forbidden = Fault(kind=FaultKind.MODERATION_FAILED, prompt_contains="forbidden")
    short = Fault(kind=FaultKind.MISSING_IMAGES, prompt_contains="half", amount=1)
    with supplied(folder, forbidden, short) as (site, _):
        site.write("mixed.csv", MIXED)
        built = site.run("build_dataset", "mixed")
        shutil.copy(site.layout.metadata("mixed"), as_built(site))
        yield site, built


def as_built(site: Site) -> Path:
    """A copy of the set's metadata that no test changes."""
    return site.folder.parent / "as-built.parquet"


def publish(site: Site, **changes: Any) -> Run:
    """Run `publish` under other settings."""
    changed = Site(site.folder, site.settings.model_copy(update=changes))
    changed.instance = site.instance
    run = changed.run("publish", "mixed")
    assert run.outcome.failed_step == "gallery_every_request_stored"  # of the forbidden one
    return run


def ids_of(site: Site) -> list[str]:
    """Image ids of the set."""
    return sorted({row["image_id"] for row in site.rows("mixed")})


def test_moderated_prompts_and_prompts_without_an_image_are_told(mixed: tuple[Site, Run]) -> None:
    """Counts to plot, the rows, and a link to where they are shown."""
    checks = mixed[1].checks
    moderated, absent = checks["no_moderation_failures"], checks["every_prompt_has_an_image"]
    assert not moderated.passed
    assert moderated.severity is dg.AssetCheckSeverity.WARN
    assert moderated.metadata["moderated_requests"].value == 1
    assert not absent.passed
    assert absent.severity is dg.AssetCheckSeverity.ERROR  # no run will bring it by itself
    assert absent.metadata["prompts_without_image"].value == 1
    for check in (moderated, absent):
        (row,) = check.metadata["rows"].value.records
        assert row.data["prompt_id"] == "c-forbidden"
        assert "c-forbidden" in section_of(check)
        (linked,) = outcomes_with(Path(check.metadata["table"].value), "never_produced")
        assert linked["request_id"] == row.data["request_id"]


def test_pages_are_links_where_they_are_served(mixed: tuple[Site, Run]) -> None:
    """Of checks and assets; below the address that is set, whatever the set is called."""
    site, built = mixed
    told = built.metadata
    assert "open" not in told["quality"]
    assert told["quality"]["page"] == str(site.layout.quarantine("mixed"))
    assert told["gallery"]["runs"] == str(site.layout.gallery("mixed") / "report.html")
    run = publish(site, pages_url="https://data.example/wan")
    pages = "https://data.example/wan"
    link = run.checks["no_moderation_failures"].metadata["page"]
    assert isinstance(link, dg.UrlMetadataValue)
    assert link.value == f"{pages}/quality/mixed.html#moderation_failed"
    assert run.metadata["quality"]["open"] == f"{pages}/quality/mixed.html"
    assert run.metadata["gallery"]["open"] == f"{pages}/gallery/mixed/index.html"
    assert run.metadata["gallery"]["runs"] == f"{pages}/gallery/mixed/report.html"
    assert run.metadata["quality"]["page"] == str(site.layout.quarantine("mixed"))


@pytest.mark.parametrize(
    ("check", "variable"),
    [
        ("images_differ", "WAN_NEAR_DUPLICATES_ALLOWED"),
        ("images_are_not_blank", "WAN_BLANK_ALLOWED"),
        ("sizes_are_as_requested", "WAN_WRONG_SIZE_ALLOWED"),
        ("image_count_is_sum_of_n", "WAN_MISSING_IMAGES_ALLOWED"),
        ("watermarks_are_where_asked_for", "WAN_UNMARKED_ALLOWED"),
        ("no_moderation_failures", "WAN_MODERATED_ALLOWED"),
        ("every_prompt_has_an_image", "WAN_WITHOUT_IMAGE_ALLOWED"),
    ],
)
def test_a_check_names_its_threshold(mixed: tuple[Site, Run], check: str, variable: str) -> None:
    """And the variable that sets it, which is there; nothing is allowed before somebody says so."""
    assert variable.removeprefix("WAN_").lower() in type(mixed[0].settings).model_fields
    said = mixed[1].checks[check].description or ""
    assert said.endswith(f"; 0% are allowed ({variable})")


def test_every_request_has_a_row_also_without_an_image(mixed: tuple[Site, Run]) -> None:
    """What no image row can tell, with the provider's code and words; columns and lineage told."""
    site, built = mixed
    table = site.layout.quality_outcomes("mixed")
    rows = pq.read_table(table).to_pylist()
    assert [(row["prompt_id"], row["n"], row["images_stored"], row["state"]) for row in rows] == [
        ("a-good", 2, 2, "stored"),
        ("b-marked", 1, 1, "stored"),
        ("c-forbidden", 1, 0, "failed"),
        ("d-half", 2, 1, "stored"),
    ]
    assert [row["flags"] for row in rows] == [
        [],
        [],
        ["moderation_failed", "never_produced"],
        ["fewer_than_n"],
    ]
    (forbidden,) = outcomes_with(table, "moderation_failed")
    assert forbidden["error_kind"] == "moderation"
    assert forbidden["error_code"]
    assert forbidden["error_message"]
    told = built.metadata["quality"]
    counts = ("requests", "moderated_requests", "prompts_without_image")
    assert [told[name] for name in counts] == [4, 1, 1]
    assert told["requests_with_fewer_than_n"] == 1


@pytest.mark.parametrize("name", ["pairs", "elsewhere", "outcomes"])
def test_every_further_table_tells_its_columns_and_their_origin(
    mixed: tuple[Site, Run], name: str
) -> None:
    """As in the file; each origin is a column of an asset that this one reads."""
    site, built = mixed
    told = built.metadata["quality"]
    columns = [column.name for column in told[f"{name}_column_schema"].columns]
    assert columns == pq.read_schema(told[name]).names
    lineage = told[f"{name}_column_lineage"].deps_by_column
    from_the_ledger = {"attempt", "state", "reason", "next_step"}
    from_the_ledger |= {"error_kind", "error_code", "error_message"}
    assert set(columns) - set(lineage) <= from_the_ledger
    parents = site.defs.resolve_asset_graph().get(dg.AssetKey("quality")).parent_keys
    for origin in (each for origins in lineage.values() for each in origins):
        assert origin.asset_key in parents
        above = built.metadata[origin.asset_key.to_user_string()]["dagster/column_schema"]
        assert origin.column_name in {column.name for column in above.columns}


def test_a_painted_watermark_is_a_sign(mixed: tuple[Site, Run]) -> None:
    """One was asked for, and something is drawn where it belongs."""
    check = mixed[1].checks["watermarks_are_where_asked_for"]
    assert check.passed
    assert check.metadata["asked_for"].value == 1
    assert check.metadata["labelled_files"].value == 0


def test_an_old_folder_gets_its_hashes_by_publishing(mixed: tuple[Site, Run]) -> None:
    """Metadata of a version that knew none, and no measurements: everything is as if built now."""
    site, built = mixed
    path, whole = site.layout.metadata("mixed"), as_built(site)
    table = pq.read_table(whole)
    position = table.schema.get_field_index("phash")
    nothing = pa.nulls(table.num_rows, pa.string())
    pq.write_table(table.set_column(position, table.schema.field(position), nothing), path)
    shutil.rmtree(site.layout.measurements, ignore_errors=True)
    shutil.rmtree(site.layout.root / "quality")
    run = publish(site)
    assert path.read_bytes() == whole.read_bytes()
    assert all(row["phash"] for row in site.rows("mixed"))
    for asset in ("image_metadata", "quality", "gallery"):
        assert run.data_versions[asset] == built.data_versions[asset]


def test_blank_and_near_images_warn_until_settings_allow_them(mixed: tuple[Site, Run]) -> None:
    """Measured as two of four images that look alike and have nothing on them."""
    site, _ = mixed
    ids = ids_of(site)
    known = MeasurementCache(site.layout.measurements).get(ids)
    shutil.rmtree(site.layout.measurements, ignore_errors=True)
    MeasurementCache(site.layout.measurements).add({**known, ids[0]: ALIKE, ids[1]: ALIKE})
    run = publish(site)
    near, blank = run.checks["images_differ"], run.checks["images_are_not_blank"]
    told = run.metadata["quality"]
    assert (told["near_duplicate"], told["blank"], told["flagged_images"]) == (2, 2, 2)
    for check in (near, blank):
        assert not check.passed
        assert check.severity is dg.AssetCheckSeverity.WARN
        assert (check.metadata["flagged_images"].value, check.metadata["share"].value) == (2, 0.5)
        assert {row.data["image_id"] for row in check.metadata["rows"].value.records} == {*ids[:2]}
        assert section_of(check).count('class="shot"') == 2
    (pair,) = near.metadata["nearest_pairs"].value.records
    assert (pair.data["image_a"], pair.data["image_b"], pair.data["distance"]) == (*ids[:2], "0")

    files = set((site.layout.root / "images").rglob("*.png"))
    allowed = publish(site, near_duplicates_allowed=0.5, blank_allowed=0.5, moderated_allowed=1.0)
    for name in ("images_differ", "images_are_not_blank", "no_moderation_failures"):
        assert allowed.checks[name].passed, name
    assert {path.stem for path in files} >= {*ids}
    assert set((site.layout.root / "images").rglob("*.png")) == files
    shutil.rmtree(site.layout.measurements)


def test_unmarked_images_warn_until_settings_allow_them(mixed: tuple[Site, Run]) -> None:
    """Measured as if the corner where the watermark belongs were plain."""
    site, _ = mixed
    (marked,) = {row["image_id"] for row in site.rows("mixed") if row["watermark"]}
    shutil.rmtree(site.layout.measurements, ignore_errors=True)
    corners = {each: 0.0 if each == marked else 60.0 for each in ids_of(site)}
    MeasurementCache(site.layout.measurements).add(
        {
            each: Measurement(phash=0xF0F0, contrast=60.0, corner_contrast=corner)
            for each, corner in corners.items()
        }
    )
    check = publish(site).checks["watermarks_are_where_asked_for"]
    assert not check.passed
    assert "1 of 1 images" in (check.description or "")
    assert publish(site, unmarked_allowed=1.0).checks["watermarks_are_where_asked_for"].passed
    shutil.rmtree(site.layout.measurements)


def test_a_file_that_changed_is_an_error_and_the_rest_goes_on(mixed: tuple[Site, Run]) -> None:
    """It is not measured under a name that is not its own."""
    site, _ = mixed
    row = site.rows("mixed")[0]
    path, whole = site.layout.root / row["path"], (site.layout.root / row["path"]).read_bytes()
    shutil.rmtree(site.layout.measurements, ignore_errors=True)
    path.write_bytes(whole[:-1] + b"x")
    try:
        check = publish(site).checks["images_can_be_decoded"]
    finally:
        path.write_bytes(whole)
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.ERROR
    assert "other bytes" in check.metadata["rows"].value.records[0].data["problem"]
    assert "other bytes" in section_of(check)


def test_another_set_is_told_and_changes_no_version(mixed: tuple[Site, Run]) -> None:
    """What else was built is no part of what is known about this set."""
    site, built = mixed
    assert built.metadata["quality"]["other_sets_compared"] == 0
    site.write("other.csv", "prompt,n\na quiet harbour,2\nanother tram,1\n")
    site.run("build_dataset", "other")
    after = publish(site)
    assert after.metadata["quality"]["other_sets_compared"] == 1
    assert after.data_versions["quality"] == built.data_versions["quality"]
    assert "with 1 other set" in section_text(site)


def section_text(site: Site) -> str:
    """The section about other sets."""
    page = site.layout.quarantine("mixed").read_text("utf-8")
    return page.partition('<section id="elsewhere">')[2].partition("</section>")[0]
