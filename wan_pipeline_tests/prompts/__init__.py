"""Tests of prompt tables, requests and their identity."""
