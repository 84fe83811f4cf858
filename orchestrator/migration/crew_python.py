"""What a CrewAI project says in Python: read as a syntax tree, never run. Pure.

Source: CrewAI 1.15, `project/annotations.py` and `project/crew_base.py`: methods with the decorators `agent`, `task`,
`crew`, `llm` and `tool`; tasks are done in the order of their methods. Scripts make the same objects by name.
"""

from __future__ import annotations

import ast
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

_SHOWN = 80
HOOKS = ("before_kickoff", "after_kickoff")
Scope = Mapping[str, ast.expr]
"""What names stand for, where each is bound once."""
NOTHING: Scope = {}


class PythonCode(NamedTuple):
    """A value that is known only when the program runs."""

    text: str


class CodeName(str):
    """What a value is called that is known only when the program runs: a class, a method, a variable. No text."""

    __slots__ = ()


class CrewPart(NamedTuple):
    """An agent, a task or the crew: `key` is what it is called in YAML, `fields` what its call says beside that.

    `in_yaml`: the call reads its entry there.
    """

    key: str
    fields: Mapping[str, Any]
    in_yaml: bool = False


@dataclass(frozen=True, slots=True)
class CrewCode:
    """A crew's class, or a script. Agents and tasks are by the names of their methods, in their order."""

    agents: dict[str, CrewPart] = field(default_factory=dict)
    tasks: dict[str, CrewPart] = field(default_factory=dict)
    crew: dict[str, Any] = field(default_factory=dict)
    made: dict[str, Any] = field(default_factory=dict)
    """What other methods return: models and tools."""
    others: dict[str, CrewPart] = field(default_factory=dict)
    """Agents without a decorator, by method or name. One of them may be the manager."""
    hooks: dict[str, str] = field(default_factory=dict)
    """Methods that are called before and after the work -> which of both."""
    files: dict[str, str] = field(default_factory=dict)
    """`agents_config` and `tasks_config`, where the class says it: paths from its own folder."""
    is_class: bool = False


def crew_code(text: str) -> CrewCode:
    """Return what the first class of a text that has agents, tasks or a crew says; without one, the script.

    Raise `SyntaxError`.
    """
    tree = parsed(text)
    scope = _bound(tree.body)
    try:
        classes = (_class(node, scope) for node in ast.walk(tree) if isinstance(node, ast.ClassDef))
        return next((found for found in classes if found is not None), None) or _script(tree)
    except RecursionError:
        raise SyntaxError("it nests too deeply") from None


def default_inputs(text: str) -> dict[str, str | int | float | bool]:
    """Return what a program gives a crew as `inputs = {...}` or `kickoff(inputs={...})`, as far as it is written out.

    Raise `SyntaxError`.
    """
    for node in ast.walk(parsed(text)):
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


def parsed(text: str) -> ast.Module:
    """Return the syntax tree of a text. Raise `SyntaxError`."""
    try:
        return ast.parse(text)
    except (ValueError, RecursionError, MemoryError) as error:
        raise SyntaxError(str(error) or "it nests too deeply") from None


def _class(node: ast.ClassDef, around: Scope) -> CrewCode | None:
    found, scope = CrewCode(is_class=True), {**around, **_bound(node.body)}
    is_one = False
    for method in node.body:
        if not isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        kinds = {_last_name(decorator) for decorator in method.decorator_list}
        inside = {**scope, **_bound(method.body)}
        is_one = is_one or bool(kinds & {"agent", "task", "crew"})
        if "agent" in kinds:
            found.agents[method.name] = _part(method, inside, "Agent")
        elif "task" in kinds:
            found.tasks[method.name] = _part(method, inside, "Task")
        elif "crew" in kinds:
            found.crew.update(_part(method, inside, "Crew").fields)
            found.others.update(_named(_bound(method.body), inside, "Agent"))
        elif hooks := kinds & {*HOOKS}:
            found.hooks[method.name] = str(*hooks)
        elif _call(method, "Agent") is not None:
            found.others[method.name] = _part(method, inside, "Agent")
        else:
            returned = (one.value for one in ast.walk(method) if isinstance(one, ast.Return) and one.value)
            found.made[method.name] = next((value_of(one, inside) for one in returned), None)
    configs = {name: value_of(scope[name]) for name in ("agents_config", "tasks_config") if name in scope}
    found.files.update({name: path for name, path in configs.items() if isinstance(path, str)})
    return found if is_one else None


def _script(tree: ast.Module) -> CrewCode:
    """Return the agents, tasks and crew that a script binds to names, in its functions, too."""
    scope = _bound(node for node in ast.walk(tree) if isinstance(node, ast.stmt))
    agents, tasks = _named(scope, scope, "Agent"), _named(scope, scope, "Task")
    crew = _part(tree, scope, "Crew").fields
    if not agents or not tasks:
        return CrewCode()
    listed = crew.get("agents")
    named = [name for name in listed if isinstance(name, str) and name in agents] if isinstance(listed, list) else []
    working = {name: part for name, part in agents.items() if not named or name in named}
    others = {name: part for name, part in agents.items() if name not in working}
    return CrewCode(working, tasks, dict(crew), others=others)


def _bound(statements: Iterable[ast.stmt]) -> dict[str, ast.expr]:
    """Return what names stand for that are bound once in these statements."""
    found = list[tuple[str, ast.expr]]()
    for node in statements:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value):
                found.append((name, value))
            case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value):
                found.append((name, value))
    times = Counter(name for name, _ in found)
    return {name: value for name, value in found if times[name] == 1}


def _named(bound: Scope, scope: Scope, kind: str) -> dict[str, CrewPart]:
    """Return the agents, or the tasks, that are bound to names."""
    found = {name: _call(value, kind) for name, value in bound.items() if _is_call(value, kind)}
    return {name: _called(name, call, scope) for name, call in found.items() if call is not None}


def _part(within: ast.AST, scope: Scope, kind: str) -> CrewPart:
    name = getattr(within, "name", "")
    call = _call(within, kind)
    return CrewPart(name, {}) if call is None else _called(name, call, scope)


def _called(name: str, call: ast.Call, scope: Scope) -> CrewPart:
    fields = {one.arg: one.value for one in call.keywords if one.arg is not None}
    key = _key_of(fields.pop("config", None))
    for field_name, value in list(fields.items()):
        match value:
            case ast.Subscript(value=ast.Subscript() as entry, slice=ast.Constant(value=said)) if said == field_name:
                own = _key_of(entry)  # description=tasks_config["x"]["description"]
                if own is not None and key in (None, own):
                    key = own
                    del fields[field_name]
    return CrewPart(key or name, {name: value_of(value, scope) for name, value in fields.items()}, key is not None)


def _call(within: ast.AST, kind: str) -> ast.Call | None:
    """Return the first call of a class whose name ends with `kind`: `ConditionalTask` is a task."""
    return next((node for node in ast.walk(within) if isinstance(node, ast.Call) and _is_call(node, kind)), None)


def _is_call(node: ast.expr, kind: str) -> bool:
    return isinstance(node, ast.Call) and (_last_name(node.func) or "").endswith(kind)


def _key_of(config: ast.expr | None) -> str | None:
    """Return `x` of `self.agents_config["x"]`."""
    match config:
        case ast.Subscript(slice=ast.Constant(value=str(key))):
            return key
    return None


def _last_name(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=function):
            return _last_name(function)
    return None


def value_of(node: ast.expr, scope: Scope = NOTHING) -> Any:
    """Return what an expression says: a constant, lists of such, a name, the class that is called; else its code.

    A name is what it stands for in `scope`; one of an agent or a task stays.
    """
    if (text := _text(node, scope)) is not None:
        return text
    match node:
        case ast.Constant(value=str() | int() | float() | bool() | None as value):
            return value
        case ast.List(elts=items) | ast.Tuple(elts=items):
            return [value_of(item, scope) for item in items]
        case ast.Call(func=ast.Name(id="LLM"), keywords=keywords, args=args):
            fields = {one.arg: value_of(one.value, scope) for one in keywords if one.arg is not None}
            return fields if not args else {"model": value_of(args[0], scope), **fields}
        case ast.Attribute(value=ast.Name(id="Process"), attr=name):
            return name
        case ast.Name(id=name) | ast.Attribute(value=ast.Name(id="self"), attr=name) if name in scope:
            meant = scope[name]
            if _is_call(meant, "Agent") or _is_call(meant, "Task"):
                return name
            return value_of(meant, {other: value for other, value in scope.items() if other != name})
        case ast.Call() | ast.Name() | ast.Attribute() if (called := _last_name(node)) is not None:
            return CodeName(called)
    code = ast.unparse(node)
    return PythonCode(code if len(code) <= _SHOWN else code[:_SHOWN] + "…")


def _text(node: ast.expr, scope: Scope) -> str | None:
    """Return the text that an expression puts together, where all of it is written out."""
    made: Callable[[str], str] = str
    match node:
        case ast.Constant(value=str(whole)):
            return whole
        case ast.JoinedStr(values=values):
            parts = [_text(value, scope) for value in values]
        case ast.FormattedValue(value=value, conversion=-1, format_spec=None):
            parts = [_said(value, scope)]
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            parts = [_said(left, scope), _said(right, scope)]
        case ast.Call(func=function, args=[text], keywords=[]) if _last_name(function) == "dedent":
            parts = [_text(text, scope)]
            made = textwrap.dedent
        case ast.Call(func=ast.Attribute(value=text, attr="strip"), args=[], keywords=[]):
            parts, made = [_text(text, scope)], str.strip
        case _:
            return None
    return None if None in parts else made("".join(part for part in parts if part is not None))


def _said(node: ast.expr, scope: Scope) -> str | None:
    """Return a text, or what a name stands for that is bound to one."""
    value = value_of(node, scope)
    return value if isinstance(value, str) and not isinstance(value, CodeName) else None
