"""What `wan` prints: words of others do not steer the terminal, and help is for newcomers."""

from __future__ import annotations

import io
from decimal import Decimal

from rich.console import Console

from wan_pipeline import __version__
from wan_pipeline.cli.console import unfinished_table
from wan_pipeline.cli.screen import say, warn
from wan_pipeline.generation.planning import UnfinishedRequest


def test_words_of_others_do_not_steer_the_terminal() -> None:
    """Neither in sentences nor in tables; text of any script stays as it is."""
    odd = "\x1b[2J\x9b31m\u202egnp.exe 清晨"
    request = UnfinishedRequest(
        request_id="0" * 64, prompt_id=odd, state="failed", reason=odd, n=1, reserved_usd=Decimal(0)
    )
    out = io.StringIO()
    console = Console(file=out, width=200)
    say(console, odd)
    warn(console, odd)
    console.print(unfinished_table([request]))
    assert out.getvalue().count("清晨") == 4
    assert not {"\x1b", "\x9b", "\u202e"} & set(out.getvalue())


def test_help_is_for_newcomers() -> None:
    """Every command explains itself; the exit codes are on the first page."""
    from typer.testing import CliRunner  # noqa: PLC0415

    from wan_pipeline.cli.app import app  # noqa: PLC0415

    runner = CliRunner()
    first = runner.invoke(app, ["--help"], env={"COLUMNS": "200"}).output
    assert "Exit codes: 0 everything complete" in first
    for command in ("plan", "run", "status", "reconcile", "emulator"):
        assert command in first
        page = runner.invoke(app, [command, "--help"], env={"COLUMNS": "200"})
        assert page.exit_code == 0
        assert len(page.output.split()) > 20
    for command in ("show", "export", "adopt", "release", "write-off"):
        page = runner.invoke(app, ["ledger", command, "--help"], env={"COLUMNS": "200"})
        assert page.exit_code == 0
        assert len(page.output.split()) > 20
        assert command in runner.invoke(app, ["ledger"], env={"COLUMNS": "200"}).output
    assert runner.invoke(app, ["--version"]).output.strip() == __version__
