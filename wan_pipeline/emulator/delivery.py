"""The bytes of a result image, whole or damaged as the plan asks.

Runs in a worker thread: painting costs milliseconds of processor time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wan_pipeline.emulator.faults import FaultKind
from wan_pipeline.emulator.painter import paint

if TYPE_CHECKING:
    from wan_pipeline.emulator.book import Task

__all__ = ["image_bytes"]

_PAGE = b"<!DOCTYPE html><html><body><h1>Bad gateway</h1></body></html>"


def image_bytes(task: Task, index: int, fault: FaultKind | None) -> bytes:
    """Paint one image of a task and damage it as the fault says, if there is one.

    Args:
        task: a task that has ended.
        index: 0-based number of the image within its task.
        fault: the kind of damage, or None.
    """
    if fault is FaultKind.HTML_IMAGE:
        return _PAGE
    if fault is FaultKind.EMPTY_IMAGE:
        return b""
    shrink = 64 if fault is FaultKind.WRONG_SIZE_IMAGE else 0
    content = task.content
    data = paint(
        content.prompt,
        task.seed,
        index,
        width=content.width - shrink,
        height=content.height - shrink,
        watermark=content.watermark,
        fmt=task.image_format.value,
        revision=task.model_revision,
    )
    if fault is FaultKind.TRUNCATED_IMAGE:
        return data[: len(data) * 2 // 3]
    if fault is FaultKind.CORRUPTED_IMAGE:
        middle = len(data) // 2
        return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
    return data
