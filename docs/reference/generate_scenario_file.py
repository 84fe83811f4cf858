"""Writes `scenario-file.md` beside it from the models that read it: `python docs/reference/generate_scenario_file.py`.

A test compares the page with what this makes, and puts each example through the loader.
"""

from __future__ import annotations

from pathlib import Path

from docs.reference.tables import rendered
from orchestrator.squad.routing_tools import json_schema as schema_of_routing
from providers.simulation.scenario_shape import json_schema

PAGE = Path(__file__).with_name("scenario-file.md")
HEAD = """# The scenario file

Made by `docs/reference/generate_scenario_file.py` from the models that read the file. A scenario is a load, providers
that behave in some way, and what must hold under a policy. `orchestrator simulate FILE` tries it on a virtual clock; it
sends nothing and spends nothing ([simulation](../guides/simulation.md)). A whole one: `examples/scenario.yaml`;
`orchestrator simulate --list` lists those that are shipped.

```yaml
# yaml-language-server: $schema=.schema/scenario.json
title: A free account with a paid one behind it
policy:
  tiers: {worker: [groq/openai/gpt-oss-20b, openai/gpt-6-luna]}
providers:
  groq: {outages: [{begins: 1h, lasts: 10m}]}
  openai: {latency: {first_token: 600ms, per_token: 8ms}}
load:
  - {count: 600, over: 2h}
claims:
  - {text: no turn fails, of: failed, exactly: 0}
```

`orchestrator schema scenario` prints the JSON Schema that this page is made from, for [editors](editors.md).

"""
OWN = "routing-file.md"


def page() -> str:
    """Return the whole page. What `policy` holds is on the page of the routing file."""
    schema = json_schema()
    of_routing = schema_of_routing()["$defs"]
    elsewhere = {name: f"{OWN}#{_slug(made)}" for name, made in of_routing.items() if name in schema["$defs"]}
    elsewhere["PolicyShape"] = f"{OWN}#routing-file"
    return HEAD + rendered(schema, elsewhere=elsewhere)


def _slug(definition: object) -> str:
    assert isinstance(definition, dict)
    return str(definition["title"]).lower().replace("'", "").replace(" ", "-")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
