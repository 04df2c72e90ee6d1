"""A process that is killed in the middle of writing one file."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["left_by_a_killed_writer"]

WRITER = """
import signal, sys
from pathlib import Path
from wan_pipeline.dataset.atomic import atomic_path
with atomic_path(Path(sys.argv[1])) as temp:
    temp.write_bytes(b"half of the n")
    print(temp.name, flush=True)
    signal.pause()
"""


def left_by_a_killed_writer(target: Path) -> Path:
    """Kill a process that writes `target` and return the unfinished file that it leaves."""
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(target)], stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout is not None
        name = writer.stdout.readline().strip()
        writer.kill()
    left = target.with_name(name)
    assert left.read_bytes() == b"half of the n"
    return left
