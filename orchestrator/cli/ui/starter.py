"""The files that `init` writes."""

from __future__ import annotations

from collections.abc import Iterable

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
# Copy this to .env beside the routing file and fill in the keys that you have. One is enough; keys are never shown.
# Variables of the environment come before this file. A second key of one provider is NAME_2.
"""


def env_example(variables: Iterable[str]) -> str:
    """Return a `.env` with every key's variable, none of them set."""
    return ENV_HEAD + "".join(f"# {variable}=\n" for variable in variables)
