"""A record with many runs, and one of many tasks: what the pages of a server that was long in use read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from orchestrator import Squad, run_squad
from orchestrator.journal.opening import open_journal

DAYS = 30
LARGE = "large-run"


def squad(name: str, tasks: Mapping[str, Any], parts: int = 0) -> Squad:
    agent = {"role": "writer", "goal": "Write what is asked."}
    given = {"parts": {"type": "list", "default": [f"P-{number}" for number in range(parts)]}} if parts else {}
    return Squad.from_mapping({"version": 1, "name": name, "inputs": given, "agents": {"ann": agent}, "tasks": tasks})


def small() -> Squad:
    words = {"plan": "Plan it.", "write": "Write it.", "check": "Check it."}
    before = {"plan": [], "write": ["plan"], "check": ["write"]}
    return squad("small", {name: {"agent": "ann", "description": words[name], "needs": before[name]} for name in words})


def large(tasks: int) -> Squad:
    each = {
        "agent": "ann",
        "description": "Write ${{ item }}.",
        "for_each": "${{ inputs.parts }}",
        "key": "${{ item }}",
    }
    return squad("large", {"part": {**each, "max_parallel": 8}}, tasks)


async def record(file: Path, runs: int, tasks: int) -> None:
    """Make the large run and one small one on the stub, and copies of the small one over the last days."""
    async with open_journal(file) as journal:
        await run_squad(large(tasks), offline=True, journal=journal, run_id=LARGE)
        await run_squad(small(), offline=True, journal=journal, run_id="small-0")
        manifest, events = await journal.manifest("small-0"), await journal.events("small-0")
        steps, now = await journal.steps("small-0"), time.time()
        for number in range(1, runs - 1):
            began = now - number * DAYS * 86400 / runs
            await journal.create(f"small-{number}", replace(manifest, created_at=began), events, steps)
