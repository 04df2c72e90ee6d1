"""What a person sees while `wan run` works: on a terminal a bar that moves."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wan_pipeline_tests.cli.conftest import Folder


def test_the_bar_moves_on_a_terminal(folder: Folder) -> None:
    """Requested, in flight, done, failed and cost, also while Dagster captures the output."""
    folder.write("kites.csv", "prompt\n" + "".join(f"kite {number}\n" for number in range(12)))
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [Path(sys.executable).with_name("wan"), "run", "kites"],
        env={**os.environ, **folder.env, "TERM": "xterm-256color", "COLUMNS": "150"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    ) as process:
        os.close(theirs)
        seen = b""
        try:
            while chunk := os.read(ours, 65536):
                seen += chunk
        except OSError:
            assert seen  # the terminal is closed when the command ends
        assert process.wait(timeout=60) == 0
    os.close(ours)
    screen = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    drawn = re.findall(r"images [^\r\n]* 12 requested, \d+ in flight, (\d+) done", screen)
    assert len(set(drawn)) > 1
    assert "submitted=12 stored=12 failed=0 cost_usd=0.36" in screen
