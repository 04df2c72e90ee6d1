"""A running emulator for tests: real HTTP on a loopback port, in a thread of the test process.

Other packages' tests use :class:`RunningEmulator` and know nothing else of the emulator but its
plan.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any, Self

import httpx

from wan_pipeline.emulator.app import Emulator
from wan_pipeline.emulator.endpoint import listen
from wan_pipeline.emulator.plan import EmulatorPlan
from wan_pipeline.emulator.server import EmulatorServer

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["FAST", "RunningEmulator"]

FAST = EmulatorPlan(speed_up=1000)
"""A plan at the highest speed-up, with nothing else changed."""


class RunningEmulator:
    """An emulator as a context manager.

    Starting a second one on the same folder (and ``port``) after the first was closed is a restart:
    tasks, bill and URLs go on.

    Args:
        state_dir: folder of its book.
        plan: how it behaves at first.
        port: 0 for a free one.
    """

    def __init__(self, state_dir: Path, plan: EmulatorPlan = FAST, *, port: int = 0) -> None:
        self._state_dir = state_dir
        self._first_plan = plan
        self._port = port

    def __enter__(self) -> Self:
        listener = listen("127.0.0.1", self._port)
        self.port: int = listener.getsockname()[1]
        self.base_url = f"http://127.0.0.1:{self.port}"
        self._emulator = Emulator(self._state_dir, self._first_plan)
        self._server = EmulatorServer(self._emulator)
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listener]}, name="emulator", daemon=True
        )
        self._thread.start()
        # The socket already listens: requests sent before the server accepts simply wait.
        self._http = httpx.Client(base_url=self.base_url, timeout=20, trust_env=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.close()
        self._server.should_exit = True
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), "the emulator's thread did not stop within 20 s"

    def bill(self) -> dict[str, Any]:
        """The bill: images, usd (text), tasks by state, creates_received/_accepted, refused."""
        return self._get("/_emulator/bill")

    def tasks(self) -> list[dict[str, Any]]:
        """The provider's book, in the order of acceptance."""
        return self._get("/_emulator/tasks")

    def downloads(self) -> list[dict[str, Any]]:
        """The last image downloads; ``authorization`` tells whether the key was sent along."""
        return self._get("/_emulator/requests")["downloads"]

    def plan(self) -> EmulatorPlan:
        """The plan in force."""
        return EmulatorPlan.model_validate(self._get("/_emulator/plan"))

    def set_plan(self, plan: EmulatorPlan) -> None:
        """Behave differently from now on; accepted tasks keep their future."""
        reply = self._http.post(
            "/_emulator/plan",
            content=plan.model_dump_json(),
            headers={"content-type": "application/json"},
        )
        reply.raise_for_status()

    def _get(self, path: str) -> Any:
        reply = self._http.get(path)
        reply.raise_for_status()
        return reply.json()
