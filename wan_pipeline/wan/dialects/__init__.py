"""Wire protocols. Another one is one file here and one line in `DIALECTS`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from wan_pipeline.wan.dialects.gateway import Gateway

if TYPE_CHECKING:
    from collections.abc import Mapping

    from wan_pipeline.prompts.request import GenerationRequest
    from wan_pipeline.wan.answers import CreateOutcome, TaskAnswer, TaskMissing
    from wan_pipeline.wan.dialects.exchange import ApiCall, ApiReply
    from wan_pipeline.wan.profiles import RequestForm

__all__ = ["DIALECTS", "Dialect"]


class Dialect(Protocol):
    """How one protocol lays out calls and reads replies. Pure: no network, no clock."""

    def create_call(self, request: GenerationRequest, form: RequestForm) -> ApiCall:
        """Lay out the paid call."""
        ...

    def poll_call(self, task_id: str) -> ApiCall:
        """Lay out the query of one task."""
        ...

    def is_task_id(self, text: str) -> bool:
        """Whether a task of this protocol can have that id."""
        ...

    def read_create(self, reply: ApiReply) -> CreateOutcome:
        """Decide what happened to a create, for any status and any body."""
        ...

    def read_poll(self, reply: ApiReply, task_id: str) -> TaskAnswer | TaskMissing:
        """Read a task's state.

        Raises:
            AccountStopError: key or permission was refused.
            PollError: the body is none of the shapes that the dialect knows.
        """
        ...


DIALECTS: Mapping[str, Dialect] = {"gateway": Gateway()}
