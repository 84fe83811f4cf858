"""What forked processes find done: a module that the server of `tests/processes.py` imports last.

The models that read files are made, the catalog is read, and the templates of personas are compiled, as a process
does at its first squad and never again. That takes 0.1 s of a processor, and tests fork a thousand processes.
"""

from __future__ import annotations

from orchestrator import Squad
from providers.client.manager import built_in

SQUAD = """\
name: warm
offline: always
agents: {ann: {persona: analyst}, bob: {persona: dev}}
conversations: {talk: {pattern: round_robin, participants: [ann, bob], terminate: {max_turns: 2}}}
tasks:
  one: {agent: ann, description: Research tea.}
  two: {conversation: talk, needs: [one], description: Talk.}
"""

Squad.from_text(SQUAD).warnings_in({})
built_in()
