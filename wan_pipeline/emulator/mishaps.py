"""How a fault looks on the wire: wrong answers, no answers, cut connections.

Which fault strikes is decided elsewhere (``faults``); damage to image bytes is in ``delivery``.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from wan_pipeline.emulator.faults import FaultKind
from wan_pipeline.emulator.replies import Reply, error_reply, status_envelope

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from wan_pipeline.emulator.connections import Connections
    from wan_pipeline.emulator.faults import Fault
    from wan_pipeline.emulator.plan import ReplyStyle

__all__ = ["Mishaps", "object_store_error", "respond"]

_SERVER_ERROR = re.compile(r"error_(\d{3})_(?:before|after)")
_REFUSALS: dict[FaultKind, tuple[int, str, int, str]] = {
    FaultKind.REFUSED_400: (400, "InvalidParameter", 40000, "the parameters are invalid"),
    FaultKind.REFUSED_413: (413, "BadRequest.TooLarge", 41300, "the request is too large"),
    FaultKind.REFUSED_422: (422, "InvalidParameter", 42200, "the body cannot be processed"),
    FaultKind.BAD_KEY: (401, "InvalidApiKey", 40101, "Invalid API key"),
    FaultKind.FORBIDDEN_MODEL: (403, "Model.AccessDenied", 40301, "Model access denied"),
    FaultKind.MISSING_MODEL: (404, "ModelNotFound", 40401, "Model not found"),
    FaultKind.UNKNOWN_TASK: (404, "TaskNotFound", 40402, "Task not found"),
}
_SLOW_CHUNKS = 64


def respond(reply: Reply) -> Response:
    """A reply as an HTTP response."""
    return Response(reply.body, status_code=reply.status, media_type=reply.content_type)


def object_store_error(status: int, code: str, message: str) -> Response:
    """An error of the image host, which speaks XML."""
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{code}</Code><Message>{message}</Message></Error>\n"
    )
    return Response(body, status_code=status, media_type="application/xml")


class Mishaps:
    """Plays faults. ``stopping`` ends those that wait, so that the server can go."""

    def __init__(self, connections: Connections, stopping: asyncio.Event) -> None:
        self._connections = connections
        self._stopping = stopping

    async def play(self, request: Request, fault: Fault, style: ReplyStyle) -> Response:
        """Answer a request the way a fault demands."""
        kind = fault.kind
        if kind in _REFUSALS:
            status, code, number, message = _REFUSALS[kind]
            return respond(error_reply(style, status, code=code, number=number, message=message))
        if found := _SERVER_ERROR.fullmatch(kind):
            status = int(found[1])
            message = f"injected error {status}"
            return respond(
                error_reply(style, status, code="InternalError", number=status, message=message)
            )
        match kind:
            case FaultKind.RESET_BEFORE | FaultKind.RESET_AFTER:
                await self._connections.reset(request)
                return Response(status_code=500)
            case FaultKind.HUNG_BEFORE | FaultKind.HUNG_AFTER:
                await self._hang(request, fault.duration_s)
                return Response(status_code=504)
            case FaultKind.REDIRECT | FaultKind.REDIRECT_LOOP:
                return _redirect(request, fault)
            case _:
                return _odd_answer(fault, style)

    def cut_short(self, request: Request, data: bytes, media_type: str) -> Response:
        """Announce all of the data, send half of it, reset the connection."""

        async def half() -> AsyncIterator[bytes]:
            yield data[: len(data) // 2]
            await self._connections.reset(request)

        headers = {"content-length": str(len(data))}
        return StreamingResponse(half(), headers=headers, media_type=media_type)

    def slowly(self, data: bytes, media_type: str, *, duration_s: float) -> Response:
        """Send the data in small pieces over a time, in wall-clock seconds."""

        async def drip() -> AsyncIterator[bytes]:
            size = len(data) // _SLOW_CHUNKS + 1
            for start in range(0, len(data), size):
                if not self._stopping.is_set():
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(
                            self._stopping.wait(), timeout=duration_s / _SLOW_CHUNKS
                        )
                yield data[start : start + size]

        headers = {"content-length": str(len(data))}
        return StreamingResponse(drip(), headers=headers, media_type=media_type)

    async def _hang(self, request: Request, longest_s: float) -> None:
        """Say nothing until the client gives up, the server stops or the time is over."""

        async def gone() -> None:
            while (await request.receive())["type"] != "http.disconnect":
                pass

        waits = {asyncio.ensure_future(gone()), asyncio.ensure_future(self._stopping.wait())}
        _, pending = await asyncio.wait(
            waits, timeout=longest_s, return_when=asyncio.FIRST_COMPLETED
        )
        for wait in pending:
            wait.cancel()


def _redirect(request: Request, fault: Fault) -> Response:
    again = request.url if fault.kind is FaultKind.REDIRECT_LOOP else _moved(request)
    status = 307 if request.method == "POST" else 302
    return Response(status_code=status, headers={"location": fault.target or str(again)})


def _moved(request: Request) -> object:
    return request.url.include_query_params(moved="1")


def _odd_answer(fault: Fault, style: ReplyStyle) -> Response:
    match fault.kind:
        case FaultKind.RATE_LIMITED | FaultKind.RATE_LIMITED_NO_RETRY_AFTER:
            reply = error_reply(
                style, 429, code="Throttling.RateQuota", number=1002, message="Too many requests"
            )
            response = respond(reply)
            if fault.kind is FaultKind.RATE_LIMITED:
                response.headers["retry-after"] = str(fault.retry_after_s)
            return response
        case FaultKind.NO_CREDIT:
            return respond(status_envelope(402, number=40201, message="Insufficient credits"))
        case FaultKind.OK_WITHOUT_ID_WITH_ERROR:
            error = {"code": "InvalidParameter", "message": "this create was not accepted"}
            return respond(Reply.json(200, {"status": "failed", "error": error}))
        case FaultKind.MALFORMED_JSON:
            return Response(b'{"id": "', media_type="application/json")
        case FaultKind.OK_UNREADABLE:
            page = b"<html><body>Please sign in to this network</body></html>"
            return Response(page, media_type="text/html")
        case _:
            raise ValueError(f"{fault.kind} has no answer of its own")
