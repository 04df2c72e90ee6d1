"""Which events a fault strikes, and which faults make a plan."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from wan_pipeline.emulator.faults import FaultDesk
from wan_pipeline.emulator.plan import EmulatorPlan, Fault, FaultKind

K = FaultKind


def struck(fault: Fault, prompts: list[str]) -> list[int]:
    """Positions, from 1, at which a fault strikes a series of creates."""
    desk = FaultDesk((fault,), seed=1)
    hits = (desk.strike("create", set(K), key=prompt, prompt=prompt) for prompt in prompts)
    return [number for number, hit in enumerate(hits, start=1) if hit]


@pytest.mark.parametrize(
    ("selector", "hits"),
    [
        ({}, [1, 2, 3, 4, 5, 6, 7, 8, 9]),
        ({"first": 2}, [1, 2]),
        ({"after": 2, "first": 2}, [3, 4]),
        ({"every": 3}, [3, 6, 9]),
        ({"every": 3, "times": 2}, [3, 6]),
        ({"after": 4, "every": 2}, [6, 8]),
        ({"probability": 0}, []),
        ({"prompt_contains": "b"}, [2, 5, 8]),
        ({"prompt_contains": "b", "after": 1, "times": 1}, [5]),
    ],
)
def test_selectors_pick_their_events(selector: dict[str, Any], hits: list[int]) -> None:
    """Counts look at matching events only, and all selectors must agree."""
    assert struck(Fault(kind=K.TASK_FAILED, **selector), ["a", "b", "c"] * 3) == hits


def test_a_random_fault_is_the_same_in_any_order() -> None:
    """The draw follows the seed and the content, not the order of arrival."""
    prompts = [f"prompt {number}" for number in range(300)]
    fault = Fault(kind=K.TASK_FAILED, probability=0.2)
    forth = {prompts[hit - 1] for hit in struck(fault, prompts)}
    back = {prompts[::-1][hit - 1] for hit in struck(fault, prompts[::-1])}
    assert forth == back
    assert 30 < len(forth) < 90


def test_a_fault_waits_for_its_own_step() -> None:
    """A fault on polls lets creates pass, and does not count them."""
    desk = FaultDesk((Fault(kind=K.ERROR_500_BEFORE, on="poll", first=1),), seed=0)
    assert desk.strike("create", set(K), key="k", prompt="p") is None
    assert desk.strike("poll", set(K), key="k", prompt="p") is not None
    assert desk.strike("poll", set(K), key="k", prompt="p") is None


@pytest.mark.parametrize(
    ("kind", "step"),
    [(K.TRUNCATED_IMAGE, "poll"), (K.UNKNOWN_TASK, "create"), (K.REFUSED_400, "download")],
)
def test_a_fault_at_the_wrong_step_is_no_plan(kind: FaultKind, step: Any) -> None:
    """The error names the steps that the kind knows."""
    with pytest.raises(ValidationError, match="choose one of"):
        Fault(kind=kind, on=step)


@pytest.mark.parametrize("kind", list(K))
def test_every_kind_has_a_default_step_and_survives_json(kind: FaultKind) -> None:
    """A plan with any fault can be written and read back."""
    plan = EmulatorPlan(faults=(Fault(kind=kind),))
    assert EmulatorPlan.model_validate_json(plan.model_dump_json()) == plan
