"""Two readers, one fact: what a data folder holds against what the provider bills."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from wan_pipeline.temp_files import TEMP_PREFIX
from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from pathlib import Path

    from wan_pipeline_tests.emulator_fixture import RunningEmulator
    from wan_pipeline_tests.generation.batch_fixture import Books

__all__ = ["ended_bill", "forgotten_tasks", "rescued_tasks", "temp_files"]

PATIENCE_S = 30.0


def ended_bill(emulator: RunningEmulator) -> Decimal:
    """The bill in USD as soon as no accepted task can still change it."""
    wait_for(
        lambda: all(task["state"] in ("completed", "failed") for task in emulator.tasks()),
        what="the end of the accepted tasks",
        within_s=PATIENCE_S,
    )
    return Decimal(emulator.bill()["usd"])


def rescued_tasks(folder: Path) -> set[str]:
    """Ids of tasks in the rescue files of a data folder."""
    lines = [line for path in folder.glob("*.jsonl") for line in path.read_text().split("\n")]
    return {json.loads(line)["task_id"] for line in lines if line}


def forgotten_tasks(emulator: RunningEmulator, books: Books, rescue: Path) -> set[str]:
    """Tasks that the provider bills and that neither the ledger nor a rescue file names."""
    known = {purchase.task_id for purchase in books.purchases.values()}
    return {task["id"] for task in emulator.tasks()} - known - rescued_tasks(rescue)


def temp_files(folder: Path) -> list[Path]:
    """Unfinished files in and below a folder."""
    return [path for path in folder.rglob("*") if path.name.startswith(TEMP_PREFIX)]
