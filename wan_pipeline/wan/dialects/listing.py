"""Asking a provider which tasks it has, in the protocols that can be asked.

The `gateway` dialect has no call for it. A dialect that has one is one line in `LISTERS`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    from wan_pipeline.wan.client import Timeouts

__all__ = ["LISTERS", "ListedTask", "ListingAccess", "TaskLister"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedTask:
    """A task as the provider lists it, with what it repeats of the request; None where it does not.

    Attributes:
        task_id: the provider's id.
        created_at: when it was accepted, on the provider's clock.
        model: model id.
        prompt: positive prompt.
        seed: seed.
        size: ``width*height``.
        n: images asked for.
    """

    task_id: str
    created_at: datetime
    model: str
    prompt: str | None = None
    seed: int | None = None
    size: str | None = None
    n: int | None = None


class TaskLister(Protocol):
    """A provider that lists its tasks."""

    async def list_tasks(self, since: datetime, until: datetime) -> Sequence[ListedTask]:
        """Every task of the account that was created in the time, on all pages.

        Raises:
            AccountStopError: key or permission was refused.
            PollError: the list could not be had, or not to its end.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingAccess:
    """What a lister needs.

    Attributes:
        base_url: the only origin that gets the key.
        api_key: never logged, never part of `repr`.
        timeouts: bounds of each exchange.
    """

    base_url: str
    api_key: str = field(repr=False)
    timeouts: Timeouts


#: How a dialect's lister is opened, by the dialect's name; the others cannot list their tasks.
LISTERS: dict[str, Callable[[ListingAccess], AbstractAsyncContextManager[TaskLister]]] = {}
