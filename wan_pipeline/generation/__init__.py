"""Many requests at once: the batch engine, pacing, polling, recovery, progress.

No Dagster here, and no clock or sleep of its own: a test passes both.
"""
