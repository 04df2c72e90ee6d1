"""Tests of the local provider, from outside over real HTTP wherever that is possible."""
