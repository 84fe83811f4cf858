"""Drives a turn's attempts over the network: reserve, send, settle; for whole answers and for streams."""
