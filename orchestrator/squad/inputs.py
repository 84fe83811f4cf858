"""What a run is given from outside: defaults, types, and values written as text."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from orchestrator.squad.spec import InputSpec, SquadSpec
from providers.documents.findings import Findings
from providers.documents.problems import nearest
from providers.documents.unicode import clean_json

_EXAMPLES = {"string": "text", "integer": "12", "number": "2.5", "boolean": "true or false", "list": "[a, b]"}


def coerce_inputs(spec: SquadSpec, pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Return (name, text) pairs, as a command line has them, as values of their declared types.

    Never raises: what has no such value stays text, and `resolve` reports it. The last of equal names holds.
    """
    return {name: _from_text(spec.inputs.get(name), text) for name, text in pairs}


def _from_text(declared: InputSpec | None, text: str) -> Any:
    kind = "string" if declared is None else declared.type
    if kind == "string":
        return text
    if kind == "list" and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",")] if text.strip() else []
    try:
        value = json.loads(text.strip(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return value if _fits(value, kind) else text


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _fits(value: Any, kind: str) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
    return isinstance(value, list)


def resolve_inputs(spec: SquadSpec, given: Mapping[str, Any] | None, findings: Findings) -> dict[str, Any]:
    """Return the value of each input. `given` None: the squad is checked, not run, so none is required."""
    for name, declared in spec.inputs.items():
        if not name.isidentifier():
            findings.error(("inputs", name), "invalid-name", f"'{name}' cannot be used in expressions", key=True)
        _check_declaration(name, declared, findings)
    for name in given or {}:
        if name not in spec.inputs:
            message = f"the squad takes no input '{name}'"
            findings.error(("inputs",), "unknown-input", message, nearest(name, spec.inputs), key=True)
    values = {}
    for name, declared in spec.inputs.items():
        if given is not None and name in given:
            values[name] = clean_json(given[name])
            _check_value(name, declared, given[name], findings)
        elif declared.default is not None:
            values[name] = declared.default
        elif given is not None:
            hint = f"give it: -i {name}=..."
            findings.error(
                ("inputs", name), "missing-input", f"input '{name}' has no default and was not given", hint, key=True
            )
    return values


def _check_declaration(name: str, declared: InputSpec, findings: Findings) -> None:
    if findings.is_unsure(("inputs", name), "type"):
        return
    for index, value in enumerate(declared.enum or ()):
        if not _fits(value, declared.type):
            findings.error(("inputs", name, "enum", index), "wrong-type", _unfit(name, declared.type))
    if declared.default is None:
        return
    path = ("inputs", name, "default")
    if not _fits(declared.default, declared.type):
        findings.error(path, "wrong-type", _unfit(name, declared.type), f"write {_EXAMPLES[declared.type]}")
    elif declared.enum is not None and declared.default not in declared.enum:
        findings.error(path, "invalid-value", f"the default of '{name}' is not in its enum")


def _unfit(name: str, kind: str) -> str:
    return f"input '{name}' is of type {kind}"


def _check_value(name: str, declared: InputSpec, value: Any, findings: Findings) -> None:
    path = ("inputs", name)
    if not _fits(value, declared.type):
        shown = json.dumps(value, ensure_ascii=False, default=str)[:60]
        message = f"{_unfit(name, declared.type)}; given was {shown}"
        findings.error(path, "invalid-input", message, f"give {_EXAMPLES[declared.type]}", key=True)
    elif declared.enum is not None and value not in declared.enum:
        allowed = ", ".join(map(str, declared.enum))
        findings.error(path, "invalid-input", f"input '{name}' is one of {allowed}", key=True)
