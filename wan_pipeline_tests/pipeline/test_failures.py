"""What fails is told, at the end; what was paid for is kept and shown before that."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline.generation.planning import unfinished_of
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator
from wan_pipeline_tests.pipeline.site import Run, Site, settings_for, supplied

TROUBLED = """\
prompt_id,prompt,n
a-good,a quiet harbour,2
b-broken,a broken machine,1
c-forbidden,a forbidden scene,1
d-doubtful,a doubtful tower,1
e-short,a short row of trees,3
f-large,a large wave,1
g-gone,a gone garden,2
h-overlong,{overlong},1
i-good,a good bridge,1
"""


def fault(kind: FaultKind, word: str) -> Fault:
    """A fault of the tasks whose prompt has a word."""
    return Fault(kind=kind, prompt_contains=word)


FAULTS = (
    fault(FaultKind.TASK_FAILED, "broken"),
    fault(FaultKind.MODERATION_FAILED, "forbidden"),
    fault(FaultKind.ERROR_500_AFTER, "doubtful"),
    fault(FaultKind.MISSING_IMAGES, "short"),
    fault(FaultKind.WRONG_SIZE_IMAGE, "large"),
    Fault(kind=FaultKind.EXPIRED_URL, prompt_contains="gone", after=1),
)


@dataclass(frozen=True)
class Troubled:
    """A set in which much goes wrong, built twice."""

    site: Site
    run: Run
    again: Run
    bill: dict[str, Any]
    bill_after_first: dict[str, Any]


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Troubled]:
    """One run with one of each kind of failure, and one after it."""
    folder = tmp_path_factory.mktemp("troubled")
    with supplied(folder, *FAULTS) as (site, provider):
        site.write("troubled.csv", TROUBLED.format(overlong="x" * 2001))
        run = site.run("build_dataset", "troubled")
        bill = provider.bill()
        again = site.run("build_dataset", "troubled")
        yield Troubled(site, run, again, provider.bill(), bill)


def test_the_run_is_red_after_everything_is_kept_and_shown(troubled: Troubled) -> None:
    """All seven assets are materialized, then the last check fails the run."""
    assert troubled.run.kinds() == [
        "materialized prompts",
        "materialized plan",
        "materialized images",
        "materialized image_metadata",
        "materialized quality",
        "materialized gallery",
        "failed gallery_every_request_stored",
        "materialized spend",
        "run failed",
    ]
    assert not troubled.run.outcome.success
    assert troubled.run.outcome.failed_step == "gallery_every_request_stored"


def test_every_request_that_is_not_complete_is_named_with_its_state(troubled: Troubled) -> None:
    """Failed, unknown and unfetched ones; the short one is complete, its missing images are not."""
    site = troubled.site
    with site.ledger() as ledger:
        found = unfinished_of(site.layout.tables("troubled") / REQUESTS_FILE, ledger)
    assert {each.prompt_id: each.state for each in found} == {
        "b-broken": "failed",
        "c-forbidden": "failed",
        "d-doubtful": "unknown",
        "g-gone": "succeeded",
    }
    assert all(each.reason for each in found)
    assert {each.prompt_id: each.reserved_usd for each in found if each.reserved_usd} == {
        "d-doubtful": Decimal("0.03")
    }


def test_the_last_check_lists_them(troubled: Troubled) -> None:
    """What the UI shows beside the red mark."""
    check = troubled.run.checks["every_request_stored"]
    assert not check.passed
    assert check.metadata["not_complete"].value == 4
    assert check.metadata["unknown"].value == 1
    listed = {record.data["prompt_id"] for record in check.metadata["requests"].value.records}
    assert listed == {"b-broken", "c-forbidden", "d-doubtful", "g-gone"}


def test_the_other_checks_see_what_is_theirs(troubled: Troubled) -> None:
    """Rejects warn; missing images, wrong sizes are errors; none of them blocks."""
    passed = {name: check.passed for name, check in troubled.run.checks.items()}
    assert passed == {
        "no_rejects": False,
        "seeds_are_reproducible": True,
        "image_count_is_sum_of_n": False,
        "cost_is_within_plan": True,
        "sizes_are_as_requested": False,
        "no_duplicate_images": True,
        "images_differ": True,
        "images_are_not_blank": True,
        "images_can_be_decoded": True,
        "watermarks_are_where_asked_for": True,
        "no_moderation_failures": False,
        "every_prompt_has_an_image": False,
        "every_request_stored": False,
        "no_unknowns": False,
        "nothing_about_to_expire": True,
        "ledger_agrees_with_files": True,
        "reported_cost_is_the_price": True,
        "spend_within_budget": True,
    }
    count = troubled.run.checks["image_count_is_sum_of_n"].metadata
    short = {row.data["prompt_id"]: row.data["stored"] for row in count["requests"].value.records}
    assert short == {
        "b-broken": "0",
        "c-forbidden": "0",
        "d-doubtful": "0",
        "e-short": "2",
        "g-gone": "1",
    }
    sizes = troubled.run.checks["sizes_are_as_requested"].metadata
    assert [row.data["prompt_id"] for row in sizes["images"].value.records] == ["f-large"]
    rejects = troubled.run.checks["no_rejects"].metadata["rejects"].value.records
    assert [record.data["column"] for record in rejects] == ["prompt"]


def test_the_metadata_has_every_image_that_arrived(troubled: Troubled) -> None:
    """Also the one of a wrong size and the one whose neighbour is missing."""
    rows = troubled.site.rows("troubled")
    images = [(row["prompt_id"], row["image_index"]) for row in rows]
    assert sorted(images)[:2] == [("a-good", 0), ("a-good", 1)]
    assert {prompt for prompt, _ in images} == {"a-good", "e-short", "f-large", "g-gone", "i-good"}
    assert len(images) == 7
    large = next(row for row in rows if row["prompt_id"] == "f-large")
    assert large["size"] != f"{large['width']}*{large['height']}"
    assert troubled.run.metadata["image_metadata"]["wrong_size"] == 1


def test_rows_sum_to_what_was_paid_for_them(troubled: Troubled) -> None:
    """A missing image's cost is borne by its request's other one: rows sum to the money spent."""
    rows = troubled.site.rows("troubled")
    with troubled.site.ledger() as ledger:
        spent, reserved = ledger.spent(), ledger.reserved()
    assert sum(row["cost_usd"] for row in rows) == spent
    assert sum(row["cost_usd"] for row in rows if row["prompt_id"] == "g-gone") == Decimal("0.06")
    # Two readers, one fact: all that the provider billed beyond it is the doubtful create.
    assert Decimal(troubled.bill["usd"]) == spent + reserved
    assert reserved == Decimal("0.03")


def test_the_gallery_names_what_is_not_there(troubled: Troubled) -> None:
    """With its state, on the page that opens from disk."""
    page = (troubled.site.layout.gallery("troubled") / "index.html").read_text()
    for prompt in ("a broken machine", "a forbidden scene", "a doubtful tower", "a gone garden"):
        assert prompt in page


def test_the_gallery_can_be_filtered_by_what_became_of_a_request(troubled: Troubled) -> None:
    """Requests without an image are items of it, with their outcome and what was asked for."""
    page = (troubled.site.layout.gallery("troubled") / "index.html").read_text()
    told = json.loads(
        page.partition('<script id="details" type="application/json">')[2].partition("</script>")[0]
    )
    (outcome,) = [facet for facet in told["facets"] if facet["key"] == "outcome"]
    assert {"stored", "failed", "unknown", "brought_fewer"} <= set(outcome["values"])
    assert (
        len(outcome["codes"])
        == len(told["columns"]["prompt"])
        > len(troubled.site.rows("troubled"))
    )


def test_the_report_of_its_runs_tells_what_failed(troubled: Troubled) -> None:
    """Beside the gallery, linked from it: the run with what it bought, spent and lost."""
    folder = troubled.site.layout.gallery("troubled")
    assert 'href="report.html"' in (folder / "index.html").read_text()
    page = (folder / "report.html").read_text()
    assert troubled.run.outcome.run_id in page
    with troubled.site.ledger() as ledger:
        assert f"${ledger.spent():.2f}" in page
    assert "Why requests brought nothing" in page


def test_nothing_is_bought_again_by_itself(troubled: Troubled) -> None:
    """The next run sends no create: failed, unknown and short ones wait for a person."""
    assert troubled.bill["creates_received"] == troubled.bill_after_first["creates_received"]
    assert troubled.bill["usd"] == troubled.bill_after_first["usd"]
    assert not troubled.again.outcome.success
    before, after = troubled.run.data_versions, troubled.again.data_versions
    # The ledger has grown: it tells that the missing image was asked for again.
    assert after.pop("spend") != before.pop("spend")
    assert after == before


def test_a_stop_ends_the_run_and_burns_nothing(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """The asset raises and says what to do; no row is spent, and the next run goes on."""
    folder = tmp_path_factory.mktemp("stopped")
    stopping = Fault(kind=FaultKind.BAD_KEY, on="create", after=1)
    with supplied(folder, stopping) as (site, provider):
        site.write("set.csv", "prompt\none\ntwo\nthree\n")
        stopped = site.run("build_dataset", "set")
        assert stopped.outcome.failed_step == "images"
        assert "valid API key" in stopped.outcome.error
        assert "materialized images" not in stopped.kinds()
        with site.ledger() as ledger:
            states = sorted(state.value for state in ledger.counts() if ledger.counts()[state])
            assert states == ["planned", "stored"]
            assert (ledger.spent(), ledger.reserved()) == (Decimal("0.03"), 0)
        assert provider.bill()["usd"] == "0.03"
        provider.set_plan(FAST)
        assert site.run("build_dataset", "set").outcome.success
        assert provider.bill()["creates_accepted"] == 3


def test_a_set_without_a_good_row_fails_before_anything_else(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Its rejects table says why; nothing is planned."""
    folder = tmp_path_factory.mktemp("useless")
    with Site(folder, settings_for(folder, "http://127.0.0.1:9")) as site:
        site.write("useless.csv", "prompt,n\nfine,9\n")
        run = site.run("build_dataset", "useless")
        assert run.outcome.failed_step == "prompts"
        assert "rejects" in run.outcome.error
        assert run.materialized == {}
        assert (site.layout.tables("useless") / "rejects.parquet").exists()


def test_a_pause_of_the_breaker_is_counted_in_the_metadata(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Three creates in doubt hold the others back for a moment; then they are bought."""
    folder = tmp_path_factory.mktemp("paused")
    doubts = Fault(kind=FaultKind.ERROR_500_BEFORE, times=3)
    plan = FAST.model_copy(update={"faults": (doubts,)})
    with RunningEmulator(folder / "provider", plan) as provider:
        settings = settings_for(folder / "data", provider.base_url, breaker_pause_s=0.2)
        with Site(folder / "data", settings) as site:
            site.write("set.csv", "prompt\none\ntwo\nthree\nfour\n")
            told = site.run("build_dataset", "set").metadata["images"]
    assert (told["breaker_pauses"], told["creates_sent"], told["images_stored"]) == (1, 4, 1)
