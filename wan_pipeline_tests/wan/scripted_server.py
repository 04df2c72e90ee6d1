"""A server of a few lines that answers exactly the bytes a test wants, on loopback."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Handler = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]

__all__ = ["Asked", "ScriptedServer", "always", "in_turn", "reply", "scripted"]


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came over the wire."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


@dataclass(kw_only=True)
class ScriptedServer:
    """A running server and everything it was asked."""

    url: str
    asked: list[Asked] = field(default_factory=list)


def reply(status: int, body: bytes = b"", **headers: str) -> bytes:
    """A whole HTTP response; underscores in header names become hyphens."""
    lines = [f"HTTP/1.1 {status} Some Reason", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


def always(response: bytes) -> Handler:
    """The same response to everyone."""
    return in_turn(response)


def in_turn(*responses: bytes) -> Handler:
    """One response after the other; the last one is repeated."""
    left = list(responses)

    async def handle(_asked: Asked, writer: asyncio.StreamWriter) -> None:
        writer.write(left.pop(0) if len(left) > 1 else left[0])

    return handle


@asynccontextmanager
async def scripted(handle: Handler) -> AsyncIterator[ScriptedServer]:
    """Serve until the block ends."""
    server = ScriptedServer(url="")
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        task.add_done_callback(connections.discard)
        try:
            while (asked := await _read(reader)) is not None:
                server.asked.append(asked)
                await handle(asked, writer)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the client went away, or the test is over
        finally:
            writer.close()

    listener = await asyncio.start_server(serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
    try:
        yield server
    finally:
        listener.close()
        for task in connections:
            task.cancel()
        await asyncio.sleep(0)


async def _read(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readline()
    if not head:
        return None
    method, target, _ = head.decode("latin-1").split(" ", 2)
    headers: dict[str, str] = {}
    while line := (await reader.readline()).strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method=method, target=target, headers=headers, body=body)
