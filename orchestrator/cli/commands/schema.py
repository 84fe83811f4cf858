"""`schema`: the JSON Schema of squad files, and of their tests."""

from __future__ import annotations

import click

from orchestrator.cli import app
from orchestrator.cli.ui.console import print_json
from orchestrator.evals.spec import json_schema as schema_of_tests
from orchestrator.squad.spec import json_schema


@app.command("schema")
@click.option("--tests", is_flag=True, help="Of test files (squad.test.yaml) instead.")
def schema_command(tests: bool) -> None:
    """Print the JSON Schema of squad files, for editors."""
    print_json(schema_of_tests() if tests else json_schema(), indent=2)
