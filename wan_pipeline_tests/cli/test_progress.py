"""What a person sees while `wan run` works: on a terminal a bar that moves."""

from __future__ import annotations

import io
import os
import pty
import re
import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from wan_pipeline.cli.console import LiveProgress
from wan_pipeline.cli.screen import open_console
from wan_pipeline.generation.progress import BatchReport, Tally

if TYPE_CHECKING:
    import pytest

    from wan_pipeline_tests.cli.conftest import Folder

ZERO = Decimal(0)


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


def test_the_last_line_without_a_terminal_is_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    """However short before it another line was due; and an end that was told is not told twice."""
    with LiveProgress(open_console()) as progress:
        tally = Tally(requests=51, done=16)
        progress.update(tally)
        tally.done = 41
        progress.update(tally)
        report = BatchReport(tally=tally, stop=None, stop_detail="", left=0, left_cost_usd=ZERO)
        progress.finished(report)
        progress.finished(report)
    told = capsys.readouterr().out.splitlines()
    assert [line.split(", ")[2] for line in told] == ["16 done", "41 done"]


def test_what_a_stop_left_is_not_called_failed() -> None:
    """Nothing is wrong with it: a run with a higher cap buys it."""
    screen = io.StringIO()
    with LiveProgress(Console(file=screen, width=200)) as progress:
        progress.update(Tally(requests=6, done=2, failed=4, left=4))
    assert "2 done, 0 failed, 4 left, $0.00" in screen.getvalue()
