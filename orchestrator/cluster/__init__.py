"""Runs past one process: submitted to a queue, driven and worked on by any number of workers over one journal.

submission -> journal + job "run" -> driving (one process) -> jobs "unit" -> unit_host (any process) -> report
"""
