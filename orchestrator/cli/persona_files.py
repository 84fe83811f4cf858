"""Personas as commands read them."""

from __future__ import annotations

from orchestrator.cli.exits import Unusable
from orchestrator.cli.loading import interrupts_held
from personas import Persona, Personas, packaged
from providers.documents.likeness import closest


@interrupts_held()
def load_persona(name: str) -> Persona:
    """Return a persona of the library. Raise `Unusable` where there is none of this name."""
    library = Personas(packaged())
    if name not in library.names():
        close = closest(name, library.names())
        like = f"did you mean {close!r}? " if close else ""
        raise Unusable(f"there is no persona {name!r}", f"{like}the personas are: {', '.join(library.names())}")
    return library.get(name)
