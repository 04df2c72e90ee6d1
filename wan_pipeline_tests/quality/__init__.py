"""Measurements, near duplicates, flags, and the page that shows them."""
