"""Tests of wan_pipeline; the folders mirror the package."""
