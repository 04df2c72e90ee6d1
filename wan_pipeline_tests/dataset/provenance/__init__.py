"""Tests of `wan_pipeline.dataset.provenance`."""
