"""Images that are short or have another size: how many may be, and where it is told."""

import dagster as dg
import pyarrow.parquet as pq
import pytest

from wan_pipeline.emulator.plan import Fault, FaultKind
from wan_pipeline_tests.pipeline.quality_pages import outcomes_with, section_of
from wan_pipeline_tests.pipeline.site import Site, supplied

ODD = "prompt_id,prompt,n\na,a large kite,1\nb,a half moon,2\nc,a boat,2\n"
SHORT_SET = "prompt_id,prompt,n\na,half a kite,4\nb,a boat,1\n"


def test_a_set_that_lacks_images_only_is_not_complete(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Three of four arrived: the gallery says it, with the words of the quarantine."""
    folder = tmp_path_factory.mktemp("short")
    fault = Fault(kind=FaultKind.MISSING_IMAGES, prompt_contains="half", amount=1)
    with supplied(folder, fault) as (site, _):
        site.write("short.csv", SHORT_SET)
        run = site.run("build_dataset", "short")
    assert run.outcome.success
    page = (site.layout.gallery("short") / "index.html").read_text("utf-8")
    assert 'class="badge badge-good"' not in page
    assert "1 missing image<" in page
    assert 'href="../../quality/short.html">Quarantine</a>' in page
    assert "<dt>missing images</dt><dd>1</dd>" in page
    assert "its task brought fewer images than it asked for: 3 of 4" in page
    told = run.metadata["gallery"]
    assert (told["images_missing"], told["dagster/row_count"]) == (1, 4)
    flagged = outcomes_with(site.layout.quality_outcomes("short"), "fewer_than_n")
    assert [row["prompt_id"] for row in flagged] == ["a"]


def test_sizes_and_numbers_fail_until_settings_allow_them(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """A fourth of the images, a fifth of those asked for: the checks link to page and tables."""
    folder = tmp_path_factory.mktemp("odd")
    large = Fault(kind=FaultKind.WRONG_SIZE_IMAGE, prompt_contains="large")
    short = Fault(kind=FaultKind.MISSING_IMAGES, prompt_contains="half", amount=1)
    with supplied(folder, large, short) as (site, _):
        site.write("odd.csv", ODD)
        checks = site.run("build_dataset", "odd").checks
        size, number = checks["sizes_are_as_requested"], checks["image_count_is_sum_of_n"]
        for check, anchor, share in ((size, "wrong_size", 0.25), (number, "fewer_than_n", 0.2)):
            assert not check.passed
            assert check.severity is dg.AssetCheckSeverity.ERROR
            assert check.metadata["share"].value == share
            assert check.metadata["page"].value.endswith(f"#{anchor}")
            table = pq.read_table(check.metadata["table"].value).to_pylist()
            assert sum(anchor in row["flags"] for row in table) == 1
        assert "a large kite" in section_of(size)
        assert "a half moon" in section_of(number)
        shares = ("wrong_size_allowed", "missing_images_allowed")
        for share, passed in ((0.19, False), (0.25, True)):
            changed = Site(
                site.folder, site.settings.model_copy(update=dict.fromkeys(shares, share))
            )
            changed.instance = site.instance
            again = changed.run("build_dataset", "odd").checks
            for name in ("sizes_are_as_requested", "image_count_is_sum_of_n"):
                assert again[name].passed is passed, name
                assert f"{100 * share:g}% are allowed" in (again[name].description or "")
