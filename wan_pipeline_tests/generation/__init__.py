"""Tests of `wan_pipeline.generation`."""
