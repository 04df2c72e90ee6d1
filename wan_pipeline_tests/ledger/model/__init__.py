"""A reference of the ledger, and the machine that drives the two side by side."""
