"""Puts a trap on every durable write and every network exchange, from outside.

The package knows nothing of it: its methods are wrapped, SQLAlchemy, httpx and the interpreter's
file calls tell the rest. To be installed once, in a process that is meant to die.
"""

from __future__ import annotations

import functools
import inspect
import threading
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import sqlalchemy as sa

from wan_pipeline.dataset import atomic
from wan_pipeline.generation.rescue import RescueFile
from wan_pipeline.ledger import writer
from wan_pipeline.ledger.account import AccountLimits
from wan_pipeline.ledger.ledger import Ledger
from wan_pipeline.temp_files import TEMP_PREFIX

if TYPE_CHECKING:
    from collections.abc import Callable

    from wan_pipeline_tests.crash.points import Trap

__all__ = ["install"]

EXCHANGE = {
    "http11.send_request_headers.started": "before_send",
    "http11.send_request_body.complete": "sent",
    "http11.receive_response_headers.complete": "accepted",
}
KINDS = ("images", "metadata", "rescue")  # folders whose files are points of their own

_asked: ContextVar[str | None] = ContextVar("_asked", default=None)
_group = threading.local()  # what the open transaction of this thread holds


def install(trap: Trap) -> None:
    """Let this process pass through the trap from now on."""
    _on_writes(trap)
    _on_exchanges(trap)
    _on_files(trap)


# --- the ledger ---


def _on_writes(trap: Trap) -> None:
    """Right before and right after the commit of each change, named by who asked for it."""
    for owner in (Ledger, AccountLimits):
        for name, method in list(vars(owner).items()):
            if inspect.iscoroutinefunction(method) and not name.startswith("_") and name != "apply":
                setattr(owner, name, _named(name, method))
    for name in ("apply", "apply_now"):
        setattr(Ledger, name, _marking(getattr(Ledger, name)))

    @sa.event.listens_for(sa.Engine, "commit")
    def before(_connection: sa.Connection) -> None:
        for label in _labels() or ["schema"]:
            trap.reached(f"{label}.before_commit")

    @sa.event.listens_for(sa.Engine, "rollback")
    def undone(_connection: sa.Connection) -> None:
        _labels().clear()

    tell = writer._tell

    def after(outcomes: Any) -> None:
        labels = list(_labels())
        _labels().clear()
        for label in labels:
            trap.reached(f"{label}.committed")
        tell(outcomes)

    writer._tell = after


def _labels() -> list[str]:
    if not hasattr(_group, "labels"):
        _group.labels = []
    return _group.labels


def _named(name: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    async def wrapped(*args: Any, **kwargs: Any) -> Any:
        token = _asked.set(name)
        try:
            return await method(*args, **kwargs)
        finally:
            _asked.reset(token)

    return wrapped


def _marking(apply: Callable[..., Any]) -> Callable[..., Any]:
    """Note in the transaction, in the writer's thread, whose change it holds."""

    @functools.wraps(apply)
    def wrapped(self: Ledger, change: Callable[..., Any]) -> Any:
        inner = getattr(change, "func", change)
        label = _asked.get() or inner.__name__.strip("_").replace("<lambda>", "open")

        def marked(tx: Any) -> Any:
            result = change(tx)
            _labels().append(label)
            return result

        return apply(self, marked)

    return wrapped


# --- the network ---


def _on_exchanges(trap: Trap) -> None:
    """Before a request leaves, when it has left, and when its answer has begun."""
    send = httpx.AsyncClient.send

    async def traced(self: httpx.AsyncClient, request: httpx.Request, **kwargs: Any) -> Any:
        step = _step(request)

        async def trace(event: str, _info: Any) -> None:
            if event in EXCHANGE:
                trap.reached(f"{step}.{EXCHANGE[event]}")

        request.extensions = {**request.extensions, "trace": trace}
        return await send(self, request, **kwargs)

    httpx.AsyncClient.send = traced


def _step(request: httpx.Request) -> str:
    if request.method == "POST":
        return "create"
    return "poll" if "/task/" in request.url.path else "download"


# --- files ---


def _on_files(trap: Trap) -> None:
    """Half written, before each fsync, before and after the rename."""
    write_bytes, replace, sync = Path.write_bytes, Path.replace, atomic.sync_path

    def write(self: Path, data: Any) -> int:
        if self.name.startswith(TEMP_PREFIX):
            with self.open("wb") as file:
                file.write(memoryview(data)[: len(data) // 2])
            trap.reached(f"{_kind(self)}.half_written")
        return write_bytes(self, data)

    def rename(self: Path, target: Any) -> Path:
        trap.reached(f"{_kind(self)}.before_rename")
        renamed = replace(self, target)
        trap.reached(f"{_kind(self)}.renamed")
        return renamed

    def synced(path: Path) -> None:
        trap.reached(f"{'folder' if path.is_dir() else _kind(path)}.before_fsync")
        sync(path)

    Path.write_bytes, Path.replace, atomic.sync_path = write, rename, synced
    RescueFile.__enter__ = _then(trap, "rescue.prepared", RescueFile.__enter__)


def _kind(path: Path) -> str:
    return next((kind for kind in KINDS if kind in path.parts), "file")


def _then(trap: Trap, label: str, method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        result = method(*args, **kwargs)
        trap.reached(label)
        return result

    return wrapped
