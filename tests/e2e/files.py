"""Squad and routing files, written from a few words."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

PERSONA = {"name": "Tester", "role": "Answers.", "tier": "worker"}


def write_squad(path: Path, tasks: Mapping[str, Any], **more: Any) -> Path:
    """Write a squad of plain agents. A task given as a text is agent ann's work on it."""
    full = {
        name: {"agent": "ann", "description": task} if isinstance(task, str) else task for name, task in tasks.items()
    }
    squad = {"version": 1, "name": "trial", "agents": {"ann": {"persona": PERSONA}}, "tasks": full, **more}
    path.write_text(yaml.safe_dump(squad, allow_unicode=True, sort_keys=False), "utf-8")
    return path


def write_routing(path: Path, addresses: Mapping[str, str], **more: Any) -> Path:
    """Write a policy that asks one model of each provider, in this order."""
    model = {"context": 8192, "max_output": 512, "price": {"input": 1, "output": 1}, "tools": True, "json_schema": True}
    rows = {n: {"dialect": "openai-chat", "base_url": url, "models": {"m": model}} for n, url in addresses.items()}
    names = [f"{name}/m" for name in addresses]
    policy = {"version": 1, "tiers": {"worker": names}, "last_resort": [], "providers": rows, **more}
    path.write_text(yaml.safe_dump(policy), "utf-8")
    return path
