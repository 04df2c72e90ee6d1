"""What Dagster's own storage raises when it cannot keep a run's history: one error of ours."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from dagster import DagsterRunNotFoundError
from sqlalchemy.exc import SQLAlchemyError

from wan_pipeline.wan.errors import RunHistoryError

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["is_of_the_history", "recorded"]


@contextmanager
def recorded(home: str) -> Generator[None]:
    """Whatever the instance's storage raises in the block is one error, with what to do.

    Exceptions of the pipeline's own code never pass here: Dagster keeps them as a failed step.

    Args:
        home: folder of the instance.

    Raises:
        RunHistoryError: its databases or logs cannot be read or written.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError, DagsterRunNotFoundError) as error:
        raise RunHistoryError(home, _reason(error)) from error


def is_of_the_history(class_name: str | None) -> bool:
    """Whether a step failed with an error of the storage, by the error's class.

    Writing a line of the run's log raises one inside of a step. The ledger's own never get there:
    it has errors of its own for them.
    """
    return class_name in _names(SQLAlchemyError)


def _reason(error: Exception) -> str:
    """The database's or the system's own words, without the statement and SQLAlchemy's advice."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__


def _names(error: type[Exception]) -> set[str]:
    return {error.__name__}.union(*(_names(each) for each in error.__subclasses__()))
