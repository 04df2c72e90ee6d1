"""A release of four requests, and a provider to buy them from once more."""

from __future__ import annotations

import hashlib
import json
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq
import pytest

from wan_pipeline.dataset.metadata import write_metadata
from wan_pipeline.dataset.reproduction.table import DRIFT
from wan_pipeline.generation.planning import standing_of
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.prompts.plan_table import REQUESTS_FILE
from wan_pipeline.settings import Settings
from wan_pipeline_tests.cli.conftest import Folder, folder_at
from wan_pipeline_tests.emulator_fixture import FAST, RunningEmulator

if TYPE_CHECKING:
    from collections.abc import Iterator

    from click.testing import Result

PROMPTS = """prompt_id,prompt,n,prompt_extend
boat,a boat on a lake,2,false
hut,a mountain hut,1,false
kite,a red kite,1,false
tower,a tower at night,1,true
"""
LAST_LINE = re.compile(
    r"submitted=(\d+) stored=(\d+) compared=(\d+) drifted=(\d+) cost_usd=(\d+\.\d\d) verdict=(\w+)"
)
RELEASED_USD = Decimal("0.15")
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningEmulator]:
    """Somebody to buy from."""
    with RunningEmulator(tmp_path_factory.mktemp("provider")) as running:
        yield running


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, shop: RunningEmulator) -> Folder:
    """Four requests, five images, released once for all tests; each takes a label of its own."""
    folder = folder_at(tmp_path_factory.mktemp("data"), shop.base_url)
    folder.write("things.csv", PROMPTS)
    for args in (("run", "things"), ("release", "create", "things")):
        done = folder.wan(*args)
        assert done.exit_code == 0, done.output
    return folder


@pytest.fixture
def folder(built: Folder, shop: RunningEmulator) -> Iterator[Folder]:
    """The same, and a provider that is well again afterwards."""
    yield built
    shop.set_plan(FAST)


def last_line(done: Result) -> tuple[str, ...]:
    """What the last line of standard output tells."""
    found = LAST_LINE.fullmatch(done.stdout.splitlines()[-1])
    assert found is not None, done.output
    return found.groups()


def reproduce(folder: Folder, label: str, *args: str, sample: str = "3") -> Result:
    """Run the command without being asked."""
    return folder.wan("reproduce", "things", "--yes", "--label", label, "--sample", sample, *args)


def rows(folder: Folder, label: str) -> list[dict[str, Any]]:
    """The drift table."""
    path = folder.path / "emulator/reproductions/things-v1" / label / "drift.parquet"
    table = pq.read_table(path)
    assert table.schema.equals(DRIFT, check_metadata=True)
    return table.to_pylist()


def attempts_of(folder: Folder) -> set[int]:
    """Attempts that are bought for comparison: below zero, each label's one below those before."""
    tables = (folder.path / "emulator/reproductions/things-v1").glob("*/drift.parquet")
    return {attempt for table in tables for attempt in pq.read_table(table)["attempt"].to_pylist()}


def ledger_of(folder: Folder) -> Ledger:
    """To be closed."""
    return Ledger(folder.path / "emulator/ledger.sqlite", "emulator")


def dataset_of(folder: Folder) -> tuple[Any, ...]:
    """Everything that a reproduction must leave as it was."""
    requests = Settings(data_dir=folder.path).layout.tables("things") / REQUESTS_FILE
    fresh = folder.path / "fresh.parquet"
    with ledger_of(folder) as ledger:
        write_metadata(requests, ledger=ledger, prompt_set="things", out=fresh)
        standing = standing_of(requests, ledger)
    status = json.loads(folder.wan("status", "--json").stdout)["sets"]
    verified = folder.wan("release", "verify", "things")
    assert verified.exit_code == 0, verified.output
    return hashlib.sha256(fresh.read_bytes()).hexdigest(), status, standing
