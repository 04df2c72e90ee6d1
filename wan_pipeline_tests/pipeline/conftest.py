"""Datasets that many tests look at and none changes, built once."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.pipeline.site import Run, Site, settings_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOWHERE = "http://127.0.0.1:9"
SMALL = """\
prompt_id,prompt,negative_prompt,size,n,seed,replicas,prompt_extend,sku,[/b]
kite,"A red kite, high above dunes",text,,2,,,,0071,x
tea,清晨的山中茶屋,,16:9,1,7,2,,,
twin-1,a lighthouse,,3:4,2,99,,false,,
twin-2,a lighthouse,,3:4,2,99,,false,,
,an old tram,,,,,,,,
"""


@dataclass(frozen=True)
class Built:
    """A small set, built twice."""

    site: Site
    first: Run
    second: Run
    bill: dict[str, Any]
    bill_after_first: dict[str, Any]
    first_table: bytes


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """`small`: five prompts, five purchases, seven images; two prompts share a purchase."""
    folder = tmp_path_factory.mktemp("built")
    with (
        RunningEmulator(folder / "provider") as provider,
        Site(folder / "data", settings_for(folder / "data", provider.base_url)) as site,
    ):
        site.write("small.csv", SMALL)
        first = site.run("build_dataset", "small")
        assert first.outcome.success, first.outcome
        first_table = site.layout.metadata("small").read_bytes()
        bill_after_first = provider.bill()
        second = site.run("build_dataset", "small")
        yield Built(site, first, second, provider.bill(), bill_after_first, first_table)


@pytest.fixture(scope="session")
def new_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Dagster home of a new data folder, to be copied: making one takes a second."""
    folder = tmp_path_factory.mktemp("new")
    with Site(folder, settings_for(folder, NOWHERE)) as site:
        return site.layout.dagster_home


@pytest.fixture
def site(tmp_path: Path, new_home: Path) -> Iterator[Site]:
    """An empty data folder whose provider does not exist: nothing here may send anything."""
    settings = settings_for(tmp_path, NOWHERE)
    shutil.copytree(new_home, settings.layout.dagster_home)
    with Site(tmp_path, settings) as site:
        yield site
