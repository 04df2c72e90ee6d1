"""The proof finds what it is there to find."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import httpx
import pytest
import sqlalchemy as sa

from wan_pipeline.ledger import schema
from wan_pipeline.temp_files import temp_path
from wan_pipeline.wan.dialects import DIALECTS
from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.crash.case import Case
from wan_pipeline_tests.emulator_fixture import RunningEmulator
from wan_pipeline_tests.generation.batch_fixture import make_requests

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

ONE = Decimal(1)


@pytest.fixture
def case(tmp_path: Path) -> Iterator[Case]:
    """Two images, bought and stored, with nothing wrong."""
    with RunningEmulator(tmp_path / "provider") as emulator:
        case = Case(folder=tmp_path / "trial", emulator=emulator, requests=make_requests(2))
        case.data.mkdir(parents=True)
        case.finish()
        assert case.prove().violations == ()
        yield case


def test_second_purchase_is_found(case: Case) -> None:
    """A create that the ledger never heard of."""
    call = DIALECTS["gateway"].create_call(case.requests[0], RequestForm.FLAT)
    url = case.emulator.base_url + call.path
    httpx.post(url, json=call.json, headers={"authorization": "Bearer k"}).raise_for_status()
    proof = case.prove()
    assert proof.double == 1
    assert proof.bill_usd > proof.ledger_usd
    assert len(proof.violations) == 2


def test_lost_image_is_found(case: Case) -> None:
    """Whether its file is gone or holds other bytes."""
    gone, other = (case.data / "images").rglob("*.png")
    gone.unlink()
    other.write_bytes(b"no image")
    proof = case.prove()
    assert proof.lost == 2
    assert len(proof.violations) == 3


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (sa.update(schema.spending).values(committed_usd=ONE), "spending"),
        (sa.update(schema.purchases).values(reserved_usd=ONE), "reserved"),
        (sa.update(schema.purchases).values(cost_usd=ONE), "bill"),
        (sa.update(schema.purchases).values(state="intent"), "history"),
        (sa.update(schema.purchases).values(task_id=None), "not in the ledger"),
    ],
)
def test_ledger_that_is_wrong_is_found(case: Case, change: sa.Update, word: str) -> None:
    """Money, states and tasks."""
    with case.ledger() as ledger:
        ledger.apply_now(lambda tx: tx.connection.execute(change))
    assert any(word in violation for violation in case.prove().violations)


def test_leftovers_are_found(case: Case) -> None:
    """Unfinished files and rescue files of nobody."""
    temp_path(case.data / "images" / "x.png").touch()
    (case.data / "rescue" / "nobody.jsonl").touch()
    assert len(case.prove().violations) == 2
