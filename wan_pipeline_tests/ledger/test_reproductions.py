"""Reproductions: money like any other, and never an image of the dataset."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from wan_pipeline.generation.leftovers import LeftoverKind, leftovers
from wan_pipeline.ledger import schema
from wan_pipeline.ledger.budget import Caps
from wan_pipeline.ledger.decisions import Decision, adopt, release, write_off
from wan_pipeline.ledger.errors import BudgetExceededError, DecisionError, LedgerVersionError
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.ledger.records import Purchase, PurchaseKey
from wan_pipeline.ledger.retries import Retry, RetryRule
from wan_pipeline.ledger.review import unfinished, unknowns
from wan_pipeline.ledger.shown import shown_of
from wan_pipeline.ledger.snapshot import snapshot
from wan_pipeline.ledger.states import ImageState, PurchaseState
from wan_pipeline_tests.ledger.conftest import LATER, PROFILE

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline.ledger.owner import Owner
    from wan_pipeline_tests.ledger.conftest import Life

S = PurchaseState
MAY, JUNE = "reproduce/kites@v1/may", "reproduce/kites@v1/june"
ANYTHING = RetryRule(what=frozenset(Retry), max_attempts=100)


def key(attempt: int, request_id: str = "r1") -> PurchaseKey:
    """One attempt at a request."""
    return PurchaseKey(profile=PROFILE, request_id=request_id, attempt=attempt)


async def reproduce(life: Life, series: str = MAY, request_id: str = "r1", **values: Any) -> Any:
    """Write the intent of a reproduction."""
    return await life.intend(request_id, bought_by_set=series, reproduction=True, **values)


async def store(life: Life, bought: PurchaseKey, *, lost: bool = False) -> None:
    """Bring an intent to its end, with one image."""
    task = f"task-of-{bought.request_id}-{bought.attempt}"
    await life.ledger.submitted(bought, life.owner, task_id=task, lifetime_s=3600)
    await life.ledger.succeeded(
        bought,
        life.owner,
        links=[("https://h/0", "job")],
        url_expires_at=life.time() + timedelta(hours=1),
        cost_usd=Decimal("0.03"),
        cost_source="reported",
        final_answer="{}",
    )
    state = ImageState.LOST if lost else ImageState.STORED
    values = {} if lost else {"image_id": f"i{bought.attempt}", "path": f"p{bought.attempt}"}
    await life.ledger.image(bought, life.owner, 0, state, **values)


def decide(life: Life, what: Any, series: str | None, **values: Any) -> Purchase:
    """Carry a decision out, long after the run that bought has ended."""
    decision = Decision(request_id="r1", series=series, who="mei", why="looked into the console")
    change = partial(what, profile=PROFILE, decision=decision, now=LATER, **values)
    return life.ledger.apply_now(change)


async def test_a_series_buys_a_request_once_and_another_series_anew(life: Life) -> None:
    """Attempts count down from -1, whether or not the dataset has bought the request."""
    await life.reach(S.STORED)
    assert await reproduce(life) == key(-1)
    await store(life, key(-1))
    standing = await reproduce(life, retry=ANYTHING)
    assert isinstance(standing, Purchase)
    assert (standing.key, standing.series, standing.state) == (key(-1), MAY, S.STORED)
    assert await reproduce(life, JUNE) == key(-2)
    assert await reproduce(life, request_id="never bought") == key(-1, "never bought")
    assert await life.intend("never bought") == key(1, "never bought")


@pytest.mark.parametrize("end", [S.REFUSED, S.FAILED, S.EXPIRED, S.UNKNOWN, S.RELEASED])
async def test_a_reproduction_is_never_retried(life: Life, end: PurchaseState) -> None:
    """Whatever came of it, and whatever the rule says; only one that was not sent is sent again."""
    bought = await reproduce(life)
    await life.ledger.not_sent(bought, life.owner, "429")
    assert await reproduce(life) == bought
    if end in (S.FAILED, S.EXPIRED):
        await life.ledger.submitted(bought, life.owner, task_id="t", lifetime_s=3600)
    match end:
        case S.REFUSED:
            await life.ledger.refused(bought, life.owner, code="x", message="no", kind="other")
        case S.FAILED:
            await life.ledger.failed(
                bought,
                life.owner,
                code="x",
                message="no",
                kind="other",
                cost_usd=None,
                final_answer="",
            )
        case S.EXPIRED:
            await life.ledger.expired(bought, life.owner, "too late")
        case _:
            await life.ledger.unknown(bought, life.owner, "timeout")
    if end is S.RELEASED:
        decide(life, release, MAY)
    standing = await reproduce(life, retry=ANYTHING)
    assert isinstance(standing, Purchase)
    assert (standing.key, standing.state) == (bought, end)


async def test_the_dataset_sees_none_of_it(life: Life) -> None:
    """Neither where it stands, nor what it shows, nor what it lost, nor how often it was bought."""
    await life.reach(S.STORED)
    before = (life.ledger.purchases(), life.ledger.images(), shown_of(life.ledger, ["r1"]))
    for series in (MAY, JUNE):
        await store(life, await reproduce(life, series), lost=series == JUNE)
    await store(life, await reproduce(life, request_id="r2"))
    assert before == (life.ledger.purchases(), life.ledger.images(), shown_of(life.ledger, ["r1"]))
    assert life.ledger.requests_with_lost_images() == set()
    assert life.ledger.requests_with_lost_images(series=JUNE) == {"r1"}
    assert set(life.ledger.purchases(series=MAY)) == {"r1", "r2"}
    assert [each.attempt for each in life.ledger.images(["r1"], series=JUNE)["r1"]] == [-2]
    assert [each.image_id for each in life.ledger.images_of(key(-1))] == ["i-1"]
    assert await life.intend("r2", retry=ANYTHING) == key(1, "r2")


async def test_money_sees_all_of_it(life: Life) -> None:
    """Totals, the cap of the series as of a set, and what a person should look at."""
    await life.reach(S.STORED)
    await store(life, await reproduce(life))
    await life.ledger.unknown(await reproduce(life, request_id="r2"), life.owner, "timeout")
    assert life.ledger.committed() == Decimal("0.09")
    assert life.ledger.committed(prompt_set=MAY) == Decimal("0.06")
    assert (life.ledger.spent(), life.ledger.reserved()) == (Decimal("0.06"), Decimal("0.03"))
    with pytest.raises(BudgetExceededError):
        await reproduce(life, request_id="r3", caps=Caps(prompt_set=Decimal("0.08")))
    await reproduce(life, JUNE, "r3", caps=Caps(prompt_set=Decimal("0.03")))
    with snapshot(life.ledger) as view:
        assert [(each.prompt_set, each.attempt) for each in unknowns(view)] == [(MAY, -1)]
        assert [(each.prompt_set, each.attempt) for each in unfinished(view)] == [(JUNE, -1)]


async def test_a_decision_concerns_the_purchase_that_is_named(life: Life) -> None:
    """Of three unknown purchases of one request; a released reproduction plans nothing anew."""
    for bought in (await life.intend(), await reproduce(life), await reproduce(life, JUNE)):
        await life.ledger.unknown(bought, life.owner, "timeout")
    with pytest.raises(DecisionError, match="knows no request"):
        decide(life, release, "reproduce/kites@v1/july")
    assert decide(life, release, MAY).key == key(-1)
    adopted = decide(life, adopt, JUNE, task_id="found", lifetime_s=3600.0, owner=life.owner)
    assert adopted.key == key(-2)
    assert decide(life, write_off, None).key == key(1)
    states = {each: life.ledger.purchase(key(each)) for each in (1, -1, -2)}
    assert {each: found.state for each, found in states.items() if found} == {
        1: S.WRITTEN_OFF,
        -1: S.RELEASED,
        -2: S.SUBMITTED,
    }
    assert life.ledger.purchase(key(0)) is None
    assert sum(life.ledger.counts().values()) == 3


async def test_late_answer_to_a_released_one_withdraws_nothing(life: Life) -> None:
    """The attempt above it is another series' own, which was not sent yet."""
    june = await reproduce(life, JUNE)
    await life.ledger.not_sent(june, life.owner, "429")
    may = await reproduce(life, MAY)
    assert (june.attempt, may.attempt) == (-1, -2)
    await life.ledger.unknown(may, life.owner, "timeout")
    decide(life, release, MAY)
    await life.ledger.submitted(may, life.owner, task_id="late", lifetime_s=3600)
    assert [found and found.state for found in map(life.ledger.purchase, (june, may))] == [
        S.PLANNED,
        S.SUBMITTED,
    ]


async def test_what_a_dead_run_left_is_taken_up_by_its_own_series_or_by_recovery(
    life: Life,
) -> None:
    """A run of the dataset takes the dataset's; recovery, which names nothing, takes all."""
    with life.ledger.owner("dies") as dead:
        for buy in (life.intend, partial(reproduce, life), partial(reproduce, life, JUNE)):
            bought = await buy()
            await life.ledger.submitted(bought, life.owner, task_id=str(bought), lifetime_s=3600)
    set_owner(life, dead)

    async def taken(*given: Any, **series: Any) -> set[int]:
        found = await life.ledger.take_over(life.owner, *given, **series)
        set_owner(life, dead)
        return {each.attempt for each in found}

    assert await taken(["r1"]) == {1}
    assert await taken(["r1"], series=MAY) == {-1}
    assert await taken(["r1"], series="reproduce/kites@v1/july") == set()
    assert await taken() == {1, -1, -2}


def set_owner(life: Life, owner: Owner) -> None:
    """Make every purchase somebody's."""
    life.ledger.apply_now(
        lambda tx: tx.connection.execute(schema.purchases.update().values(owner_id=owner.owner_id))
    )


async def test_leftovers_are_those_of_the_newest_series_and_every_unknown(life: Life) -> None:
    """What was lost in May is explained by June's; a doubt stays until somebody decides."""
    await store(life, await life.intend(), lost=True)
    await store(life, await reproduce(life, MAY), lost=True)
    await store(life, await reproduce(life, JUNE), lost=True)
    await life.ledger.unknown(await reproduce(life, MAY, "r2"), life.owner, "timeout")
    await store(life, await reproduce(life, JUNE, "r2"))
    with snapshot(life.ledger) as view:
        found = {(each.kind, each.request_id, each.attempt) for each in leftovers(view)}
    assert found == {
        (LeftoverKind.UNKNOWN, "r2", -1),
        (LeftoverKind.LOST, "r1", 1),
        (LeftoverKind.LOST, "r1", -2),
    }


def test_a_version_that_knows_no_reproductions_refuses_the_ledger(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a ledger of that version is taken as it is."""
    path = tmp_path / "ledger.sqlite"
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    with Ledger(path, PROFILE):
        pass
    before = dump(path)
    monkeypatch.undo()
    with Ledger(path, PROFILE):
        pass
    assert [line.replace("'3'", "'2'") for line in dump(path)] == before
    monkeypatch.setattr(schema, "SCHEMA_VERSION", 2)
    with pytest.raises(LedgerVersionError, match="schema version 3, this package knows up to 2"):
        Ledger(path, PROFILE)


def dump(path: Path) -> list[str]:
    """All of it as SQL."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())
