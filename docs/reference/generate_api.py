"""Writes the pages of `api/` beside it from the public names of the packages: `python docs/reference/generate_api.py`.

A test compares the pages with what this makes, so they cannot drift from the code. `api_groups.py` says which name
stands on which page. Signatures and types are taken from the source, as they are written there.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from docs.reference.api_groups import GROUPS, HIDDEN, MADE_BY, PACKAGES, Group

FOLDER = "api"
OURS = ("orchestrator", "agents", "personas", "providers")
LONGEST = 88
"""Characters of a signature that stands on one line."""
TYPES = "types"
Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


class Entry(NamedTuple):
    """A public name: what it is, and the page that it stands on."""

    package: str
    name: str
    value: Any
    page: str


class Field(NamedTuple):
    """A field as the source has it. `default` is empty where there is none."""

    name: str
    type: str
    default: str
    text: str


def pages() -> Mapping[str, str]:
    """Return the pages by their path beside this file."""
    made = {group.page: "\n".join(_group(group)) for group in GROUPS}
    made[TYPES] = "\n".join(_types())
    made["index"] = "\n".join(_index())
    return {f"{FOLDER}/{name}.md": f"{text.rstrip()}\n" for name, text in made.items()}


@cache
def entries() -> Mapping[str, Entry]:
    """Return all public names. A name that two packages have is one thing, and stands with the first."""
    placed = {name: group.page for group in GROUPS for name in group.names}
    found: dict[str, Entry] = {}
    for package in PACKAGES:
        module = import_module(package)
        for name in module.__all__:
            found.setdefault(name, Entry(package, name, getattr(module, name), placed[name]))
    return found


def _index() -> Iterator[str]:
    yield from ("# Python API", "")
    yield "Every public name of the packages, by what you do with it. What is not listed may change in any release."
    yield "All coroutines run on asyncio and on trio. In a terminal, `orchestrator docs run_squad` prints one name."
    yield from ("", *(f"- [{group.title}]({group.page}.md): {group.about}" for group in GROUPS))
    yield from (f"- [Other types]({TYPES}.md): what signatures name beside these", "")
    yield from ("## All names", "", "| name | import from | what it is |", "|---|---|---|")
    for entry in sorted(entries().values(), key=lambda one: (one.name.casefold(), one.name)):
        summary = _linked(_summary(entry.value), "", skip=entry.name).replace("|", "\\|")
        yield f"| {_link(entry.name)} | `{entry.package}` | {summary} |"
    yield from ("", "```{toctree}", ":hidden:", "", *(group.page for group in GROUPS), TYPES, "```")


def _group(group: Group) -> Iterator[str]:
    yield from (f"# {group.title}", "", *textwrap.wrap(group.intro, 120, break_on_hyphens=False), "")
    if group.example:
        yield from ("```python", group.example.strip("\n"), "```", "")
    for name in group.names:
        yield from _entry(entries()[name])


def _entry(entry: Entry) -> Iterator[str]:
    value = entry.value
    yield from (f"## {entry.name}", "", f"`from {entry.package} import {entry.name}`", "")
    if not (inspect.isclass(value) or inspect.isfunction(value)):
        raise TypeError(f"{entry.package}.{entry.name} is neither a class nor a function: say how it is shown")
    yield from _shown(entry.name, value, entry.page)


def _shown(name: str, value: Any, page: str) -> Iterator[str]:
    node, text = source_of(value), _linked(_docs(value), page, skip=name)
    first, _, rest = (text, "", "") if isinstance(node, ast.ClassDef) else text.partition("\n\n")
    yield from (first, "") if first else ()
    yield from _shape(name, value, node, page)
    yield from (rest, "") if rest else ()
    if isinstance(node, ast.ClassDef):
        for title, owner, member in members(name, value):
            yield from _member(title, owner, member, page)


def _shape(name: str, value: Any, node: Definition, page: str) -> Iterator[str]:
    """Yield the signature, and the fields of what has fields."""
    if not isinstance(node, ast.ClassDef):
        yield from _code(_signature(node))
        yield from _used(node, value, page)
        return
    bases = ", ".join(_link(base, page) for base in map(ast.unparse, node.bases) if base in entries())
    yield from (f"Base: {bases}.", "") if bases else ()
    if name in MADE_BY:
        yield from (f"You get it from {_linked(MADE_BY[name], page)}.", "")
    elif (start := _start(node)) and not issubclass(value, BaseException):
        yield from _code(_signature(start, name))
        yield from _used(start, value, page)
    yield from _table(fields_of(value), value, page)


def _start(node: ast.ClassDef) -> ast.FunctionDef | None:
    return next((one for one in node.body if isinstance(one, ast.FunctionDef) and one.name == "__init__"), None)


def _table(fields: Sequence[Field], value: Any, page: str) -> Iterator[str]:
    if not fields:
        return
    fields = [one if one.text else one._replace(text=_told_above(one.name, value)) for one in fields]
    defaults, texts = any(one.default for one in fields), any(one.text for one in fields)
    heads = ["field", "type", *(["default"] if defaults else []), *(["what it is"] if texts else [])]
    yield from (f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}")
    for one in fields:
        cells = [f"`{one.name}`", f"`{one.type}`" if one.type else ""]
        cells += [f"`{one.default}`" if one.default else ""] if defaults else []
        cells += [" ".join(_linked(one.text, page).split())] if texts else []
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""
    names = dict.fromkeys(word for one in fields for word in re.findall(r"[A-Za-z_]\w*", one.type))
    yield from _types_line(names, value, page)


def _told_above(name: str, value: Any) -> str:
    return "see above" if f"`{name}`" in _docs(value) else ""


def fields_of(value: type) -> Sequence[Field]:
    """Return the public fields: those of a data class with its bases', the values of an enumeration, and what an
    error's `__init__` sets. A text below a field in the source says what it is."""
    found: dict[str, Field] = {}
    owners = [one for one in value.__mro__ if one.__module__.split(".")[0] in OURS]
    if issubclass(value, BaseException):  # what its bases have stands there
        owners = [one for one in owners if one is value or one.__name__ not in entries()]
    for owner in reversed(owners):
        node = source_of(owner)
        assert isinstance(node, ast.ClassDef)
        for field in _written_fields(node, owner):
            found[field.name] = field
    return list(found.values())


def _written_fields(node: ast.ClassDef, owner: type) -> Iterator[Field]:
    is_enum = any(ast.unparse(base).endswith("Enum") for base in node.bases)
    for line, after in zip(node.body, [*node.body[1:], None], strict=True):
        match line:
            case ast.AnnAssign(target=ast.Name(id=name)) if not name.startswith("_"):
                if "ClassVar" not in ast.unparse(line.annotation) and "init=False" not in _text(line.value):
                    yield Field(name, _text(line.annotation), _default(line.value), _string(after))
            case ast.Assign(targets=[ast.Name(id=name)]) if is_enum:
                yield Field(name, "", _text(line.value), _string(after))
    start = _start(node)
    if start is not None and issubclass(owner, BaseException):
        yield from _set_fields(start)


def _set_fields(start: ast.FunctionDef) -> Iterator[Field]:
    """Yield what `__init__` sets of an error, where its type is known."""
    types = {one.arg: _text(one.annotation) for one in [*start.args.args, *start.args.kwonlyargs]}
    for line, after in zip(start.body, [*start.body[1:], None], strict=True):
        match line:
            case ast.Assign(targets=[ast.Attribute(value=ast.Name(id="self"), attr=name)], value=said):
                type_ = types.get(said.id, "") if isinstance(said, ast.Name) else ""
                if isinstance(said, ast.JoinedStr):
                    type_ = "str"
                elif isinstance(said, ast.Constant):
                    type_ = type(said.value).__name__
                elif isinstance(said, ast.Call) and ast.unparse(said.func) in ("tuple", "dict"):
                    type_ = _taken(said, types)
            case ast.AnnAssign(target=ast.Attribute(value=ast.Name(id="self"), attr=name)):
                type_ = _text(line.annotation)
            case _:
                continue
        if not name.startswith("_") and name != "args":
            yield Field(name, type_, "", _string(after))


def _taken(said: ast.Call, types: Mapping[str, str]) -> str:
    """Return the type of `tuple(x)` or `dict(x)`, from that of the parameter `x`."""
    what = ast.unparse(said.func)
    inner = types.get(ast.unparse(said.args[0]), "").partition("[")[2].removesuffix("]") if said.args else ""
    return f"{what}[{inner}{', ...' if what == 'tuple' else ''}]" if inner else what


def _default(said: ast.expr | None) -> str:
    """Return a default as a reader calls it: `{}` for one that `field` makes."""
    if isinstance(said, ast.Call) and ast.unparse(said.func) == "field":
        given = {word.arg: word.value for word in said.keywords}
        if "default" in given:
            return _text(given["default"])
        made = _text(given.get("default_factory"))
        return {"dict": "{}", "list": "[]"}.get(
            made, made.removeprefix("lambda: ") if "lambda" in made else made and f"{made}()"
        )
    return _text(said)


def _string(node: ast.AST | None) -> str:
    match node:
        case ast.Expr(value=ast.Constant(value=str(text))):
            return inspect.cleandoc(text)
    return ""


def _text(node: ast.AST | None) -> str:
    return "" if node is None else ast.unparse(node).replace("'", '"')


def members(name: str, value: type) -> Iterator[tuple[str, type, Any]]:
    """Yield the public methods and properties, with those of bases that have no place of their own."""
    told: set[str] = set()
    for owner in value.__mro__:
        is_other = owner is not value and owner.__name__ in entries() and entries()[owner.__name__].value is owner
        if owner.__module__.split(".")[0] not in OURS or is_other:
            continue
        for key, member in vars(owner).items():
            function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
            is_said = inspect.isfunction(function) and not key.startswith("_") and key not in told
            if is_said and f"{name}.{key}" not in HIDDEN and inspect.getdoc(function):
                told.add(key)
                yield f"{name}.{key}", owner, member


def _member(title: str, owner: type, member: Any, page: str) -> Iterator[str]:
    function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
    node = source_of(function)
    assert not isinstance(node, ast.ClassDef)
    yield from (f"### {title}", "")
    if isinstance(member, property):
        yield from _code(["@property", *_signature(node)])
    else:
        owned = isinstance(member, classmethod | staticmethod)
        yield from _code([*([f"@{type(member).__name__}"] if owned else []), *_signature(node)])
    yield from (_linked(inspect.getdoc(function) or "", page, skip=title.partition(".")[0]), "")
    yield from _used(node, owner, page)


@cache
def source_of(value: Any) -> Definition:
    """Return the syntax tree of a class or function."""
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return node


def _code(lines: Sequence[str]) -> Sequence[str]:
    return ("```python signature", *lines, "```", "")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> Sequence[str]:
    """Return the signature: on one line where it fits, else with one parameter a line. `self` is left out."""
    manages = any("contextmanager" in ast.unparse(mark) for mark in node.decorator_list)
    word = "class " if name else "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    result = f" -> {_text(node.returns)}" if node.returns is not None and not name else ""
    above = ("@asynccontextmanager",) if manages else ()
    return (*above, *_call(f"{word}{name or node.name}", list(_parameters(node.args)), result))


def _call(name: str, parameters: Sequence[str], result: str = "") -> Sequence[str]:
    line = f"{name}({', '.join(parameters)}){result}"
    if len(line) <= LONGEST:
        return (line,)
    return (f"{name}(", *(f"    {one}," for one in parameters), f"){result}")


def _parameters(given: ast.arguments) -> Iterator[str]:
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    for number, (one, default) in enumerate(zip(positional, defaults, strict=True)):
        if number or one.arg not in ("self", "cls"):
            yield _parameter(one, default)
        if given.posonlyargs and one is given.posonlyargs[-1]:
            yield "/"
    if given.vararg is not None or given.kwonlyargs:
        yield f"*{_text(given.vararg)}"
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _parameter(one, default)
    if given.kwarg is not None:
        yield f"**{_text(given.kwarg)}"


def _parameter(name: ast.arg, default: ast.expr | None) -> str:
    return _text(name) + (f" = {_text(default)}" if default is not None else "")


def _docs(value: Any) -> str:
    said = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
    return inspect.cleandoc(said or "")


def _summary(value: Any) -> str:
    """Return the first sentence of a docstring."""
    return re.split(r"(?<=[^.][.])\s", " ".join(_docs(value).partition("\n\n")[0].split()), maxsplit=1)[0]


def _link(name: str, page: str = "") -> str:
    """Return a link to a public name from a page of the folder; the name alone where it has no place."""
    entry = entries().get(name)
    if entry is None:
        return f"`{name}`"
    file = "" if entry.page == page else f"{entry.page}.md"
    return f"[`{name}`]({file}#{_anchors()[name]})"


@cache
def _anchors() -> Mapping[str, str]:
    """Return the anchor of each name: in small letters, numbered where a page has the same one before, as on GitHub."""
    made: dict[str, str] = {}
    for group in GROUPS:
        seen: list[str] = []
        for name in group.names:
            count = seen.count(name.lower())
            made[name] = f"{name.lower()}-{count}" if count else name.lower()
            seen.append(name.lower())
    return made


def _linked(text: str, page: str, skip: str = "") -> str:
    """Return a docstring as Markdown: names and pages in it are links. An indented example becomes a block."""
    parts = []
    for part in re.split(r"\n\n", text):
        if part.startswith("    "):
            parts.append(f"```python\n{textwrap.dedent(part)}\n```")
            continue
        named = re.sub(r"(?<![\[\w])`(\w+)`(?!\])", lambda at: at[0] if at[1] == skip else _link(at[1], page), part)
        parts.append(re.sub(r"docs/((?:[\w-]+/)*)([\w-]+)\.md(#[\w-]+)?", r"[\2](../../\1\2.md\3)", named))
    return "\n\n".join(parts)


# Types that signatures name and that are no public names


def _used(node: ast.FunctionDef | ast.AsyncFunctionDef, value: Any, page: str) -> Iterator[str]:
    arguments = node.args
    given = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    annotations = [one.annotation for one in given if one.annotation is not None]
    annotations += [node.returns] if node.returns is not None else []
    words = dict.fromkeys(word for one in annotations for word in re.findall(r"[A-Za-z_]\w*", ast.unparse(one)))
    yield from _types_line(words, value, page)


def _types_line(words: Mapping[str, None], value: Any, page: str) -> Iterator[str]:
    known = [_link(word, page) for word in words if word in entries() and word != getattr(value, "__name__", "")]
    others = [
        f"[`{word}`]({'' if page == TYPES else f'{TYPES}.md'}#{word.lower()})"
        for word in words
        if _resolved(word, value)
    ]
    if known or others:
        yield from (f"Types: {', '.join([*known, *others])}.", "")


def _resolved(word: str, value: Any) -> str:
    """Return the module that a type of ours comes from; empty where it is public, or is not ours."""
    module = _names_in(value.__module__).get(word, "")
    return "" if word in entries() or word.startswith("_") or module.split(".")[0] not in OURS else _home(word, module)


@cache
def _names_in(module: str) -> Mapping[str, str]:
    """Return where the names of a module come from: those that it imports anywhere, and its own."""
    tree = ast.parse(inspect.getsource(import_module(module)))
    found: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found |= {one.asname or one.name: node.module for one in node.names}
    for line in tree.body:
        match line:
            case ast.ClassDef(name=name) | ast.Assign(targets=[ast.Name(id=name)]):
                if not (isinstance(line, ast.Assign) and _text(line.value).startswith(("TypeVar", "ParamSpec"))):
                    found[name] = module
            case ast.AnnAssign(target=ast.Name(id=name)):
                found[name] = module
    return found


def _home(word: str, module: str) -> str:
    """Return the module that defines a name, through those that only hand it on."""
    names = _names_in(module)
    further = names.get(word, module)
    return module if further == module else _home(word, further)


@cache
def other_types() -> Mapping[str, str]:
    """Return the types that the pages name and that are no public names: each with its module."""
    found: dict[str, str] = {}
    shown: list[tuple[Any, list[str]]] = []
    for entry in entries().values():
        shown += list(_annotations(entry.name, entry.value))
    for value, texts in shown:
        for word in (word for text in texts for word in re.findall(r"[A-Za-z_]\w*", text)):
            if module := _resolved(word, value):
                found[word] = module
    return dict(sorted(found.items(), key=lambda one: one[0].casefold()))


def _annotations(name: str, value: Any) -> Iterator[tuple[Any, list[str]]]:
    node = source_of(value)
    if not isinstance(node, ast.ClassDef):
        yield value, _annotated(node)
        return
    start = _start(node)
    if start is not None and name not in MADE_BY and not issubclass(value, BaseException):
        yield value, _annotated(start)
    yield value, [one.type for one in fields_of(value)]
    for _, owner, member in members(name, value):
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        found = source_of(function)
        assert not isinstance(found, ast.ClassDef)
        yield owner, _annotated(found)


def _annotated(node: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    return [ast.unparse(one) for one in (*(one.annotation for one in given), node.returns) if one is not None]


def _types() -> Iterator[str]:
    yield from ("# Other types", "")
    yield "Types that the signatures of the public names use. You seldom import one. Their modules may change."
    yield ""
    for name, module in other_types().items():
        value = getattr(import_module(module), name)
        yield from (f"## {name}", "", f"`{module}`", "")
        if inspect.isclass(value) and value.__module__ == module:
            yield from (_linked(_docs(value), TYPES, skip=name), "")
            yield from _plain_table(fields_of(value))
        else:
            yield from _alias(name, module)


def _plain_table(fields: Sequence[Field]) -> Iterator[str]:
    for one in fields:
        told = f": {' '.join(one.text.split())}" if one.text else ""
        default = f" = {one.default}" if one.default else ""
        yield f"- `{one.name}{f': {one.type}' if one.type else ''}{default}`{told}"
    yield ""


def _alias(name: str, module: str) -> Iterator[str]:
    body = ast.parse(inspect.getsource(import_module(module))).body
    for line, after in zip(body, [*body[1:], None], strict=True):
        targets = (
            line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", getattr(line, "name", None))]
        )
        if any(isinstance(one, ast.Name) and one.id == name for one in targets):
            yield from ("```python excerpt", _text(line), "```", "")
            yield from (_linked(_string(after), TYPES, skip=name), "") if _string(after) else ()


if __name__ == "__main__":
    for path, text in pages().items():
        Path(__file__).with_name(path.partition("/")[0]).mkdir(exist_ok=True)
        Path(__file__).parent.joinpath(path).write_text(text, "utf-8")
