"""What a CrewAI project says in Python: read as a syntax tree, never run. Pure.

Source: CrewAI 1.15, `project/annotations.py` and `project/crew_base.py`: methods with the decorators `agent`, `task`,
`crew`, `llm` and `tool`; tasks are done in the order of their methods.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_SHOWN = 80


class PythonCode(NamedTuple):
    """A value that is known only when the program runs."""

    text: str


class CrewPart(NamedTuple):
    """An agent, a task or the crew: `key` is what it is called in YAML, `fields` what its call says beside that."""

    key: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class CrewCode:
    """A crew's class. Agents and tasks are by the names of their methods, in their order."""

    agents: Mapping[str, CrewPart] = field(default_factory=dict)
    tasks: Mapping[str, CrewPart] = field(default_factory=dict)
    crew: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, Any] = field(default_factory=dict)
    """What methods for models and tools return."""


NO_CODE = CrewCode()


def crew_code(text: str) -> CrewCode:
    """Return what the first class of a text that has agents, tasks or a crew says. Raise `SyntaxError`."""
    for node in ast.walk(_parsed(text)):
        if isinstance(node, ast.ClassDef) and (found := _class(node)) is not None:
            return found
    return NO_CODE


def default_inputs(text: str) -> dict[str, str | int | float | bool]:
    """Return what a program gives a crew as `inputs = {...}` or `kickoff(inputs={...})`, as far as it is written out.

    Raise `SyntaxError`.
    """
    for node in ast.walk(_parsed(text)):
        match node:
            case (
                ast.Assign(targets=[ast.Name(id="inputs")], value=ast.Dict() as given)
                | ast.AnnAssign(target=ast.Name(id="inputs"), value=ast.Dict() as given)
                | ast.keyword(arg="inputs", value=ast.Dict() as given)
            ):
                values = zip(given.keys, given.values, strict=True)
                return {
                    key.value: value.value
                    for key, value in values
                    if isinstance(key, ast.Constant) and isinstance(key.value, str)
                    if isinstance(value, ast.Constant) and isinstance(value.value, str | int | float)
                }
    return {}


def _parsed(text: str) -> ast.Module:
    try:
        return ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "it nests too deeply") from None


def _class(node: ast.ClassDef) -> CrewCode | None:
    agents, tasks, crew, made = dict[str, CrewPart](), dict[str, CrewPart](), dict[str, Any](), dict[str, Any]()
    is_one = False
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        kinds = {_last_name(decorator) for decorator in method.decorator_list}
        if kinds & {"agent", "task", "crew"}:
            is_one = True
        if "agent" in kinds:
            agents[method.name] = _part(method, "Agent")
        elif "task" in kinds:
            tasks[method.name] = _part(method, "Task")
        elif "crew" in kinds:
            crew |= _part(method, "Crew").fields
        elif kinds & {"llm", "tool", "output_json", "output_pydantic", "callback"}:
            made[method.name] = next((value_of(one.value) for one in _returns(method) if one.value), None)
    return CrewCode(agents, tasks, crew, made) if is_one else None


def _part(method: ast.FunctionDef | ast.AsyncFunctionDef, kind: str) -> CrewPart:
    for node in ast.walk(method):
        if isinstance(node, ast.Call) and (_last_name(node.func) or "").endswith(kind):
            fields = {one.arg: one.value for one in node.keywords if one.arg is not None}
            key = _key_of(fields.pop("config", None)) or method.name
            return CrewPart(key, {name: value_of(value) for name, value in fields.items()})
    return CrewPart(method.name, {})


def _key_of(config: ast.expr | None) -> str | None:
    """Return `x` of `self.agents_config["x"]`."""
    match config:
        case ast.Subscript(slice=ast.Constant(value=str(key))):
            return key
    return None


def _returns(method: ast.AST) -> Iterator[ast.Return]:
    return (node for node in ast.walk(method) if isinstance(node, ast.Return))


def _last_name(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return _last_name(function)
    return None


def value_of(node: ast.expr) -> Any:
    """Return what an expression says: a constant, lists of such, a name, the class that is called; else its code."""
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [value_of(item) for item in items]
        case ast.Call(func=ast.Name(id="LLM"), keywords=keywords, args=args):
            fields = {one.arg: value_of(one.value) for one in keywords if one.arg is not None}
            return fields if not args else {"model": value_of(args[0]), **fields}
        case ast.Attribute(value=ast.Name(id="Process"), attr=name):
            return name
        case ast.Call() | ast.Name() | ast.Attribute() if _last_name(node) is not None:
            return _last_name(node)
    code = ast.unparse(node)
    return PythonCode(code if len(code) <= _SHOWN else code[:_SHOWN] + "…")
