"""Runs at a server: the client of its API, and what commands ask of it."""
