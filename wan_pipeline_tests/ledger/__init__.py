"""Tests of `wan_pipeline.ledger`."""
