"""Buying a release's requests once more, and what has drifted: sample, comparison, report."""
