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
from wan_pipeline.dataset.release.errors import (
    DamagedReleaseError,
    IncompleteSetError,
    ReleaseAccessError,
    ReleaseError,
    ReleaseUsageError,
    StaleTableError,
)
from wan_pipeline.ledger.errors import (
    DecisionError,
    LedgerError,
    LedgerUnavailableError,
    LedgerVersionError,
    UnclearRequestError,
)
from wan_pipeline.prompts.errors import PromptError
from wan_pipeline.wan.errors import ConfigurationError, RunHistoryError, WanError

if TYPE_CHECKING:
    from collections.abc import Generator

    from rich.console import Console

    from wan_pipeline.defs.launch import JobOutcome

__all__ = ["exit_code_of", "explained", "say_why"]

# What the person who typed the command can mend, by typing another one or by giving access.
USAGE_ERRORS = (
    ConfigurationError,
    PromptError,
    DecisionError,
    UnclearRequestError,
    ReleaseUsageError,
    ReleaseAccessError,
)
# Something is not as it should be.
FINDINGS = (DamagedReleaseError, IncompleteSetError, StaleTableError)
# What surrounds the command has to be mended; then the same command goes on.
STOPS = (RunHistoryError, LedgerUnavailableError, LedgerVersionError)


@contextmanager
def explained(console: Console) -> Generator[None]:
    """End the command with a sentence when something expected goes wrong in the block."""
    try:
        yield
    except (WanError, PromptError, LedgerError, ReleaseError, OSError) as error:
        say(console, _told(error))
        raise typer.Exit(exit_code_of(type(error).__name__)) from error
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


def say_why(console: Console, outcome: JobOutcome, *, interrupted: str) -> ExitCode:
    """Say why a run that only makes files made none; the code that tells it to a script.

    Args:
        console: where to.
        outcome: of the run, which did not succeed.
        interrupted: what is true when it was interrupted.
    """
    if outcome.interrupted:
        warn(console, f"Interrupted. {interrupted}")
        return ExitCode.INTERRUPTED
    say(console, outcome.error or f"run {outcome.run_id} failed; its log is in the Dagster UI")
    return exit_code_of(outcome.error_class)


def exit_code_of(error_class: str) -> ExitCode:
    """The code for an expected error, by its class's name: all that a run keeps of it."""
    if error_class in _names(USAGE_ERRORS):
        return ExitCode.USAGE
    if error_class in _names(STOPS):
        return ExitCode.STOPPED
    return ExitCode.INCOMPLETE if error_class in _names(FINDINGS) else ExitCode.ERROR


def _told(error: Exception) -> str:
    """Its message; of the system's own errors a sentence, which they have none of."""
    if not isinstance(error, OSError) or error.errno is None or error.filename is None:
        return str(error)
    place = error.filename2 or error.filename
    return (
        f"{place}: {error.strerror}. Name another place, or see to it that this one can be read and"
        " written and its disk has room; then run again"
    )


def _names(classes: tuple[type[Exception], ...]) -> set[str]:
    """Their names and those of every class below them."""
    return {
        name for each in classes for name in {each.__name__, *_names(tuple(each.__subclasses__()))}
    }
