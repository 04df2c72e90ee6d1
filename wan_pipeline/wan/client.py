"""The API client: one create, one poll at a time, over httpx.

The paid call is `WanClient.create` and stands nowhere else. It is sent once; what came of it is
told as a value. Polls are retried within bounds.
"""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

import httpx

from wan_pipeline.wan.answers import (
    CreateDoubtful,
    CreateNotSent,
    CreateOutcome,
    TaskAnswer,
    TaskMissing,
)
from wan_pipeline.wan.dialects.exchange import ApiCall, ApiReply
from wan_pipeline.wan.errors import ConfigurationError, PollError
from wan_pipeline.wan.failures import UnreadableAnswerError, failure_told
from wan_pipeline.wan.guard import is_loopback_url, usable_proxies
from wan_pipeline.wan.retry import RetryPolicy, TransientError, read_retry_after
from wan_pipeline.wan.spellings import every_spelling
from wan_pipeline.wan.tls import is_plain, tls_context

if TYPE_CHECKING:
    import re
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline.wan.dialects import Dialect
    from wan_pipeline.wan.profiles import RequestForm

__all__ = ["Timeouts", "WanClient"]

MAX_BODY_BYTES = 1_000_000  # an answer is a few kB
# A connection that the server closed while it lay idle makes false doubts about a create.
CREATE_IDLE_S = 2.0
SHORTEST_SECRET = 8  # a shorter key is a placeholder, and its text occurs by chance
TRANSIENT_STATUSES = frozenset({408, 425, 429, 500, 502, 503, 504})
# Raised before there is a connection; of all other failures some come after bytes have left.
_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """Seconds. `*_total_s` bounds a whole exchange, however slowly bytes drip."""

    connect_s: float = 10.0
    write_s: float = 30.0
    pool_s: float = 30.0
    create_read_s: float = 60.0
    create_total_s: float = 90.0
    poll_read_s: float = 20.0
    poll_total_s: float = 30.0
    download_read_s: float = 30.0
    download_total_s: float = 300.0

    def httpx(self, read_s: float) -> httpx.Timeout:
        """The four parts of httpx's timeout."""
        return httpx.Timeout(
            connect=self.connect_s, read=read_s, write=self.write_s, pool=self.pool_s
        )


@dataclass(slots=True, kw_only=True)
class WanClient:
    """Talks to one base URL with one key.

    Attributes:
        base_url: the only origin that ever gets the key.
        api_key: sent as a Bearer token; never logged, never part of `repr`.
        dialect: lays out calls and reads replies.
        timeouts: bounds of each exchange.
        poll_retry: retry bounds of polls.
        connections: sockets held open at most, per kind of call.
        sleep: waits between retries; a test passes its own.
    """

    base_url: str
    api_key: str = field(repr=False)
    dialect: Dialect
    timeouts: Timeouts = field(default_factory=Timeouts)
    poll_retry: RetryPolicy = field(default_factory=RetryPolicy)
    connections: int = 16
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    _key: re.Pattern[bytes] = field(init=False, repr=False)
    _creates: httpx.AsyncClient = field(init=False, repr=False)
    _polls: httpx.AsyncClient = field(init=False, repr=False)
    _stack: AsyncExitStack = field(init=False, repr=False)

    def __post_init__(self) -> None:
        # Anything else fails inside the HTTP library, whose message would show the key.
        if not self.api_key or not all("!" <= character <= "~" for character in self.api_key):
            raise ConfigurationError(
                "the API key is empty or has characters that no header can carry (spaces, line"
                " breaks, letters beyond ASCII): set the profile's key variable to the key alone"
            )
        self._key = every_spelling(self.api_key)

    async def __aenter__(self) -> Self:
        self._stack = AsyncExitStack()
        self._creates = await self._open(self.timeouts.create_read_s, idle_s=CREATE_IDLE_S)
        self._polls = await self._open(self.timeouts.poll_read_s, idle_s=30.0)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def create(self, request: GenerationRequest, form: RequestForm) -> CreateOutcome:
        """Send the paid call, once.

        Only a connection that was never established proves that nothing was sent; every other
        failure of the network leaves doubt, and so does an answer that is packed although we
        asked for a plain one. Raises nothing but `asyncio.CancelledError`, after
        which the outcome is as doubtful as after a timeout.
        """
        call, bounds = self.dialect.create_call(request, form), self.timeouts
        try:
            async with asyncio.timeout(bounds.create_total_s):
                reply = await self._exchange(self._creates, call)
        except (httpx.HTTPError, TimeoutError, UnreadableAnswerError) as error:
            reason = self._told(error, read_s=bounds.create_read_s, total_s=bounds.create_total_s)
            is_unsent = isinstance(error, _NOT_SENT)
            return CreateNotSent(reason=reason) if is_unsent else CreateDoubtful(reason=reason)
        return self.dialect.read_create(reply)

    async def poll(self, task_id: str) -> TaskAnswer | TaskMissing:
        """Ask for one task, with retries.

        Raises:
            PollError: bounds used up, or an unreadable answer.
            AccountStopError: key or permission refused.
        """
        call = self.dialect.poll_call(task_id)
        try:
            return await self.poll_retry.run(
                lambda: self._poll_once(call, task_id), sleep=self.sleep
            )
        except TransientError as error:
            raise PollError(
                f"task {task_id} could not be asked for: {error}. It goes on at the provider; run"
                " again to ask for it"
            ) from error

    async def _poll_once(self, call: ApiCall, task_id: str) -> TaskAnswer | TaskMissing:
        bounds = self.timeouts
        try:
            async with asyncio.timeout(bounds.poll_total_s):
                reply = await self._exchange(self._polls, call)
        except (httpx.HTTPError, TimeoutError, UnreadableAnswerError) as error:
            reason = self._told(error, read_s=bounds.poll_read_s, total_s=bounds.poll_total_s)
            # Not chained: the library's text may quote what the server sent, and that our key.
            raise TransientError(reason) from None
        if reply.status in TRANSIENT_STATUSES:
            raise TransientError(f"status {reply.status}", retry_after_s=reply.retry_after_s)
        try:
            return self.dialect.read_poll(reply, task_id)
        except PollError as error:
            if reply.status != 200:
                raise
            # A cut answer, a proxy's page, a busy server's error under a good status.
            raise TransientError(str(error), retry_after_s=reply.retry_after_s) from error

    async def _exchange(self, client: httpx.AsyncClient, call: ApiCall) -> ApiReply:
        async with client.stream(call.method, call.path, json=call.json) as response:
            body = await _read(response)
        return ApiReply(
            status=response.status_code,
            body=self._without_key(body),
            retry_after_s=read_retry_after(response.headers.get("retry-after")),
        )

    def _without_key(self, text: bytes) -> bytes:
        """Answers are kept and shown, and some servers quote the key that they were sent."""
        return text if len(self.api_key) < SHORTEST_SECRET else self._key.sub(b"[API key]", text)

    def _told(self, error: Exception, *, read_s: float, total_s: float) -> str:
        """Why there is no answer, in words; the library's own may quote what was sent."""
        told = failure_told(error, self.timeouts, read_s=read_s, total_s=total_s)
        return self._without_key(told.encode("utf-8", "replace")).decode("utf-8", "replace")

    async def _open(self, read_s: float, *, idle_s: float) -> httpx.AsyncClient:
        with usable_proxies():
            client = httpx.AsyncClient(
                base_url=self.base_url,
                verify=tls_context(),
                headers={
                    "Authorization": f"Bearer {self.api_key}",
                    "Accept": "application/json",
                    "Accept-Encoding": "identity",
                },
                timeout=self.timeouts.httpx(read_s),
                limits=httpx.Limits(
                    max_connections=self.connections,
                    max_keepalive_connections=self.connections,
                    keepalive_expiry=idle_s,
                ),
                follow_redirects=False,
                # A proxy of the environment has no business between us and our own machine.
                trust_env=not is_loopback_url(self.base_url),
            )
        return await self._stack.enter_async_context(client)


async def _read(response: httpx.Response) -> bytes:
    """The body as it travels: what is packed small may unpack to more than the machine holds."""
    if not is_plain(response):
        if response.status_code >= 400:
            return b""  # the status tells enough
        encoding = response.headers["content-encoding"]
        raise UnreadableAnswerError(f"it comes in Content-Encoding {encoding!r}, not asked for")
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            raise UnreadableAnswerError(f"it is longer than {MAX_BODY_BYTES} bytes")
    return bytes(body)
