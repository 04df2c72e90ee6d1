"""A profile's pages over HTTP, for who comes from a page that was served too.

A browser follows no ``file:`` link of such a page, and the Dagster UI is one. Served is what pages
show and link to; anything else, the ledger and the run history above all, is not found. On loopback
only, to be read only, without listings.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

if TYPE_CHECKING:
    from collections.abc import Sequence

    from starlette.responses import Response

__all__ = ["PAGES_URL", "listen", "run_with_pages", "serve_pages", "url_of"]

PAGES_URL = "WAN_PAGES_URL"
"""The variable by which a command learns where pages are served."""

HOST = "127.0.0.1"
PAGES = frozenset({".html"})
PICTURES = frozenset({".png", ".webp", ".jpeg", ".jpg"})
SERVED = {
    "gallery": PAGES,
    "quality": PAGES,
    "reproductions": PAGES,
    "spend": PAGES | {".parquet"},  # its page links to the tables behind it
    "images": PICTURES,
    "thumbnails": PICTURES,
}
"""Kinds of files that are served, by folder of the profile."""

HEADERS = {
    "Cache-Control": "no-cache",  # pages are replaced; a file that is the same is not sent again
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
LOOK_EVERY_S = 0.5


def listen(port: int) -> socket.socket:
    """A listening socket on loopback; port 0 takes a free one.

    Raises:
        OSError: the port is taken.
    """
    return socket.create_server((HOST, port))


def url_of(listener: socket.socket) -> str:
    """Where the pages are, as `WAN_PAGES_URL` has it."""
    return f"http://{HOST}:{listener.getsockname()[1]}"


def serve_pages(root: Path, listener: socket.socket, *, parent: int | None = None) -> None:
    """Serve a profile's folder until interrupted.

    Args:
        root: the folder, as `DataLayout.root`.
        listener: from `listen`.
        parent: the process that started this one, and with which it ends.
    """
    with contextlib.suppress(KeyboardInterrupt):
        _Server(_app(root), parent).run(sockets=[listener])


def run_with_pages(root: Path, listener: socket.socket, command: Sequence[str]) -> NoReturn:
    """Become a command, with the pages served for as long as it runs; it is told where.

    The server is a process of its own, so that the command takes this one's place: whoever started
    it signals and awaits the command itself.

    Raises:
        FileNotFoundError: there is no such command.
    """
    program = shutil.which(command[0])
    if program is None:
        raise FileNotFoundError(command[0])
    told = [str(root), str(listener.fileno()), str(os.getpid())]
    subprocess.Popen(  # noqa: S603  this module
        [sys.executable, "-m", __spec__.name, *told], pass_fds=[listener.fileno()]
    )
    os.execve(program, list(command), {**os.environ, PAGES_URL: url_of(listener)})  # noqa: S606


def _app(root: Path) -> Starlette:
    # Another host's name that leads here would let that host's pages read ours.
    ours = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=[Mount("/", _Served(root))], middleware=[ours])


def _is_served(path: str) -> bool:
    """Whether a path below the folder is that of a page or of something it needs."""
    asked = PurePosixPath(path)
    if len(asked.parts) < 2 or any(part.startswith(".") for part in asked.parts) or "\0" in path:
        return False
    return asked.suffix in SERVED.get(asked.parts[0], ())


class _Served(StaticFiles):
    """The files of a folder that pages show and link to."""

    def __init__(self, root: Path) -> None:
        """Serve what lies below `root`."""
        super().__init__(directory=root)
        self._real = root.resolve()

    def lookup_path(self, path: str) -> tuple[str, os.stat_result | None]:
        """Where a file lies; nothing for one that is not served, there or not."""
        if not _is_served(path):
            return "", None
        found, stat = super().lookup_path(path)
        # What a link leads to is asked for as well.
        is_ours = stat is not None and _is_served(os.path.relpath(found, self._real))
        return (found, stat) if is_ours else ("", None)

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        """The file, or that it has not changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(HEADERS)
        return response


class _Server(uvicorn.Server):
    """uvicorn, that ends with the process for which it was started."""

    def __init__(self, app: Starlette, parent: int | None) -> None:
        self._parent = parent
        super().__init__(
            uvicorn.Config(
                app,
                ws="none",
                lifespan="off",
                proxy_headers=False,
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=2,
            )
        )

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop, or until the parent is gone."""
        watch = asyncio.ensure_future(self._watch())
        try:
            await super().serve(sockets)
        finally:
            watch.cancel()

    async def _watch(self) -> None:
        # An orphan is given another parent.
        while self._parent in (None, os.getppid()):  # noqa: ASYNC110  no event tells of it
            await asyncio.sleep(LOOK_EVERY_S)
        self.should_exit = True


if __name__ == "__main__":
    _root, _listener, _parent = sys.argv[1:]
    serve_pages(Path(_root), socket.socket(fileno=int(_listener)), parent=int(_parent))
