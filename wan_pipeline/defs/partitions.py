"""Partition definitions, nothing else."""

from __future__ import annotations

import dagster as dg

__all__ = ["prompt_sets"]

# One partition per prompt file, named like the file without its extensions. Never one per image:
# what happened to a single request stands in the ledger.
prompt_sets = dg.DynamicPartitionsDefinition(name="prompt_set")
