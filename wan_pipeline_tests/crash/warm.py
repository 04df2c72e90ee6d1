"""Imported in the fork server, so that no worker has to: late imports and the TLS context."""

from __future__ import annotations

from importlib import import_module

from wan_pipeline.wan.tls import tls_context
from wan_pipeline_tests import emulator_fixture  # what the programs' own modules import

__all__ = ["emulator_fixture"]

for _late in ("anyio._backends._asyncio", "httpcore._backends.anyio", "sqlalchemy.dialects.sqlite"):
    import_module(_late)
tls_context()
