"""Imported in the fork server, so that no worker has to do it: what comes late, and what is slow.

Half of a batch's processor time went here, hundreds of batches long.
"""

from __future__ import annotations

import gc
import sys
from importlib import import_module

from wan_pipeline.wan.spellings import every_spelling
from wan_pipeline.wan.tls import tls_context
from wan_pipeline_tests import emulator_fixture  # what the programs' own modules import
from wan_pipeline_tests.generation.batch_fixture import KEY

__all__ = ["emulator_fixture"]

for _late in ("anyio._backends._asyncio", "httpcore._backends.anyio", "sqlalchemy.dialects.sqlite"):
    import_module(_late)
# httpcore looks for it at every request, and it is not installed.
sys.modules.setdefault("sniffio", None)  # pyright: ignore[reportArgumentType]
tls_context()
every_spelling(KEY)  # a long pattern, which `re` keeps once it is compiled
# A worker's collector leaves alone what it inherits: no page of it is copied.
gc.collect()
gc.freeze()
