"""An orphan is adopted when it is certain whose it is, and never otherwise."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wan_pipeline.generation.reconcile import Matches, listing_window, match_orphans
from wan_pipeline.ledger.records import Purchase
from wan_pipeline.ledger.states import PurchaseState
from wan_pipeline.wan.dialects.listing import ListedTask
from wan_pipeline_tests.generation.batch_fixture import make_request

if TYPE_CHECKING:
    from collections.abc import Sequence

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
MODEL = "wan25_t2i_preview_intl"


def unknown(prompt: str = "kite", *, at: float = 0.0, **values: Any) -> Purchase:
    """A purchase of unknown outcome, intended `at` seconds after noon."""
    request = make_request(prompt, **values)
    empty = dict.fromkeys(name for name in Purchase.__slots__)
    known: dict[str, Any] = {
        "profile": "emulator",
        "request_id": request.request_id,
        "attempt": 1,
        "state": PurchaseState.UNKNOWN,
        "request": request.canonical_json().decode(),
        "n": request.n,
        "bought_by_set": "set",
        "run_id": "run",
        "code_version": "test",
        "dialect": "gateway",
        "price_usd": Decimal("0.03"),
        "reserved_usd": Decimal("0.03"),
        "created_at": NOON + timedelta(seconds=at),
    }
    return Purchase(**{**empty, **known})


def listed(task_id: str = "t", *, at: float = 0.0, **told: Any) -> ListedTask:
    """A task of the list, created `at` seconds after noon."""
    values = {"model": MODEL, **told}
    return ListedTask(task_id=task_id, created_at=NOON + timedelta(seconds=at), **values)


def adopted(matches: Matches) -> list[tuple[str, str]]:
    """Who got which task: (prompt, task id)."""
    return [
        (json.loads(each.purchase.request)["prompt"], each.task.task_id)
        for each in matches.adoptable
    ]


def test_the_only_task_of_the_only_request_is_adopted() -> None:
    """With everything that a provider may tell."""
    task = listed(prompt="kite", seed=7, size="1280*1280", n=1)
    matches = match_orphans([unknown()], [task], set())
    assert adopted(matches) == [("kite", "t")]
    assert (matches.ambiguous, matches.unexplained) == ((), ())


@pytest.mark.parametrize(
    "other",
    [
        {"model": "another"},
        {"prompt": "boat"},
        {"seed": 8},
        {"size": "1440*1440"},
        {"n": 2},
        {"at": -60.001},
        {"at": 900.001},
    ],
)
def test_what_differs_in_one_thing_is_not_ours(other: dict[str, Any]) -> None:
    """It stays unexplained."""
    matches = match_orphans([unknown()], [listed(**other)], set())
    assert adopted(matches) == []
    assert [task.task_id for task in matches.unexplained] == ["t"]


@pytest.mark.parametrize("at", [-60, 0, 900])
def test_clocks_may_differ(at: float) -> None:
    """By a minute before the intent and a quarter of an hour after it, the bounds included."""
    assert adopted(match_orphans([unknown()], [listed(at=at)], set())) == [("kite", "t")]


def test_a_task_that_a_purchase_has_is_no_orphan() -> None:
    """It is not even mentioned."""
    assert match_orphans([unknown()], [listed()], {"t"}) == Matches()


def test_two_tasks_for_one_request_are_left_to_a_person() -> None:
    """One of them is another user's, or a create was sent twice by somebody."""
    matches = match_orphans([unknown()], [listed("a"), listed("b", at=1)], set())
    assert adopted(matches) == []
    assert [task.task_id for task in matches.ambiguous] == ["a", "b"]


def test_two_requests_for_one_task_are_left_to_a_person() -> None:
    """What the provider tells does not tell them apart; where it does, it is adopted."""
    two = [unknown("kite"), unknown("boat")]
    assert [task.task_id for task in match_orphans(two, [listed()], set()).ambiguous] == ["t"]
    assert adopted(match_orphans(two, [listed(prompt="boat")], set())) == [("boat", "t")]


def test_a_create_on_its_way_keeps_its_task() -> None:
    """A live run is about to be told; a task that could be its is not given to another."""
    awaited, doubtful = unknown("boat"), unknown("kite")
    matches = match_orphans([doubtful], [listed()], set(), awaited=[awaited])
    assert adopted(matches) == []
    assert [task.task_id for task in matches.ambiguous] == ["t"]
    alone = match_orphans([], [listed()], set(), awaited=[awaited])
    assert [task.task_id for task in alone.ambiguous] == ["t"]


def test_one_id_with_two_contents_is_nobodys() -> None:
    """A list that contradicts itself proves nothing; a mere repetition does no harm."""
    twice = [listed(prompt="kite"), listed(prompt="boat")]
    matches = match_orphans([unknown("kite"), unknown("boat")], twice, set())
    assert adopted(matches) == []
    assert adopted(match_orphans([unknown()], [listed(), listed()], set())) == [("kite", "t")]


def test_the_list_is_asked_for_around_the_intents() -> None:
    """And not at all when nothing is unknown."""
    window = listing_window([unknown(at=100), unknown("boat", at=0)])
    assert window == (NOON - timedelta(seconds=60), NOON + timedelta(seconds=1000))
    assert listing_window([]) is None


PROMPTS = st.sampled_from(["kite", "boat", "fox"])
TIMES = st.integers(-100, 1100)
UNKNOWNS = st.lists(
    st.builds(
        lambda prompt, at, seed: unknown(prompt, at=at, seed=seed),
        PROMPTS,
        TIMES,
        st.integers(1, 2),
    ),
    max_size=5,
    unique_by=lambda purchase: purchase.key,
)
TASKS = st.lists(
    st.builds(
        lambda task_id, at, prompt, seed: listed(task_id, at=at, prompt=prompt, seed=seed),
        st.sampled_from("abcdef"),
        TIMES,
        st.none() | PROMPTS,
        st.none() | st.integers(1, 2),
    ),
    max_size=6,
)
KNOWN = st.sets(st.sampled_from("abcdef"), max_size=2)


def fits(purchase: Purchase, task: ListedTask) -> bool:
    """The rule, said again in other words."""
    request = json.loads(purchase.request)
    late = (task.created_at - purchase.created_at).total_seconds()
    told = {"prompt": task.prompt, "seed": task.seed}
    return -60 <= late <= 900 and all(told[name] in (None, request[name]) for name in told)


@given(UNKNOWNS, UNKNOWNS, TASKS, KNOWN, st.randoms(use_true_random=False))
def test_no_task_is_ever_given_away_in_doubt(
    unknowns: list[Purchase],
    others: list[Purchase],
    tasks: list[ListedTask],
    known: set[str],
    random: Any,
) -> None:
    """No task twice, no purchase twice, never with a second candidate, in whatever order."""
    keys = {each.key for each in unknowns}
    awaited = [each for each in others if each.key not in keys]
    matches = match_orphans(unknowns, tasks, known, awaited=awaited)
    given_ids = [match.task.task_id for match in matches.adoptable]
    assert len(given_ids) == len(set(given_ids))
    assert len({match.purchase.key for match in matches.adoptable}) == len(matches.adoptable)
    orphans = {task for task in tasks if task.task_id not in known}
    for match in matches.adoptable:
        makers = [each for each in [*unknowns, *awaited] if fits(each, match.task)]
        assert makers == [match.purchase]
        assert [task for task in orphans if fits(match.purchase, task)] == [match.task]
    explained: Sequence[ListedTask] = [
        *(match.task for match in matches.adoptable),
        *matches.ambiguous,
        *matches.unexplained,
    ]
    assert len(explained) == len(orphans)
    assert set(explained) == orphans
    assert not any(fits(each, task) for each in unknowns for task in matches.unexplained)
    for some in (unknowns, awaited, tasks):
        random.shuffle(some)
    again = match_orphans(unknowns, tasks, known, awaited=awaited)
    assert sorted(adopted(again)) == sorted(adopted(matches))
    assert (again.ambiguous, again.unexplained) == (matches.ambiguous, matches.unexplained)


@given(UNKNOWNS)
def test_a_provider_that_tells_everything_leaves_no_doubt(unknowns: list[Purchase]) -> None:
    """Every unknown gets the task that was made of it: caution does not mean doing nothing."""
    tasks = [
        ListedTask(
            task_id=f"task-{number}",
            created_at=purchase.created_at,
            model=MODEL,
            prompt=json.loads(purchase.request)["prompt"],
            seed=json.loads(purchase.request)["seed"],
        )
        for number, purchase in enumerate(unknowns)
    ]
    matches = match_orphans(unknowns, tasks, set())
    found = {match.purchase.key: match.task for match in matches.adoptable}
    assert found == {each.key: task for each, task in zip(unknowns, tasks, strict=True)}
