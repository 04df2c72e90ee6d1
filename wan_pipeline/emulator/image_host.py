"""The host that result URLs point to: signed, expiring, and asking for no key."""

from __future__ import annotations

import asyncio
import secrets
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from starlette.responses import Response

from wan_pipeline.emulator.delivery import image_bytes
from wan_pipeline.emulator.faults import FaultKind
from wan_pipeline.emulator.mishaps import object_store_error
from wan_pipeline.emulator.replies import ResultUrls

if TYPE_CHECKING:
    from starlette.requests import Request

    from wan_pipeline.emulator.book import Task
    from wan_pipeline.emulator.faults import Fault
    from wan_pipeline.emulator.mishaps import Mishaps
    from wan_pipeline.emulator.tasks import Account

__all__ = ["ImageHost"]

_REQUESTS_KEPT = 1000
_DAMAGE = frozenset(
    {
        FaultKind.TRUNCATED_IMAGE,
        FaultKind.CORRUPTED_IMAGE,
        FaultKind.HTML_IMAGE,
        FaultKind.WRONG_SIZE_IMAGE,
        FaultKind.EMPTY_IMAGE,
    }
)
_DURING_THE_BODY = frozenset({FaultKind.RESET_AFTER, FaultKind.SLOW_DOWNLOAD})


class ImageHost:
    """Serves the images of one account and remembers how it was asked."""

    def __init__(self, account: Account, mishaps: Mishaps) -> None:
        self._account = account
        self._mishaps = mishaps
        self._requests: deque[dict[str, Any]] = deque(maxlen=_REQUESTS_KEPT)
        # Two painters: enough for both cores of a small machine, without starving its client.
        self._painters = ThreadPoolExecutor(max_workers=2, thread_name_prefix="painter")

    @property
    def requests(self) -> list[dict[str, Any]]:
        """The last requests, oldest first: which headers came, never what they said."""
        return list(self._requests)

    def close(self) -> None:
        """Let the painters finish."""
        self._painters.shutdown(wait=True, cancel_futures=True)

    async def download(self, request: Request) -> Response:
        """``GET /files/{task_id}/{index}.{suffix}?Expires=&Signature=``."""
        response = await self._deliver(request)
        self._requests.append(
            {
                "path": request.url.path,
                "at": self._account.clock(),
                "status": response.status_code,
                "authorization": "authorization" in request.headers,
                "headers": sorted(request.headers.keys()),
            }
        )
        return response

    async def _deliver(self, request: Request) -> Response:
        task = self._account.book.get(request.path_params["task_id"])
        stem, _, suffix = request.path_params["name"].partition(".")
        if task is None or suffix != task.image_format or stem not in map(str, range(task.images)):
            return object_store_error(404, "NoSuchKey", "The specified key does not exist.")
        index = int(stem)
        query = request.query_params
        signature = ResultUrls("", self._account.book.secret).sign(
            task.task_id, index, query.get("Expires", "")
        )
        if not secrets.compare_digest(query.get("Signature", "").encode(), signature.encode()):
            return object_store_error(403, "SignatureDoesNotMatch", "The signature is wrong.")
        if task.expires_at is None or self._account.clock() >= task.expires_at:
            return object_store_error(403, "AccessDenied", "Request has expired.")
        return await self._send(request, task, index)

    async def _send(self, request: Request, task: Task, index: int) -> Response:
        style = self._account.plan.replies
        fault = self._strike(request, task, index)
        kind = None if fault is None else fault.kind
        if kind is FaultKind.EXPIRED_URL:
            return object_store_error(403, "AccessDenied", "Request has expired.")
        if fault is not None and kind not in _DAMAGE | _DURING_THE_BODY:
            return await self._mishaps.play(request, fault, style)
        data = await asyncio.get_running_loop().run_in_executor(
            self._painters, image_bytes, task, index, kind
        )
        truth = "text/html" if kind is FaultKind.HTML_IMAGE else f"image/{task.image_format}"
        media_type = style.content_type or truth
        if kind is FaultKind.RESET_AFTER:
            return self._mishaps.cut_short(request, data, media_type)
        if fault is not None and kind is FaultKind.SLOW_DOWNLOAD:
            return self._mishaps.slowly(data, media_type, duration_s=fault.duration_s)
        return Response(data, media_type=media_type)

    def _strike(self, request: Request, task: Task, index: int) -> Fault | None:
        kinds = frozenset(FaultKind)
        if "moved" in request.query_params:
            kinds -= {FaultKind.REDIRECT}
        return self._account.desk.strike(
            "download",
            kinds,
            key=f"{task.digest}/{task.occurrence}/{index}",
            prompt=task.content.prompt,
        )
