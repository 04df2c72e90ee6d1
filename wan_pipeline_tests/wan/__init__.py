"""Tests of `wan_pipeline.wan`."""
