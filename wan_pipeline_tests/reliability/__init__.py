"""What machine, clock, disk and provider may do to a run, and what must not follow from it."""
