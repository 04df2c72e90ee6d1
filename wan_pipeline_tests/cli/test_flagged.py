"""`wan run` tells what is noticed about the images, and where to look."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import TYPE_CHECKING

from rich.console import Console

from wan_pipeline.cli.built import Built
from wan_pipeline.defs.launch import JobOutcome
from wan_pipeline.generation.planning import Standing
from wan_pipeline.layout import DataLayout

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def built(folder: Path, flagged: Mapping[str, int]) -> Built:
    """A run that went well."""
    return Built(
        prompt_set="set",
        layout=DataLayout(folder, "emulator"),
        outcome=JobOutcome(run_id="run", success=True),
        standing=Standing(stored=2, images_stored=5),
        unfinished=(),
        rejections=0,
        steps=(),
        own_stop=None,
        hold=None,
        left=0,
        left_cost_usd=Decimal(0),
        submitted=2,
        stored=5,
        taken_up=0,
        pauses=(),
        repairs=(),
        cost_usd=Decimal("0.15"),
        duration_s=1.0,
        flagged=flagged,
    )


def shown(run: Built) -> str:
    """What a person sees, on a wide screen."""
    console = Console(file=io.StringIO(), width=400, markup=False)
    run.show(console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_flags_are_counted_with_the_page_that_shows_them(tmp_path: Path) -> None:
    """A flag is no failure: the exit code is that of a complete run."""
    run = built(tmp_path, {"near_duplicate": 4, "blank": 1})
    assert f"1 blank, 4 near_duplicate; see {run.layout.quarantine('set')}" in shown(run)
    assert run.as_json()["flagged"] == {"near_duplicate": 4, "blank": 1}
    assert run.exit_code() == 0


def test_without_flags_nothing_is_said(tmp_path: Path) -> None:
    """Only for who asks for JSON, who gets the page's place all the same."""
    run = built(tmp_path, {})
    assert "flagged" not in shown(run)
    assert run.as_json()["quarantine"] == str(run.layout.quarantine("set"))
