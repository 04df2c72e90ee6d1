"""Where a run's progress goes: the run's log, and whatever the caller watches."""

from __future__ import annotations

import time
from collections.abc import Callable

from wan_pipeline.generation.progress import BatchReport, Progress, Tally, ended_badly
from wan_pipeline.told import rest_told
from wan_pipeline.wan.errors import AccountStopError

__all__ = ["ProgressSink", "in_log", "stop_of"]

LOG_EVERY_S = 5.0  # one line is a synchronous write to Dagster's event log


class ProgressSink:
    """What watches a run from outside of it; by default nobody does.

    The command line subclasses it to draw a progress bar and to read the report.
    """

    def update(self, tally: Tally) -> None:
        """The counts changed."""

    def finished(self, report: BatchReport) -> None:
        """A batch came to its end."""

    def also(self, other: Progress) -> Progress:
        """This sink and another one."""
        return _Both(self, other)


class _Both:
    def __init__(self, *sinks: Progress) -> None:
        self._sinks = sinks

    def update(self, tally: Tally) -> None:
        for sink in self._sinks:
            sink.update(tally)


class _InLog:
    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._next = time.monotonic() + LOG_EVERY_S
        self._pauses_told = self._repairs_told = 0

    def update(self, tally: Tally) -> None:
        for pause in tally.pauses[self._pauses_told :]:
            self._say(pause)
        for repair in tally.repairs[self._repairs_told :]:
            self._say(repair)
        self._pauses_told, self._repairs_told = len(tally.pauses), len(tally.repairs)
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + LOG_EVERY_S
        self._say(
            f"{tally.requests} requests: {tally.already_stored} stored before, {tally.done} done,"
            f" {tally.in_flight} in flight, {ended_badly(tally)}; {tally.images} images,"
            f" {tally.cost_usd} USD"
        )


def in_log(say: Callable[[str], None]) -> Progress:
    """Progress as a line of the run's log every few seconds; pauses and repaired files at once."""
    return _InLog(say)


def stop_of(report: BatchReport) -> AccountStopError | None:
    """Why a batch ended early, with what is left and what to do; None when it did not."""
    if report.stop is None:
        return None
    left = rest_told(report.left, report.left_cost_usd)
    return AccountStopError(report.stop, f"{report.stop_detail.rstrip(' .')}; {left}")
