"""`build_dataset` on a small set: everything materialized, told, stable, and bought once."""

import hashlib
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from wan_pipeline_tests.pipeline.conftest import Built
from wan_pipeline_tests.pipeline.site import ASSETS

IMAGES, REQUESTS, ROWS = 7, 5, 6
COST = 0.21


def test_one_run_materializes_the_whole_graph(built: Built) -> None:
    """All six assets of the set, in order, and what everything costs, in one green run."""
    assert built.first.outcome.success
    made = {name: each.partition for name, each in built.first.materialized.items()}
    assert made.pop("spend") is None
    assert list(made.items()) == [(name, "small") for name in ASSETS]


def test_the_provider_was_asked_once_per_purchase(built: Built) -> None:
    """Two prompts that ask for the same are one create."""
    bill = built.bill_after_first
    assert (bill["creates_received"], bill["images"], bill["usd"]) == (REQUESTS, IMAGES, "0.21")


def test_a_second_run_sends_nothing_and_changes_nothing(built: Built) -> None:
    """Not one create, the same bill, the same data versions, the same bytes."""
    assert built.second.outcome.success
    assert built.bill == built.bill_after_first
    assert built.second.data_versions == built.first.data_versions
    assert built.site.layout.metadata("small").read_bytes() == built.first_table
    told = built.second.metadata["images"]
    assert (told["creates_sent"], told["images_new"], told["cost_usd"]) == (0, 0, 0.0)
    assert told["already_stored"] == REQUESTS


@pytest.mark.parametrize(
    ("asset", "told"),
    [
        ("prompts", {"dagster/row_count": 5, "rows_read": 5, "rejected_rows": 0}),
        (
            "plan",
            {
                "dagster/row_count": ROWS,
                "requests": REQUESTS,
                "images": IMAGES,
                "shared_rows": 1,
                "to_buy": REQUESTS,
                "images_to_buy": IMAGES,
                "price_per_image_usd": 0.03,
                "cost_to_buy_usd": COST,
            },
        ),
        (
            "images",
            {
                "dagster/row_count": IMAGES,
                "images_new": IMAGES,
                "creates_sent": REQUESTS,
                "requests_completed": REQUESTS,
                "requests_failed": 0,
                "cost_usd": COST,
            },
        ),
        ("image_metadata", {"dagster/row_count": 9, "requests": REQUESTS, "cost_usd": COST}),
        (
            "quality",
            {
                "dagster/row_count": 9,
                "images": IMAGES,
                "flagged_images": 0,
                "near_duplicate_pairs": 0,
                "decoded_now": 0,  # `image_metadata` has measured them
                "prompts_without_image": 0,
            },
        ),
        ("gallery", {"dagster/row_count": 9, "thumbnails_failed": 0, "cost_usd": COST}),
        (
            "spend",
            {
                "dagster/row_count": REQUESTS,
                "spent_usd": COST,
                "reserved_usd": 0.0,
                "unknown": 0,
                "purchases_stored": REQUESTS,
                "purchases_unknown": 0,
                "images_stored": IMAGES,
                "images_lost": 0,
                "costs_that_are_not_the_price": 0,
                "image_rows": IMAGES,
            },
        ),
    ],
)
def test_counts_and_cost_are_numbers(built: Built, asset: str, told: dict[str, float]) -> None:
    """What the UI plots is what happened."""
    found = built.first.metadata[asset]
    assert {name: found[name] for name in told} == pytest.approx(told)


def columns_of(metadata: dict[str, Any]) -> set[str]:
    """The columns an asset says it has."""
    return {column.name for column in metadata["dagster/column_schema"].columns}


@pytest.mark.parametrize("asset", [*ASSETS, "spend"])
def test_every_asset_tells_its_columns(built: Built, asset: str) -> None:
    """A column schema with a type for every column."""
    schema = built.first.metadata[asset]["dagster/column_schema"]
    assert schema.columns
    assert all(column.type for column in schema.columns)


@pytest.mark.parametrize("asset", [*ASSETS[1:], "spend"])
def test_column_lineage_names_columns_that_exist(built: Built, asset: str) -> None:
    """Each lineage entry is a column of the asset and points at a column of a dependency."""
    told = built.first.metadata
    lineage = told[asset]["dagster/column_lineage"].deps_by_column
    assert lineage
    assert set(lineage) <= columns_of(told[asset])
    graph = built.site.defs.resolve_asset_graph()
    parents = graph.get(dg.AssetKey(asset)).parent_keys
    for deps in lineage.values():
        for dep in deps:
            assert dep.asset_key in parents
            assert dep.column_name in columns_of(told[dep.asset_key.to_user_string()])


def test_every_column_of_the_metadata_table_has_an_origin(built: Built) -> None:
    """All but the set's name."""
    told = built.first.metadata["image_metadata"]
    lineage = told["dagster/column_lineage"].deps_by_column
    assert columns_of(told) - set(lineage) == {"prompt_set"}


def test_the_contact_sheet_is_small_and_shows_each_request(built: Built) -> None:
    """A Markdown grid that may stay in the event log for ever."""
    sheet = built.first.metadata["images"]["contact_sheet"]
    assert len(sheet) < 50_000
    assert sheet.count("data:image/") == ROWS


def test_images_lie_under_the_hash_of_their_bytes(built: Built) -> None:
    """Bytes as received, named by what they are."""
    site = built.site
    paths = {row["path"]: row["image_id"] for row in site.rows("small")}
    assert len(paths) == IMAGES
    for path, image_id in paths.items():
        data = (site.layout.root / path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == image_id
        assert Path(path).stem == image_id


def test_all_checks_pass_but_the_warning_about_seeds(built: Built) -> None:
    """`tea` gives a seed and lets its prompt be rewritten: a warning, told as a count."""
    passed = {name: check.passed for name, check in built.first.checks.items()}
    assert passed == {
        "no_rejects": True,
        "seeds_are_reproducible": False,
        "image_count_is_sum_of_n": True,
        "cost_is_within_plan": True,
        "sizes_are_as_requested": True,
        "no_duplicate_images": True,
        "images_differ": True,
        "images_are_not_blank": True,
        "images_can_be_decoded": True,
        "watermarks_are_where_asked_for": True,
        "no_moderation_failures": True,
        "every_prompt_has_an_image": True,
        "every_request_stored": True,
        "no_unknowns": True,
        "nothing_about_to_expire": True,
        "ledger_agrees_with_files": True,
        "reported_cost_is_the_price": True,
        "spend_within_budget": True,
    }
    warning = built.first.checks["seeds_are_reproducible"]
    assert warning.severity is dg.AssetCheckSeverity.WARN
    assert warning.metadata["requests"].value == 2


def test_nothing_is_left_half_written(built: Built) -> None:
    """No temporary file survives a run."""
    names = [path.name for path in built.site.layout.root.rglob("*")]
    assert [name for name in names if name.endswith(".tmp") or name.startswith(".tmp-")] == []
