"""A few lines of client for the tests of the emulator; deliberately not the package's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import httpx

from wan_pipeline_tests.waiting import wait_for

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["MODEL", "Caller", "flat", "urls_of", "wrapped_flat", "wrapped_nested"]

MODEL = "wan25_t2i_preview_intl"
_PATIENCE_S = 20.0


def flat(prompt: str = "a red kite", *, model: str | None = MODEL, **parameters: object) -> Any:
    """A create body as the API page prints it."""
    body: dict[str, Any] = {"input": {"prompt": prompt}, "parameters": parameters}
    return body if model is None else {"model": model, **body}


def wrapped_nested(prompt: str = "a red kite", **parameters: object) -> Any:
    """A create body as vendor clients send it for this model."""
    params = {"input": {"prompt": prompt}, "parameters": parameters}
    return {"model": MODEL, "input": [{"params": params}]}


def wrapped_flat(prompt: str = "a red kite", **parameters: object) -> Any:
    """A create body as vendor clients send it for other models."""
    return {"model": MODEL, "input": [{"params": {"prompt": prompt, **parameters}}]}


def urls_of(reply: dict[str, Any]) -> list[str]:
    """The URLs of a completed task in the usual layout."""
    return [entry["url"] for group in reply["output"] for entry in group["content"]]


class Caller:
    """An account holder with a key."""

    def __init__(self, base_url: str, *, key: str = "test-key", timeout_s: float = 20.0) -> None:
        self.http = httpx.Client(
            base_url=base_url,
            timeout=timeout_s,
            trust_env=False,
            headers={"authorization": f"Bearer {key}"},
        )
        # The image host asks for no key, so none is sent there.
        self.public = httpx.Client(timeout=timeout_s, trust_env=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.http.close()
        self.public.close()

    def create(self, body: Any = None, **headers: str) -> httpx.Response:
        """Send a create call."""
        body = flat(n=1) if body is None else body
        return self.http.post("/model/v1/generation", json=body, headers=headers)

    def made(self, body: Any = None) -> str:
        """Send a create call that must succeed; gives the task id."""
        reply = self.create(body)
        assert reply.status_code == 200, reply.text
        task_id: str = reply.json()["id"]
        return task_id

    def poll(self, task_id: str) -> httpx.Response:
        """Ask for a task once."""
        return self.http.get(f"/model/v1/generation/task/{task_id}")

    def finished(self, task_id: str) -> dict[str, Any]:
        """Ask for a task until it has ended."""

        def ended() -> dict[str, Any] | None:
            reply = self.poll(task_id)
            assert reply.status_code == 200, reply.text
            body: dict[str, Any] = reply.json()
            return body if body["status"] in {"completed", "failed"} else None

        return wait_for(ended, what=f"the end of task {task_id}", within_s=_PATIENCE_S)

    def get(self, url: str) -> httpx.Response:
        """Download without a key."""
        return self.public.get(url)
