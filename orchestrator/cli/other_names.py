"""What other programs call our commands and options, and what is written here for them. Data alone."""

from __future__ import annotations

from collections.abc import Mapping


def _all(names: Mapping[str, str]) -> dict[str, str]:
    """Return each of the words (blanks between them) with what stands for it here."""
    return {word: written for words, written in names.items() for word in words.split()}


COMMANDS: Mapping[str, str] = _all(
    {
        "new create scaffold generate": "init",
        "start exec execute kickoff launch up": "run squad.yaml",
        "plan preview dry-run": "run squad.yaml --dry-run",
        "lint check verify": "validate squad.yaml",
        "eval evals evaluate": "test",
        "list ls history ps": "runs ls",
        "show logs log inspect trace": "runs show latest",
        "resume continue": "runs resume latest",
        "replay": "runs replay latest",
        "fork": "runs fork RUN",
        "cancel stop kill": "runs cancel RUN",
        "watch tail": "runs watch RUN",
        "status": "runs ls` or `orchestrator providers status",
        "cost costs usage": "spending",
        "ui web dashboard studio playground server": "serve squad.yaml",
        "persona agent agents": "personas ls",
        "provider model models key keys auth login": "providers ls",
        "approve reject answer": "approvals",
        "visualize visualise diagram draw": "graph squad.yaml",
        "convert migrate": "import crewai DIR",
        "help": "--help",
        "version": "--version",
    }
)
"""Command of another program -> what stands behind `orchestrator`."""
OPTIONS: Mapping[str, tuple[str, str]] = {
    **dict.fromkeys(("--var", "--set", "--param", "--arg", "-p"), ("--input", "-i NAME=VALUE gives an input")),
    **dict.fromkeys(("--output", "-o", "--output-dir", "--out-dir"), ("--out", "write --out DIR")),
    **dict.fromkeys(
        ("--model", "--provider", "--llm"),
        ("--dry-run", "a squad says it: agents: {ann: {model: PROVIDER/MODEL}}; agent_routing.yaml says it for all"),
    ),
    **dict.fromkeys(("--yes", "-y", "--auto-approve"), ("--approve", "write --approve auto")),
    "--budget": ("--max-cost", "write --max-cost USD"),
    "--mock": ("--offline", "write --offline"),
    "--update": ("--record", "write --record"),
}
"""Option of another program -> the one that a command must have for it, and what to write."""
