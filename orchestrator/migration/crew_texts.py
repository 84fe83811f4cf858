"""CrewAI's texts with `{topic}` as our texts with `${{ inputs.topic }}`. Pure.

Source: CrewAI 1.15, `utilities/string_utils.py`: a variable is a letter or `_`, then letters, digits, `_` and `-`, in
one pair of braces; all other braces are text.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from orchestrator.migration.crew_python import CodeName
from orchestrator.migration.notes import MigrationNotes
from orchestrator.squad.templates import as_quotation

_BRACES = re.compile(
    r"""
    (?P<ours>\$\{\{(?:(?:(?!\}\}).)*\}\})?)                 # our expressions mean nothing there
    | (?P<double>\{\{(?![A-Za-z_][A-Za-z0-9_\-]*\}\})\s*[\w.\-|'"\[\]() ]+\s*\}\})  # Jinja, which is text there
    | (?P<blank>\{(?:\s+[A-Za-z_]\w*\s*|[A-Za-z_]\w*\s+)\})      # text there, which we would take for a slip
    | \{(?P<name>[A-Za-z_][A-Za-z0-9_\-]*)\}
    """,
    re.VERBOSE | re.DOTALL,
)


@dataclass(slots=True)
class CrewTexts:
    """Turns texts over, and gathers the inputs that they read: the name there -> the name here."""

    notes: MigrationNotes
    inputs: dict[str, str] = field(default_factory=dict)

    def text(self, place: str, written: str) -> str:
        """Return a text as a field of a squad takes it."""

        def turned(found: re.Match[str]) -> str:
            # In `{{name}}` the inner pair is a variable there; the outer one stays.
            if found["name"] is not None:
                return f"${{{{ inputs.{self._input(found['name'])} }}}}"
            if found["double"] is not None:
                self.notes.add("changed", place, f"{found[0]} stays text, with both pairs of braces")
            if found["blank"] is not None:
                self.notes.add("changed", place, f"{found[0]} stays text, as the blanks in it made it text there")
            return as_quotation(found[0])

        return _BRACES.sub(turned, written)

    def _input(self, name: str) -> str:
        if name not in self.inputs:
            own = name.replace("-", "_")
            while own in self.inputs.values():
                own += "_"
            self.inputs[name] = own
            if own != name:
                self.notes.add("changed", f"{{{name}}}", f"is the input {own}")
        return self.inputs[name]


def plain_text(value: object) -> str | None:
    """Return the text that a scalar of YAML is; None where it is none, or blank."""
    if isinstance(value, bool | int | float):
        return str(value)
    return value.strip() or None if isinstance(value, str) and not isinstance(value, CodeName) else None
