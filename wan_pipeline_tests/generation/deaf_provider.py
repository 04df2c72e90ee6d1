"""A provider that takes forms of the create body and ignores what is in them."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from PIL import Image

from wan_pipeline.wan.profiles import RequestForm
from wan_pipeline_tests.generation.batch_fixture import PRICE
from wan_pipeline_tests.wan.scripted_server import reply

if TYPE_CHECKING:
    from wan_pipeline_tests.wan.scripted_server import Asked

__all__ = ["DeafProvider"]

NO_N = 4  # images of a body whose n it does not read


@dataclass
class DeafProvider:
    """Bills what it makes; a handler for `scripted`.

    Attributes:
        deaf: forms whose content it ignores: it makes four images.
        refuses: forms that it answers with 422.
        holds: tasks with one of these words in their prompt do not end.
        fails: tasks with one of these words in their prompt fail, for nothing.
        sent: the form of every create, refused ones too.
        prompts: of the tasks, in their order.
        beside: how many other tasks ran when each was made.
        polls: of tasks that do not end.
    """

    deaf: set[RequestForm] = field(default_factory=set["RequestForm"])
    refuses: set[RequestForm] = field(default_factory=set["RequestForm"])
    holds: set[str] = field(default_factory=set[str])
    fails: set[str] = field(default_factory=set[str])
    sent: list[RequestForm] = field(default_factory=list["RequestForm"])
    prompts: list[str] = field(default_factory=list[str])
    bill: Decimal = Decimal(0)
    beside: list[int] = field(default_factory=list[int])
    polls: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(0))
    _made: list[int] = field(default_factory=list[int])
    _ended: set[int] = field(default_factory=set[int])

    async def __call__(self, asked: Asked, writer: asyncio.StreamWriter) -> None:
        """One exchange."""
        path = f"http://{asked.headers['host']}/image"
        if asked.method == "POST":
            writer.write(self._create(json.loads(asked.body)))
        elif asked.target.startswith("/image"):
            writer.write(reply(200, _png()))
        else:
            number = int(asked.target.rpartition("task-")[2])
            writer.write(reply(200, json.dumps(self._poll(number, path)).encode()))

    def _create(self, body: dict[str, Any]) -> bytes:
        form = RequestForm.FLAT
        content: dict[str, Any] = body
        if isinstance(body["input"], list):
            form, content = RequestForm.WRAPPED, body["input"][0]["params"]
        self.sent.append(form)
        if form in self.refuses:
            return reply(422, b'{"error": "this is not the input that was expected"}')
        self.beside.append(len(self._made) - len(self._ended))
        self.prompts.append(content["input"]["prompt"])
        made = NO_N if form in self.deaf else content["parameters"]["n"]
        self._made.append(made)
        number = len(self._made) - 1
        if any(word in self.prompts[number] for word in self.fails):
            self._made[number] = 0
        self.bill += self._made[number] * PRICE
        answer = {"id": f"task-{number}", "status": "in_progress"}
        return reply(200, json.dumps(answer).encode())

    def _poll(self, number: int, url: str) -> dict[str, Any]:
        if any(word in self.prompts[number] for word in self.holds):
            self.polls.release()
            return {"id": f"task-{number}", "status": "in_progress"}
        self._ended.add(number)
        made = self._made[number]
        if not made:
            return {"id": f"task-{number}", "status": "failed", "error": "a bad day"}
        links = [{"type": "image", "url": f"{url}/{number}/{index}"} for index in range(made)]
        usage = {"cost": str(made * PRICE)}
        output = [{"content": links}]
        return {"id": f"task-{number}", "status": "completed", "output": output, "usage": usage}


def _png() -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "teal").save(file, "PNG")
    return file.getvalue()
