"""`wan pages`: the profile's pages over HTTP, alone or for as long as a command runs."""

from __future__ import annotations

import os
from typing import Annotated

import typer

from wan_pipeline.cli.explained import explained
from wan_pipeline.cli.screen import open_console, say
from wan_pipeline.settings import Settings
from wan_pipeline.wan.errors import ConfigurationError

__all__ = ["PAGES_OPTIONS", "pages"]

PAGES_OPTIONS = {"allow_interspersed_args": False}
"""What follows the command's name is the command's."""


def pages(
    command: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[COMMAND]...",
            help="Served while this runs, and told to it as WAN_PAGES_URL. Where that is set, the"
            " pages are served by somebody else, and the command is only run.",
            show_default=False,
        ),
    ] = None,
    *,
    port: Annotated[int, typer.Option(help="TCP port on 127.0.0.1; 0 takes a free one.")] = 3001,
) -> None:
    """Serve the profile's pages and images on 127.0.0.1, until Ctrl-C or while a command runs.

    Pages open from disk without it. The Dagster UI can lead to them only where they are served: a
    browser follows no file:// link of a page that came over HTTP.
    """
    console = open_console(stderr=True)
    with explained(console):
        from wan_pipeline.report.serving import (  # noqa: PLC0415  keeps --help fast
            listen,
            run_with_pages,
            serve_pages,
            url_of,
        )

        settings = Settings()
        root = settings.layout.root
        try:
            if command and settings.pages_url is not None:
                os.execvp(command[0], command)  # noqa: S606  the user's command
            if not root.is_dir():
                raise ConfigurationError(
                    f"{root} does not exist, so there are no pages: `wan plan` begins it"
                )
            try:
                listener = listen(port)
            except (OSError, OverflowError) as error:
                raise ConfigurationError(
                    f"port {port} of 127.0.0.1 cannot be listened on ({error}): choose another one"
                    " with --port (make dev PAGES_PORT=...), or 0 for any that is free"
                ) from error
            url = url_of(listener)
            say(console, f"pages of {root} on {url}, such as {url}/gallery/SET/index.html")
            if command:
                run_with_pages(root, listener, command)
            serve_pages(root, listener)
        except FileNotFoundError as error:
            raise ConfigurationError(f"there is no command {error}. Check its name") from error
