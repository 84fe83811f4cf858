"""Squads of several files, for tests of sub-squads."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from orchestrator import Squad
from providers.documents.scalars import write_tree

PEOPLE = {"ann": {"persona": {"name": "Tester", "role": "Answers.", "tier": "worker"}}}
REVIEW: dict[str, Any] = {
    "name": "review",
    "inputs": {"draft": {"type": "string"}, "tone": {"type": "string", "default": "kind"}},
    "agents": {
        "ann": {"persona": {"name": "Inner", "role": "Reviews in a ${{ inputs.tone }} tone.", "tier": "worker"}},
        "bob": {"persona": {"name": "Judge", "role": "Judges.", "tier": "worker"}},
    },
    "tasks": {
        "check": {"agent": "ann", "description": "Check ${{ inputs.draft }}"},
        "judge": {"agent": "bob", "needs": ["check"], "description": "Judge it."},
    },
    "outputs": {"notes": "${{ tasks.check.output }}", "verdict": "${{ tasks.judge.output }}"},
}
OUTER: dict[str, Any] = {
    "draft": {"agent": "ann", "description": "Draft it."},
    "review": {"squad": "review.yaml", "needs": ["draft"], "with": {"draft": "${{ tasks.draft.output }}"}},
    "end": {"agent": "ann", "needs": ["review"], "description": "End with ${{ tasks.review.output.verdict }}"},
}


def written(
    folder: Path, tasks: Mapping[str, Any] = OUTER, files: Mapping[str, Any] | None = None, **more: Any
) -> Path:
    """Write a squad with these tasks, and the files of its sub-squads. Return where it is."""
    files = {"review.yaml": REVIEW} if files is None else files
    whole = {"name": "outer", "agents": PEOPLE, "tasks": tasks, **more}
    for name, content in {**files, "outer.yaml": whole}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(write_tree(content))
    return folder / "outer.yaml"


def made(folder: Path, tasks: Mapping[str, Any] = OUTER, files: Mapping[str, Any] | None = None, **more: Any) -> Squad:
    return Squad.from_file(written(folder, tasks, files, **more))


def edited(squad: Mapping[str, Any], task: str, **more: Any) -> dict[str, Any]:
    """Return a squad with one of its tasks changed."""
    return {**squad, "tasks": {**squad["tasks"], task: {**squad["tasks"].get(task, {}), **more}}}
