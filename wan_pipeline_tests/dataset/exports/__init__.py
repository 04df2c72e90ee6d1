"""Tests of `wan_pipeline.dataset.exports`."""
