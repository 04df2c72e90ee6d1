"""The local provider as one ASGI application.

Puts the endpoints of the dialect, the image host and ``/_emulator/`` (for those who want to look
behind the scenes) on one set of routes.
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import asdict
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.routing import Route

from wan_pipeline.emulator.book import money
from wan_pipeline.emulator.connections import Connections
from wan_pipeline.emulator.endpoint import PLAN_FILE, SERVICE
from wan_pipeline.emulator.gateway import Gateway
from wan_pipeline.emulator.image_host import ImageHost
from wan_pipeline.emulator.mishaps import Mishaps, respond
from wan_pipeline.emulator.plan import EmulatorPlan
from wan_pipeline.emulator.replies import Reply
from wan_pipeline.emulator.tasks import Account

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from wan_pipeline.emulator.book import Task
    from wan_pipeline.emulator.leases import Leases

__all__ = ["VERSION", "Emulator"]

VERSION = "1"
"""Of the emulator's behaviour, for the health call."""


class _LeaseRequest(BaseModel):
    model_config = ConfigDict(extra="forbid")

    pid: int = Field(gt=0)


class Emulator:
    """One running provider.

    Args:
        state_dir: folder of its book, its secret and its plan.
        plan: how it behaves until another plan is posted.
        leases: processes it lives for; None for one that runs until it is told to stop.
    """

    def __init__(self, state_dir: Path, plan: EmulatorPlan, leases: Leases | None = None) -> None:
        state_dir.mkdir(parents=True, exist_ok=True)
        self.state_dir = state_dir.resolve()
        self.account = Account(self.state_dir / "emulator.sqlite", plan)
        self.leases = leases
        self.connections = Connections()
        self.stopping = asyncio.Event()
        mishaps = Mishaps(self.connections, self.stopping)
        self._gateway = Gateway(self.account, mishaps)
        self._image_host = ImageHost(self.account, mishaps)
        plan.save(self.state_dir / PLAN_FILE)

    def app(self) -> Starlette:
        """The application for an ASGI server."""
        gateway, host = self._gateway, self._image_host
        return Starlette(
            routes=[
                Route("/model/v1/generation", gateway.create, methods=["POST"]),
                Route("/model/v1/generation/task/{task_id}", gateway.poll, methods=["GET"]),
                Route("/files/{task_id}/{name}", host.download, methods=["GET"]),
                Route("/_emulator/health", self._health, methods=["GET"]),
                Route("/_emulator/bill", self._bill, methods=["GET"]),
                Route("/_emulator/tasks", self._tasks, methods=["GET"]),
                Route("/_emulator/requests", self._requests, methods=["GET"]),
                Route("/_emulator/plan", self._show_plan, methods=["GET"]),
                Route("/_emulator/plan", self._use_plan, methods=["POST"]),
                Route("/_emulator/leases", self._lease, methods=["POST"]),
            ]
        )

    def close(self) -> None:
        """Let go of the painters and of the book."""
        self._image_host.close()
        self.account.book.close()

    async def _health(self, _request: Request) -> Response:
        health = {
            "service": SERVICE,
            "version": VERSION,
            "pid": os.getpid(),
            "data_dir": str(self.state_dir),
            "standalone": self.leases is None,
        }
        return respond(Reply.json(200, health))

    async def _bill(self, _request: Request) -> Response:
        bill = self.account.book.bill(self.account.clock())
        return respond(Reply.json(200, asdict(bill) | {"usd": money(bill.usd)}))

    async def _tasks(self, _request: Request) -> Response:
        now = self.account.clock()
        tasks = [_described(task, now) for task in self.account.book.tasks()]
        return respond(Reply.json(200, tasks))

    async def _requests(self, _request: Request) -> Response:
        return respond(Reply.json(200, {"downloads": self._image_host.requests}))

    async def _show_plan(self, _request: Request) -> Response:
        return respond(Reply.json(200, self.account.plan.model_dump(mode="json")))

    async def _use_plan(self, request: Request) -> Response:
        try:
            plan = EmulatorPlan.model_validate_json(await request.body())
        except ValidationError as error:
            return respond(Reply.json(422, {"error": str(error)}))
        plan.save(self.state_dir / PLAN_FILE)
        self.account.use(plan)
        return respond(Reply.json(200, plan.model_dump(mode="json")))

    async def _lease(self, request: Request) -> Response:
        if self.stopping.is_set():
            return respond(Reply.json(503, {"error": "this emulator is stopping; start another"}))
        try:
            lease = _LeaseRequest.model_validate_json(await request.body())
        except ValidationError as error:
            return respond(Reply.json(422, {"error": str(error)}))
        if self.leases is not None:
            self.leases.add(lease.pid)
        return respond(Reply.json(200, {"pids": self.leases.pids if self.leases else []}))


def _described(task: Task, now: float) -> dict[str, Any]:
    state = task.state(now)
    ended = state in {"completed", "failed"}
    return {
        "id": task.task_id,
        "created_at": task.accepted_at,
        "start_at": task.start_at,
        "end_at": task.end_at,
        "content": asdict(task.content),
        "state": state,
        "outcome": task.outcome,
        "images": task.images if ended else 0,
        "cost": money(task.cost_usd if ended else Decimal(0)),
    }
