"""`schema`: the JSON Schema of each kind of file that people write."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import click

from orchestrator.cli import app
from orchestrator.cli.app import argument
from orchestrator.cli.ui.console import print_json
from orchestrator.evals.spec import json_schema as schema_of_tests
from orchestrator.squad.routing_tools import json_schema as schema_of_routing
from orchestrator.squad.spec import json_schema as schema_of_squads
from personas.persona import json_schema as schema_of_personas
from providers.simulation.scenario_shape import json_schema as schema_of_scenarios

SCHEMAS: Mapping[str, Callable[[], dict[str, Any]]] = {
    "squad": schema_of_squads,
    "routing": schema_of_routing,
    "persona": schema_of_personas,
    "scenario": schema_of_scenarios,
    "tests": schema_of_tests,
}
"""By kind of file: what returns its schema."""


@app.command("schema")
@argument("kind", type=click.Choice(list(SCHEMAS)), default="squad", help="The kind of file.")
@click.option("--tests", is_flag=True, help="The same as KIND tests.")
def schema_command(kind: str, tests: bool) -> None:
    """Print the JSON Schema of squad files, or of another KIND of file, for editors."""
    if tests and kind not in ("squad", "tests"):
        raise click.UsageError(f"--tests and {kind}: write one of them")
    print_json(SCHEMAS["tests" if tests else kind](), indent=2)
