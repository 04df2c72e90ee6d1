"""Asking a person before something that cannot be taken back. Imports nothing heavy."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.screen import warn
from wan_pipeline.wan.errors import ConfigurationError

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["ask"]


def ask(
    console: Console, question: str, *, yes: bool, otherwise: str = "Nothing was changed"
) -> None:
    """Go on only with the person's consent; without it the command ends here.

    Args:
        console: where it is said that nothing happened.
        question: what is asked.
        yes: it was answered beforehand.
        otherwise: what is true without consent.

    Raises:
        ConfigurationError: there is nobody to ask.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ConfigurationError(
            f"there is no terminal to ask on: pass --yes if this is what you want. {otherwise}"
        )
    if not typer.confirm(question, err=console.stderr):
        warn(console, f"{otherwise}.")
        raise typer.Exit(ExitCode.ERROR)  # so that no script goes on as if it had been
