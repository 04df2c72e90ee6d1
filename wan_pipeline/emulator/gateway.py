"""The two endpoints of the ``gateway`` dialect: create a task, ask for a task.

The order of the checks is the provider's: key, rate, body, credit, and only then an injected
fault, so that a fault strikes nothing but a request that would have succeeded.
"""

from __future__ import annotations

import dataclasses
import json
import math
import secrets
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect
from starlette.responses import Response

from wan_pipeline.emulator.contract import Refusal, read_create
from wan_pipeline.emulator.faults import AFTER_ACCEPTANCE, IN_PLACE_OF_THE_ANSWER, FaultKind
from wan_pipeline.emulator.mishaps import respond
from wan_pipeline.emulator.replies import ResultUrls, error_reply, status_envelope, task_reply

if TYPE_CHECKING:
    from starlette.requests import Request

    from wan_pipeline.emulator.book import Task
    from wan_pipeline.emulator.mishaps import Mishaps
    from wan_pipeline.emulator.tasks import Account
    from wan_pipeline.emulator.timeline import TokenBucket

__all__ = ["Gateway"]

_POLL_FAULTS = (IN_PLACE_OF_THE_ANSWER - {FaultKind.REDIRECT}) | {
    FaultKind.UNKNOWN_TASK,
    FaultKind.MALFORMED_JSON,
}
_LATE = frozenset({FaultKind.LATE_IMAGES})


class Gateway:
    """Endpoints over one account."""

    def __init__(self, account: Account, mishaps: Mishaps) -> None:
        self._account = account
        self._mishaps = mishaps

    async def create(self, request: Request) -> Response:
        """``POST /model/v1/generation``."""
        book = self._account.book
        book.count("received")
        try:
            return await self._create(request)
        except Refusal as refusal:
            book.count("refused")
            return self._refuse(refusal)
        except ClientDisconnect:  # it died before its body was whole: nobody to answer
            book.count("refused")
            return Response(status_code=400)

    async def poll(self, request: Request) -> Response:
        """``GET /model/v1/generation/task/{task_id}``."""
        try:
            return await self._poll(request)
        except Refusal as refusal:
            return self._refuse(refusal)

    async def _create(self, request: Request) -> Response:
        account, plan = self._account, self._account.plan
        body = await request.body()
        self._admit(request, account.submissions)
        content = read_create(
            _decode(body),
            header_model=request.headers.get("x-model"),
            forms=plan.replies.request_forms,
            models=plan.models,
        )
        account.check_credit(content)
        kinds = IN_PLACE_OF_THE_ANSWER
        if "moved" in request.query_params:
            kinds -= {FaultKind.REDIRECT}
        key, prompt = content.digest(), content.prompt
        fault = account.desk.strike("create", kinds, key=key, prompt=prompt)
        if fault is not None:
            account.book.count("refused")
            return await self._mishaps.play(request, fault, plan.replies)
        task = account.accept(content)
        fault = account.desk.strike("create", AFTER_ACCEPTANCE, key=key, prompt=prompt)
        if fault is not None:
            return await self._mishaps.play(request, fault, plan.replies)
        urls = self._urls(request)
        # As of its acceptance: how long it took to write the task down decides nothing.
        reply = task_reply(task, task.accepted_at, style=plan.replies, urls=urls, creating=True)
        return respond(reply)

    async def _poll(self, request: Request) -> Response:
        account, style = self._account, self._account.plan.replies
        self._admit(request, account.queries)
        task_id = request.path_params["task_id"]
        task = account.book.get(task_id)
        if task is None:
            raise Refusal(404, "TaskNotFound", f"Task not found: {task_id}", number=40402)
        key = f"{task.digest}/{task.occurrence}"
        fault = account.desk.strike("poll", _POLL_FAULTS, key=key, prompt=task.content.prompt)
        if fault is not None:
            return await self._mishaps.play(request, fault, style)
        now = account.clock()
        if task.state(now) == "completed":
            fault = account.desk.strike("poll", _LATE, key=key, prompt=task.content.prompt)
            task = task if fault is None else _so_far(task, fault.amount)
        return respond(task_reply(task, now, style=style, urls=self._urls(request)))

    def _admit(self, request: Request, bucket: TokenBucket) -> None:
        """Check the key, then the rate.

        Raises:
            Refusal: with status 401 or 429.
        """
        scheme, _, key = request.headers.get("authorization", "").partition(" ")
        key = key.strip()
        wanted = self._account.plan.api_key
        if scheme.lower() != "bearer" or not key:
            raise Refusal(401, "InvalidApiKey", "send Authorization: Bearer <key>", number=40101)
        if wanted is not None and not secrets.compare_digest(key.encode(), wanted.encode()):
            raise Refusal(401, "InvalidApiKey", "this API key is not valid", number=40101)
        wait_s = bucket.wait_s(self._account.clock())
        if wait_s > 0:
            raise Refusal(
                429,
                "Throttling.RateQuota",
                "Requests rate limit exceeded, please try again later",
                number=1002,
                retry_after_s=math.ceil(wait_s),
            )

    def _urls(self, request: Request) -> ResultUrls:
        host = request.headers.get("host", request.url.netloc)
        return ResultUrls(f"{request.url.scheme}://{host}", self._account.book.secret)

    def _refuse(self, refusal: Refusal) -> Response:
        if refusal.status == 402:
            reply = status_envelope(402, number=refusal.number, message=refusal.message)
        else:
            reply = error_reply(
                self._account.plan.replies,
                refusal.status,
                code=refusal.code,
                number=refusal.number,
                message=refusal.message,
            )
        response = respond(reply)
        if refusal.retry_after_s is not None:
            response.headers["retry-after"] = str(refusal.retry_after_s)
        return response


def _so_far(task: Task, late: int) -> Task:
    """A completed task as it is told before its last images are listed, and charged."""
    return dataclasses.replace(
        task, images=max(task.images - late, 0), billed=max(task.billed - late, 0)
    )


def _decode(body: bytes) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        message = f"the body is not JSON: {error}"
        raise Refusal(400, "InvalidParameter", message, number=40000) from error
