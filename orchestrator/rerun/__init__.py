"""Recorded runs done again: edited, forked, replayed, compared, exported."""
