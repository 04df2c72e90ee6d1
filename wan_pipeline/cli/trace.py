"""`wan trace`: from an image, a prompt, a request or a task to all that belongs to it."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from wan_pipeline.cli.exit_codes import ExitCode
from wan_pipeline.cli.explained import explained
from wan_pipeline.cli.opened import opened_ledger
from wan_pipeline.cli.screen import open_console, say, warn
from wan_pipeline.settings import Settings

__all__ = ["trace"]


def trace(
    asked: Annotated[
        str,
        typer.Argument(
            metavar="IMAGE_OR_PROMPT_OR_TASK",
            help="Path of an image file, stored, exported or changed since; id of an image or"
            " request or SHA-256 of an exported file, or its first 6 digits or more; name of an"
            " exported file; prompt id or whole text; or task id.",
            show_default=False,
        ),
    ],
    *,
    limit: Annotated[int, typer.Option(min=1, help="Requests told, where a prompt has many.")] = 10,
    as_json: Annotated[bool, typer.Option("--json", help="JSON on stdout, for scripts.")] = False,
) -> None:
    """Tell where an image comes from, or what became of a prompt: row, request, task, cost, files.

    Goes both ways: from any image to the prompt's row, the request, the task, every event of the
    ledger and the cost; and from a prompt to its requests, images and the releases that hold them.
    A file whose bytes are not known is traced by the ids in its own metadata, and that is said.
    Sends nothing. Exit code 2 when nothing is known by that name, 3 when a file is no known image.
    """
    console = open_console(stderr=as_json)
    settings = Settings()
    with explained(console), opened_ledger(settings, to_look=True) as ledger:
        from wan_pipeline.cli.traced import show_trace, trace_as_json  # noqa: PLC0415  pyarrow
        from wan_pipeline.dataset.trace.errors import (  # noqa: PLC0415
            TraceError,
            UnknownFileError,
        )
        from wan_pipeline.dataset.trace.trace import trace as find  # noqa: PLC0415

        try:
            found = find(asked, ledger=ledger, layout=settings.layout)
        except TraceError as error:
            say(console, str(error))
            unknown = isinstance(error, UnknownFileError)
            raise typer.Exit(ExitCode.INCOMPLETE if unknown else ExitCode.USAGE) from error
    if as_json:
        typer.echo(json.dumps(trace_as_json(found), indent=2))
        return
    show_trace(console, found, limit=limit)
    for problem in found.problems:
        warn(console, problem)
