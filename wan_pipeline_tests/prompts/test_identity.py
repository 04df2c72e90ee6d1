"""Ids and seeds: functions of content, the same on every machine, for ever."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from wan_pipeline.prompts.canonical import canonical_json
from wan_pipeline.prompts.expand import expand
from wan_pipeline.prompts.prompt import Prompt, derive_prompt_id
from wan_pipeline.prompts.request import GenerationRequest
from wan_pipeline.prompts.seeds import MAX_SEED, derive_seed

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def a_prompt(**changes: Any) -> Prompt:
    """A prompt with some of its fields changed."""
    fields: dict[str, Any] = {
        "prompt_id": "kite",
        "prompt": "a red kite",
        "negative_prompt": "",
        "size": "1280*1280",
        "n": 1,
        "seed": None,
        "replicas": 1,
        "prompt_extend": True,
        "watermark": False,
        "prompt_columns": "{}",
        "row": 1,
    }
    return Prompt(**{**fields, **changes})


def a_request(**changes: Any) -> GenerationRequest:
    """A request with some of its fields changed."""
    fields: dict[str, Any] = {
        "model": "wan25_t2i_preview_intl",
        "prompt": "a red kite",
        "negative_prompt": "",
        "size": "1280*1280",
        "n": 1,
        "seed": 7,
        "prompt_extend": True,
        "watermark": False,
    }
    return GenerationRequest(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "request_id"),
    [
        ({}, "db6db52438dfd735a543ecae295c9fbd0b302232cffdd4080cd36a40ac49ef2f"),
        (
            {"prompt": "清晨的茶屋", "negative_prompt": "文字", "size": "768*2700"},
            "a1bd3fd99e69e97f2c1e02ba99af676bf78295b10eb79405b26f6d8ce46732d1",
        ),
        (
            {"prompt": 'quotes " and\nlines \u2028 🪁', "n": 4, "seed": 2147483647},
            "26077f93eaa1ffa44ba09c9cb4434f480e56c36a4cc1201a4e2b519bee17dfff",
        ),
        (
            {"prompt_extend": False, "watermark": True, "seed": 0},
            "6f27b299e86b98ec01ea0be331974d68ddb601aa9b2bd37565c8cca7ad2f8d2a",
        ),
    ],
)
def test_golden_request_ids(changes: dict[str, Any], request_id: str) -> None:
    """A changed id here means that every user would buy everything again."""
    assert a_request(**changes).request_id == request_id


@pytest.mark.parametrize(
    ("arguments", "seed"),
    [
        ((0, "kite", 0), 1473013617),
        ((0, "kite", 1), 566931121),
        ((42, "5d9c66621535563c", 0), 1189734052),
        ((-1, "山", 999), 1361407360),
    ],
)
def test_golden_seeds(arguments: tuple[int, str, int], seed: int) -> None:
    """A changed seed here means that every user would buy everything again."""
    assert derive_seed(*arguments) == seed


@pytest.mark.parametrize(
    ("texts", "prompt_id"),
    [
        (("a red kite", ""), "5f02d9b86d708389"),
        (("清晨的茶屋", "文字"), "edb3fa862dc38190"),
    ],
)
def test_golden_prompt_ids(texts: tuple[str, str], prompt_id: str) -> None:
    """A changed prompt id here changes every derived seed."""
    assert derive_prompt_id(*texts) == prompt_id


@settings(deadline=None)
@given(TEXT, TEXT, st.integers(0, MAX_SEED), st.booleans())
def test_request_json_is_rfc_8785(prompt: str, negative: str, seed: int, flag: bool) -> None:
    """The canonical JSON agrees with an independent implementation of the standard."""
    request = a_request(prompt=prompt, negative_prompt=negative, seed=seed, watermark=flag)
    assert request.canonical_json() == rfc8785.dumps(asdict(request))


@settings(deadline=None)
@given(st.recursive(TEXT | st.integers(-(2**53) + 1, 2**53 - 1) | st.booleans(), st.lists))
def test_canonical_json_is_rfc_8785(value: Any) -> None:
    """So does everything else that is hashed."""
    assert canonical_json(value).encode() == rfc8785.dumps(value)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "other"},
        {"prompt": "a red kite "},
        {"negative_prompt": "text"},
        {"size": "1696*960"},
        {"n": 2},
        {"seed": 8},
        {"prompt_extend": False},
        {"watermark": True},
    ],
)
def test_every_field_is_part_of_the_request_id(change: dict[str, Any]) -> None:
    """Requests that differ in anything are different purchases."""
    assert a_request(**change).request_id != a_request().request_id


def test_texts_do_not_run_into_each_other() -> None:
    """Moving text from the prompt to the negative prompt makes another prompt."""
    assert derive_prompt_id("ab", "c") != derive_prompt_id("a", "bc")


@settings(deadline=None)
@given(st.integers(-(2**40), 2**40), TEXT, st.integers(0, 1000))
def test_derived_seeds_are_in_range(base: int, prompt_id: str, replica: int) -> None:
    """Any derived seed is one the API accepts."""
    assert 0 <= derive_seed(base, prompt_id, replica) <= MAX_SEED


def test_derived_seeds_differ() -> None:
    """Base seed, prompt id and replica each make a difference."""
    seeds = {derive_seed(0, "a", 0), derive_seed(1, "a", 0), derive_seed(0, "b", 0)}
    assert len(seeds | {derive_seed(0, "a", 1)}) == 4


def test_replicas_of_a_given_seed() -> None:
    """They count up from it and begin again at 0 after the largest."""
    planned = list(expand(a_prompt(seed=MAX_SEED - 1, replicas=3), model="m", base_seed=0))
    assert [p.request.seed for p in planned] == [MAX_SEED - 1, MAX_SEED, 0]
    assert {p.seed_source for p in planned} == {"given"}
    assert [p.replica for p in planned] == [0, 1, 2]


def test_replicas_without_a_seed() -> None:
    """Each derives its own."""
    planned = list(expand(a_prompt(replicas=3), model="m", base_seed=5))
    assert [p.request.seed for p in planned] == [derive_seed(5, "kite", r) for r in range(3)]
    assert {p.seed_source for p in planned} == {"derived"}


def test_seed_zero_is_a_seed() -> None:
    """Zero is given, not missing."""
    (planned,) = expand(a_prompt(seed=0), model="m", base_seed=5)
    assert (planned.request.seed, planned.seed_source) == (0, "given")


def test_the_row_is_not_part_of_the_identity() -> None:
    """A prompt keeps its digest and its requests when its row moves."""
    here, there = a_prompt(row=1), a_prompt(row=99)
    assert here.content_digest() == there.content_digest()
    (one,) = expand(here, model="m", base_seed=0)
    (two,) = expand(there, model="m", base_seed=0)
    assert one.request_id == two.request_id
