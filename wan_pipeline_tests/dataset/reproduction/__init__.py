"""Tests of reproductions: sample, comparison, verdict."""
