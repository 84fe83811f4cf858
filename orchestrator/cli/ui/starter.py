"""The files that `init` writes."""

from __future__ import annotations

from collections.abc import Iterable

from providers.catalog.model import Provider
from providers.catalog.variables import PLACEHOLDER

SQUAD = """\
# A squad: agents, their tasks, and the order of the tasks (needs).
# Check it: orchestrator validate squad.yaml     Draw it: orchestrator graph squad.yaml
version: 1
name: first-squad
description: From an idea to a short brief that a second pair of eyes has read.

offline: auto                     # no key is set, no local server runs: the built-in stub answers, and says so

inputs:
  idea: {type: string, default: A shared shopping list that works offline, description: What to think about}

budget: {max_cost: 0.50, max_time: 10m}      # USD; reserved before each call, so it cannot be overshot

agents:
  mary: {persona: analyst}        # orchestrator personas ls
  paige:
    persona: tech-writer
    principles: ["Never longer than one page."]      # lists append to the persona's own

tasks:
  research:
    agent: mary
    description: Research ${{ inputs.idea }} and state the problem, the users, the evidence and the risks.
    expected_output: A list in which every finding carries its evidence.

  brief:
    agent: paige
    needs: [research]             # its output comes along
    description: Turn the findings into a brief that a busy reader can act on.
    output_file: brief.md         # written to out/<run-id>/brief.md

outputs:
  brief: ${{ tasks.brief.output }}
"""

ROUTING = """\
# Which models answer which agents. All of it is optional: without it the built-in tiers are used, with the keys
# that are set.
# The models and their names: orchestrator providers ls
version: 1

# tiers:                          # with tiers here, only the models named here are asked
#   boss: [groq/openai/gpt-oss-120b, local/*]
#   worker: [groq/openai/gpt-oss-20b, local/*]
#   creative: [gemini/gemini-3.1-flash-lite, local/*]
#   fallback: [local/*]

# agents:                         # by agent or persona; the persona's own tier is the default
#   mary: {tier: boss}

# timeouts: {first_token: 10s, total: 120s}

# providers:                      # your own server on a dialect that is built in
#   lab:
#     dialect: openai-chat
#     base_url: http://127.0.0.1:8000/v1
#     models:
#       small: {context: 8192, max_output: 1024, price: {input: 0, output: 0}}
"""

GITIGNORE = """\
.env
.orchestrator/
out/
"""

ENV_HEAD = """\
# Copy this to .env beside the routing file, and fill in the keys that you have: take the # before the name away. One is
# enough; keys are never shown. Variables of the environment come before this file.

# Keys. A further account of the same provider is NAME_2, NAME_3 and so on.
"""
ENV_SERVERS = """
# Model servers of your own. One at its usual port on this machine is found without these.
"""
ENV_SETTINGS = """
# Which providers are asked, by variables instead of the routing file.
# MODEL_PROVIDER=groq                      the provider that comes first in every tier
# GROQ_MODEL=openai/gpt-oss-20b            of each provider: the model that is asked wherever a tier names it
# GROQ_BASE_URL=https://gateway.example    of each provider: another address
# ORCHESTRATOR_ENV=production              or development: what `only` and factors of the routing file go by
# ORCHESTRATOR_LEDGER=redis://host:6379/0  where limits and budgets are counted, for several machines
# ORCHESTRATOR_DEBUG=groq                  shows what goes to these providers and comes back
# ORCHESTRATOR_SERVER_TOKEN=               the token of `orchestrator serve`, and of commands with --server
# ORCHESTRATOR_LOCAL_SERVERS=off           look for no model server; or addresses of this machine: 127.0.0.1:9000
# ORCHESTRATOR_LOCAL_WAIT=5s               how long such a server may take to answer
# OLLAMA_HOST=127.0.0.1:11434              where Ollama is looked for

# These are read from the environment alone, not from this file: set them with `export NAME=value`.
#   ORCHESTRATOR_STATE            the folder of runs, chats and memory (.orchestrator)
#   ORCHESTRATOR_ROUTING          the routing file (agent_routing.yaml)
#   ORCHESTRATOR_DB               where runs are recorded: sqlite:///PATH or postgresql://USER@HOST/DATABASE
#   ORCHESTRATOR_TRUST            1: do what --trust does
#   ORCHESTRATOR_TRUST_FILE       where permissions are kept (orchestrator/trust.json below XDG_CONFIG_HOME)
#   ORCHESTRATOR_REAL_CALLS       forbid: no provider is called, for tests
#   OTEL_EXPORTER_OTLP_ENDPOINT   traces and metrics go there (pip install 'squad-orchestrator[otel]')
#   HTTPS_PROXY, NO_PROXY         the proxy, and what goes through none
#   NO_COLOR                      no colours
"""


def env_example(rows: Iterable[Provider]) -> str:
    """Return a `.env` that names every variable, none of them set: the keys of these providers, then settings."""
    rows = list(rows)
    keys = "".join(map(_key_lines, (row for row in rows if row.key_env)))
    servers = "".join(f"# {row.env_prefix}_BASE_URL={row.base_url}\n" for row in rows if row.opt_in and row.base_url)
    return ENV_HEAD + keys + ENV_SERVERS + servers + ENV_SETTINGS


def _key_lines(row: Provider) -> str:
    """Return the lines of a provider's key: where it is got, and its variables."""
    where = f"{row.name}{' (has a free plan)' if row.has_free_plan else ''}: {row.keys_at}"
    return f"# {where}\n" + "".join(f"# {name}=\n" for name in (row.key_env, *PLACEHOLDER.findall(row.base_url)))
