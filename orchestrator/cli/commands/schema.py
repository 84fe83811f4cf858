"""`schema`: the JSON Schema of squad files."""

from __future__ import annotations

from orchestrator.cli import app
from orchestrator.cli.ui.console import print_json
from orchestrator.squad.spec import json_schema


@app.command("schema")
def schema_command() -> None:
    """Print the JSON Schema of squad files, for editors."""
    print_json(json_schema(), indent=2)
