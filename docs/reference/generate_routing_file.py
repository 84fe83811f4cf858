"""Writes `routing-file.md` beside it from what reads the file: `python docs/reference/generate_routing_file.py`.

A test compares the page with what this makes, and puts each example through the loader.
"""

from __future__ import annotations

from pathlib import Path

from docs.reference.tables import rendered
from orchestrator.squad.routing_tools import json_schema

PAGE = Path(__file__).with_name("routing-file.md")
HEAD = """# The routing file

Made by `docs/reference/generate_routing_file.py` from the models that read the file. `agent_routing.yaml` beside a
squad (or `--routing FILE`, or the variable `ORCHESTRATOR_ROUTING`) says which models answer which agents. What it
leaves out is built in; it need not be there at all. How a turn is routed: [routing](../guides/routing.md); limits and
caps: [limits](../guides/limits.md), [budgets](../guides/budgets.md); whole files: `examples/agent_routing.yaml` and
`examples/thirteen-agents/agent_routing.yaml`.

```yaml
# yaml-language-server: $schema=.schema/routing.json
version: 1
tiers:
  boss: [groq/openai/gpt-oss-120b, anthropic/claude-sonnet-5-5]
  worker: [groq/openai/gpt-oss-20b, openai/gpt-6-luna]
agents:
  dev: {tier: worker, task_type: code}
budget: {max_cost_per_day: 2.50}
```

`orchestrator schema routing` prints the JSON Schema that this page is made from, for [editors](editors.md).
`orchestrator validate agent_routing.yaml` tells more: unknown names of providers, models and tiers, and what can never
be used. Keys are never in this file ([environment variables](environment.md)).

"""


def page() -> str:
    """Return the whole page."""
    return HEAD + rendered(json_schema())


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
