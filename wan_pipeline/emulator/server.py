"""Runs the emulator as an HTTP server, until nobody needs it any more."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

import uvicorn
from filelock import FileLock, Timeout

from wan_pipeline.emulator.app import Emulator
from wan_pipeline.emulator.endpoint import Endpoint, listen
from wan_pipeline.emulator.leases import Leases

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from wan_pipeline.emulator.plan import EmulatorPlan

__all__ = ["EmulatorServer", "PortTakenError", "StateDirInUseError", "serve"]

_LOOK_EVERY_S = 0.5
_GRACE_S = 3.0
_HANDOVER_S = 4.0

_log = logging.getLogger(__name__)


class StateDirInUseError(RuntimeError):
    """Another emulator already serves this state folder."""


class PortTakenError(RuntimeError):
    """The port is somebody else's."""


class EmulatorServer(uvicorn.Server):
    """uvicorn around one emulator; ends waiting answers before it shuts down."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        super().__init__(
            uvicorn.Config(
                emulator.app(),
                http=emulator.connections.protocol(),
                ws="none",
                lifespan="off",
                proxy_headers=False,
                access_log=False,
                log_config=None,
                timeout_graceful_shutdown=2,
                backlog=1024,
            )
        )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop serving; open answers get two seconds."""
        self.emulator.stopping.set()
        await super().shutdown(sockets)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop or, with leases, until no holder is alive."""
        watch = asyncio.ensure_future(self._watch())
        try:
            await super().serve(sockets)
        finally:
            watch.cancel()
            self.emulator.close()

    async def _watch(self) -> None:
        leases = self.emulator.leases
        if leases is None:
            return
        needed_at = time.monotonic()
        while time.monotonic() - needed_at < _GRACE_S:
            await asyncio.sleep(_LOOK_EVERY_S)
            if leases.any_alive():
                needed_at = time.monotonic()
        _log.info("no process holds a lease any more: stopping")
        self.emulator.stopping.set()
        self.should_exit = True


def serve(
    *,
    state_dir: Path,
    port: int,
    plan: EmulatorPlan,
    host: str = "127.0.0.1",
    lease_pids: tuple[int, ...] = (),
    standalone: bool = False,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve one state folder; returns when the server has stopped.

    Args:
        state_dir: folder of the book; one emulator at a time may hold it.
        port: TCP port, 0 for a free one; remembered in the folder.
        plan: how the provider behaves.
        host: address to listen on, loopback unless you know better.
        lease_pids: processes to live for.
        standalone: live until interrupted, whoever is alive.
        announce: told the base URL as soon as requests are accepted.

    Raises:
        StateDirInUseError: another emulator holds the folder.
        PortTakenError: somebody else listens on the port.
    """
    state_dir.mkdir(parents=True, exist_ok=True)
    held = FileLock(state_dir / "server.lock", timeout=_HANDOVER_S)
    try:
        held.acquire()
    except Timeout as error:
        raise StateDirInUseError(
            f"another emulator already serves {state_dir}: stop it, or use another folder"
        ) from error
    try:
        try:
            listener = listen(host, port)
        except OSError as error:
            raise PortTakenError(
                f"port {port} of {host} cannot be listened on ({error.strerror}): choose another"
                " one, or 0 for any that is free"
            ) from error
        emulator = Emulator(state_dir, plan, None if standalone else Leases(lease_pids))
        endpoint = Endpoint(host=host, port=listener.getsockname()[1], pid=os.getpid())
        endpoint.save(state_dir)
        _log.info("listening on %s for %s", endpoint.url, state_dir)
        if announce is not None:
            announce(endpoint.url)
        with contextlib.suppress(KeyboardInterrupt):  # how a standalone one is stopped
            EmulatorServer(emulator).run(sockets=[listener])
    finally:
        held.release()
