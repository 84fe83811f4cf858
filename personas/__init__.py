"""Who speaks: personas, where they come from, and the sandbox that their texts and a squad's expressions run in.

Importing this package loads none of its parts; each public name is loaded on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from personas.persona import Persona, PersonaError, Personas
    from personas.sandbox import Sandbox, TemplateError
    from personas.sources import first_of, in_memory, packaged

__all__ = ["Persona", "PersonaError", "Personas", "Sandbox", "TemplateError", "first_of", "in_memory", "packaged"]

_HOMES = {
    "Persona": "persona",
    "PersonaError": "persona",
    "Personas": "persona",
    "Sandbox": "sandbox",
    "TemplateError": "sandbox",
    "first_of": "sources",
    "in_memory": "sources",
    "packaged": "sources",
}


if not TYPE_CHECKING:  # to a type checker any name would be one of ours

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
