"""How an agent says who it is: by a persona of the library or a file, or in words of its own, maybe in a file. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from typing import Any

from orchestrator.squad.agent_spec import AgentSpec
from orchestrator.squad.templates import PERSONA_TEXTS
from personas.markdown import MARKDOWN, YAML
from personas.sources import persona_name

WHO = 'write persona: analyst, or its own role: "...", or a prompt of its own as instructions: "..."'
"""What to do about an agent that does not say who it is."""
FOLDER = "personas"
"""The folder beside a squad whose files are personas by name."""
_PROMPT_FILE = re.compile(r"[^\s{}]+\.(md|markdown|txt|prompt)", re.IGNORECASE)


def is_file(persona: str) -> bool:
    """Whether the word for a persona names a file, beside the squad's own."""
    return "/" in persona or persona.lower().endswith((*YAML, *MARKDOWN))


def says_who(spec: AgentSpec) -> bool:
    """Whether an agent says more of itself than a name: by a persona, or in words of its own."""
    said = (getattr(spec, text) for text in (*PERSONA_TEXTS, "instructions") if text != "name")
    return spec.persona is not None or any(said)


def overrides_the_library(spec: AgentSpec, own: Container[str] = ()) -> bool:
    """Whether an agent has a title or role of its own beside a persona of the library: see `heirloom`.

    A mapping, a file, and a persona of the folder beside the squad (`own` has their names) are the user's own words,
    which are merged as they are written.
    """
    if not isinstance(spec.persona, str) or is_file(spec.persona) or spec.persona in own:
        return False
    return bool(spec.title or spec.role)


def is_prompt_file(instructions: str) -> bool:
    """Whether instructions are the name of a file that holds them: one word that ends like a text's name."""
    return _PROMPT_FILE.fullmatch(instructions.strip()) is not None


def stem(persona: str | Mapping[str, Any] | None) -> str | None:
    """Return the name that a persona has from its file."""
    if isinstance(persona, str) and is_file(persona):
        return persona_name(persona) or persona.rpartition("/")[2]
    return None
