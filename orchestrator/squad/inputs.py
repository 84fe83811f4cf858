"""What a run is given from outside: defaults, types, and values written as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from orchestrator.errors import PlanError
from orchestrator.squad.given import InputType, input_value, structured
from orchestrator.squad.given_values import InputFile, InputImage, RawInput, UnreadInput
from orchestrator.squad.schemas import Schemas, advice_on_schema
from orchestrator.squad.spec import InputSpec, SquadSpec
from providers.documents.findings import Findings
from providers.documents.json_schema import SchemaTooCostly, validator_of
from providers.documents.nodes import Node
from providers.documents.problems import nearest
from providers.documents.unicode import clean_json

_TO_GIVE: Mapping[str, str] = {"file": "@FILE", "image": "@FILE", "list": "@FILE.csv, or a,b,c", "object": "@FILE.json"}

ReadDefault = Callable[[str, InputType], RawInput | UnreadInput]
"""Returns the file that stands in a squad as the default of an input of this type."""
_EXAMPLES: Mapping[str, str] = {
    "string": "text",
    "integer": "12",
    "number": "2.5",
    "boolean": "true or false",
    "list": "[a, b]",
    "object": "{a: 1}",
    "file": "@notes.md on the command line, a Path or bytes in Python",
    "image": "@photo.png on the command line, a Path or bytes in Python",
}


def coerce_inputs(declared: Mapping[str, InputSpec], pairs: Iterable[tuple[str, Any]]) -> dict[str, Any]:
    """Return (name, text) pairs, as a command line has them, as values of their declared types.

    What was read from a file or a pipe stands as a `RawInput` in place of the text. Never raises: what has no such
    value stays as it is, and `resolve` reports it. The last of equal names holds.
    """
    return {name: _meant(name, declared.get(name), given) for name, given in pairs}


def _meant(name: str, declared: InputSpec | None, given: Any) -> Any:
    kind = "string" if declared is None else declared.type
    if not isinstance(given, str):
        given = input_value(name, kind, given)
    return _from_text(kind, given) if isinstance(given, str) else given


def _from_text(kind: InputType, text: str) -> Any:
    if kind in ("string", "file", "image"):
        return text
    if kind == "object":
        return structured("object", text)
    if kind == "list" and not text.lstrip().startswith("["):
        return [part.strip() for part in text.split(",")] if text.strip() else []
    if kind == "list":
        return structured("list", text)
    try:
        value = json.loads(text.strip(), parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text
    return value if _fits(value, kind) else text


def _refuse(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def _fits(value: Any, kind: InputType) -> bool:
    match kind:
        case "string":
            return isinstance(value, str)
        case "boolean":
            return isinstance(value, bool)
        case "integer":
            return isinstance(value, int) and not isinstance(value, bool)
        case "number":
            return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < float("inf")
        case "object":
            return isinstance(value, Mapping) and all(isinstance(key, str) for key in value)
        case "file":
            return isinstance(value, InputFile)
        case "image":
            return isinstance(value, InputImage)
    return isinstance(value, list)


def resolve_inputs(
    spec: SquadSpec, given: Mapping[str, Any] | None, findings: Findings, read_default: ReadDefault | None = None
) -> dict[str, Any]:
    """Return the value of each input. `given` None: the squad is checked, not run, so none is required."""
    for name, declared in spec.inputs.items():
        if not name.isidentifier():
            findings.error(("inputs", name), "invalid-name", f"'{name}' cannot be used in expressions", key=True)
        _check_declaration(name, declared, findings)
    _refuse_unknown(spec, given or {}, findings)
    values: dict[str, Any] = {}
    for name, declared in spec.inputs.items():
        if given is not None and name in given:
            values[name] = _checked(name, declared, given[name], findings)
        elif declared.default is None and given is not None:
            hint = f"give it: -i {name}={_TO_GIVE.get(declared.type, '...')}"
            message = f"input '{name}' has no default and was not given"
            findings.error(("inputs", name), "missing-input", message, hint, key=True)
        elif (value := _by_default(name, declared, findings, None if given is None else read_default)) is not None:
            values[name] = value
    return values


def check_given(spec: SquadSpec, node: Node, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of each input that is given; others may be missing. Raise `PlanError` with what is wrong."""
    findings = Findings.after(node, ())
    _refuse_unknown(spec, given, findings)
    known = {name: declared for name, declared in spec.inputs.items() if name in given}
    values = {name: _checked(name, declared, given[name], findings) for name, declared in known.items()}
    if findings.errors:
        raise PlanError(findings.found)
    return values


def _refuse_unknown(spec: SquadSpec, given: Iterable[str], findings: Findings) -> None:
    for name in given:
        if name not in spec.inputs:
            message = f"the squad takes no input '{name}'"
            findings.error(("inputs",), "unknown-input", message, nearest(name, spec.inputs), key=True)


def _by_default(name: str, declared: InputSpec, findings: Findings, read: ReadDefault | None) -> Any:
    """Return an input's default. That of a file is a path in the squad, which is read when a run needs it."""
    if declared.type not in ("file", "image"):
        return declared.default
    return None if read is None else _default(name, declared, findings, read)


def check_defaults(spec: SquadSpec, node: Node, read_default: ReadDefault) -> None:
    """Raise `PlanError` with each file that stands in the squad as a default and cannot be read."""
    findings = Findings.after(node, ())
    for name, declared in spec.inputs.items():
        if declared.type in ("file", "image") and declared.default is not None:
            _default(name, declared, findings, read_default)
    if findings.errors:
        raise PlanError(findings.found)


def _default(name: str, declared: InputSpec, findings: Findings, read_default: ReadDefault) -> Any:
    """Return the file that is the default; None where there is none to read, which is then reported."""
    made = input_value(name, declared.type, read_default(str(declared.default), declared.type))
    if isinstance(made, UnreadInput):
        findings.error(("inputs", name, "default"), "invalid-input", f"input '{name}': {made.why}", made.hint)
        return None
    return made


def _checked(name: str, declared: InputSpec, value: Any, findings: Findings) -> Any:
    """Return a given value as expressions read it. What is wrong with it is reported."""
    value = _meant(name, declared, value) if not isinstance(value, str) else input_value(name, declared.type, value)
    _check_value(name, declared, value, findings)
    return value if isinstance(value, InputFile | InputImage | UnreadInput) else clean_json(value)


def _check_declaration(name: str, declared: InputSpec, findings: Findings) -> None:
    if findings.is_unsure(("inputs", name), "type"):
        return
    kind: InputType = "string" if declared.type in ("file", "image") else declared.type
    for index, value in enumerate(declared.enum or ()):
        if not _fits(value, kind):
            findings.error(("inputs", name, "enum", index), "wrong-type", _unfit(name, declared.type))
    if declared.schema_ is not None:
        _check_schema(name, declared, findings)
    if declared.default is None:
        return
    path = ("inputs", name, "default")
    if not _fits(declared.default, kind):
        findings.error(path, "wrong-type", _unfit(name, declared.type), _fitting(declared.type, declared.default))
    elif declared.enum is not None and declared.default not in declared.enum:
        findings.error(path, "invalid-value", f"the default of '{name}' is not in its enum")
    elif kind == declared.type and (fault := _schema_fault(declared, declared.default)):
        findings.error(path, "invalid-value", f"the default of '{name}' does not fit its schema: {fault}")


def _fitting(kind: InputType, value: Any) -> str:
    """Return what to write where a default is of another type than its input."""
    if kind in ("file", "image"):
        return "write the path of a file"
    named = {bool: "boolean", int: "integer", float: "number", list: "list", dict: "object"}.get(type(value))
    if kind != "string" or named is None:
        return f"write {_EXAMPLES[kind]}"
    return f"write type: {named}" + ("" if named in ("list", "object") else ", or put the default in quotes")


def _check_schema(name: str, declared: InputSpec, findings: Findings) -> None:
    path = ("inputs", name, "schema")
    if declared.type in ("file", "image"):
        message = f"input '{name}' is of type {declared.type}, to which a schema does not apply"
        findings.error(path, "invalid-value", message, "leave it out, or declare it as type: object")
        return
    for inner, message in Schemas().faults(declared.schema_ or {}):
        findings.error((*path, *inner), "bad-schema", message, advice_on_schema(declared.schema_ or {}, inner))


def _schema_fault(declared: InputSpec, value: Any) -> str:
    """Return what of a value breaks the schema of its input, empty where nothing does."""
    if declared.schema_ is None or Schemas().faults(declared.schema_):
        return ""
    try:
        error = validator_of(declared.schema_).first_error(value)
    except SchemaTooCostly as costly:
        return str(costly)
    if error is None:
        return ""
    where = ".".join(map(str, error.absolute_path))
    return f"at {where}: {error.message[:200]}" if where else str(error.message[:200])


def _unfit(name: str, kind: str) -> str:
    return f"input '{name}' is of type {kind}"


def _check_value(name: str, declared: InputSpec, value: Any, findings: Findings) -> None:
    path = ("inputs", name)
    if isinstance(value, UnreadInput):
        findings.error(path, "invalid-input", f"input '{name}': {value.why}", value.hint, key=True)
    elif not _fits(value, declared.type):
        shown = json.dumps(value, ensure_ascii=False, default=str)[:60]
        message = f"{_unfit(name, declared.type)}; given was {shown}"
        findings.error(path, "invalid-input", message, f"give {_EXAMPLES[declared.type]}", key=True)
    elif declared.enum is not None and value not in declared.enum:
        allowed = ", ".join(map(str, declared.enum))
        findings.error(path, "invalid-input", f"input '{name}' is one of {allowed}", key=True)
    elif fault := _schema_fault(declared, value):
        findings.error(path, "invalid-input", f"input '{name}' does not fit its schema: {fault}", key=True)
