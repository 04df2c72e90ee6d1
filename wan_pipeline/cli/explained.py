"""Expected errors as one sentence and an exit code; shared by every command. Imports nothing heavy.

What is unexpected keeps its traceback.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import typer
from pydantic import ValidationError

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.screen import say, warn
from wan_pipeline.ledger.errors import DecisionError, LedgerError, UnclearRequestError
from wan_pipeline.prompts.errors import PromptError
from wan_pipeline.wan.errors import ConfigurationError, WanError

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console

__all__ = ["explained"]

# What the person who typed the command can mend by typing another one.
USAGE_ERRORS = ConfigurationError | PromptError | DecisionError | UnclearRequestError


@contextmanager
def explained(console: Console) -> Generator[None]:
    """End the command with a sentence when something expected goes wrong in the block."""
    try:
        yield
    except (WanError, PromptError, LedgerError, OSError) as error:
        say(console, str(error))
        code = ExitCode.USAGE if isinstance(error, USAGE_ERRORS) else ExitCode.ERROR
        raise typer.Exit(code) from error
    except ValidationError as error:
        for problem in error.errors():
            if problem["type"] == "value_error":  # one of our own, which names the variable
                say(console, problem["msg"].removeprefix("Value error, "))
                continue
            name = "_".join(str(part) for part in problem["loc"]).upper()
            say(console, f"WAN_{name}={problem['input']!r}: {problem['msg']}")
        raise typer.Exit(ExitCode.USAGE) from error
    except KeyboardInterrupt:
        warn(
            console,
            "Interrupted. Tasks at the provider go on; `wan run` fetches them and buys nothing"
            " twice.",
        )
        raise typer.Exit(ExitCode.INTERRUPTED) from None
