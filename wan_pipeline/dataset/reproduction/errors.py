"""Errors of reproductions; each message says what is wrong and what to do."""

from __future__ import annotations

from wan_pipeline.dataset.release.errors import ReleaseUsageError

__all__ = ["ReproductionUsageError"]


class ReproductionUsageError(ReleaseUsageError):
    """A sample or a label that cannot be, or a request that cannot be sent again."""
