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
from typing import Any

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from docs.reference.api_groups import GROUPS, MADE_BY, Group
from docs.reference.api_source import (
    OURS,
    Definition,
    Entry,
    Field,
    docs_of,
    entries,
    fields_of,
    members,
    parameters_of,
    parted,
    source_of,
    start_of,
    string_of,
    text_of,
)

FOLDER = "api"
LONGEST = 88
"""Characters of a signature that stands on one line."""
TYPES = "types"


def pages() -> Mapping[str, str]:
    """Return the pages by their path beside this file."""
    made = {group.page: "\n".join(_group(group)) for group in GROUPS}
    made[TYPES] = "\n".join(_types())
    made["index"] = "\n".join(_index())
    return {f"{FOLDER}/{name}.md": f"{text.rstrip()}\n" for name, text in made.items()}


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
    node, text = source_of(value), _linked(parted(docs_of(value))[1], page, skip=name)
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
        yield from _rows("parameter", parameters_of(name), page)
        yield from _used(node, value, page)
        return
    bases = ", ".join(_link(base, page) for base in map(ast.unparse, node.bases) if base in entries())
    yield from (f"Base: {bases}.", "") if bases else ()
    if name in MADE_BY:
        yield from (f"You get it from {_linked(MADE_BY[name], page)}.", "")
    elif (start := start_of(node)) and not issubclass(value, BaseException):
        yield from _code(_signature(start, name))
        yield from _rows("parameter", parameters_of(name), page)
        yield from _used(start, value, page)
    yield from _table(fields_of(value), value, page)


def _table(fields: Sequence[Field], value: Any, page: str) -> Iterator[str]:
    if not fields:
        return
    yield from _rows("field", fields, page)
    names = dict.fromkeys(word for one in fields for word in re.findall(r"[A-Za-z_]\w*", one.type))
    yield from _types_line(names, value, page)


def _rows(what: str, fields: Sequence[Field], page: str) -> Iterator[str]:
    """Yield a table of fields or parameters, without columns in which nothing stands."""
    if not fields:
        return
    defaults, texts = any(one.default for one in fields), any(one.text for one in fields)
    heads = [what, "type", *(["default"] if defaults else []), *(["what it is"] if texts else [])]
    yield from (f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}")
    for one in fields:
        cells = [f"`{one.name}`", f"`{one.type}`" if one.type else ""]
        cells += [f"`{one.default}`" if one.default else ""] if defaults else []
        cells += [" ".join(_linked(one.text, page).split())] if texts else []
        yield f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"
    yield ""


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
    told, text = parted(inspect.getdoc(function) or "")
    yield from (_linked(text, page, skip=title.partition(".")[0]), "")
    yield from _rows("parameter", parameters_of(title) if told else (), page)
    yield from _used(node, owner, page)


def _code(lines: Sequence[str]) -> Sequence[str]:
    return ("```python signature", *lines, "```", "")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, name: str = "") -> Sequence[str]:
    """Return the signature: on one line where it fits, else with one parameter a line. `self` is left out."""
    manages = any("contextmanager" in ast.unparse(mark) for mark in node.decorator_list)
    word = "class " if name else "async def " if isinstance(node, ast.AsyncFunctionDef) else "def "
    result = f" -> {text_of(node.returns)}" if node.returns is not None and not name else ""
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
        yield f"*{text_of(given.vararg)}"
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _parameter(one, default)
    if given.kwarg is not None:
        yield f"**{text_of(given.kwarg)}"


def _parameter(name: ast.arg, default: ast.expr | None) -> str:
    return text_of(name) + (f" = {text_of(default)}" if default is not None else "")


def _summary(value: Any) -> str:
    """Return the first sentence of a docstring."""
    return re.split(r"(?<=[^.][.])\s", " ".join(docs_of(value).partition("\n\n")[0].split()), maxsplit=1)[0]


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
                if not (isinstance(line, ast.Assign) and text_of(line.value).startswith(("TypeVar", "ParamSpec"))):
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
    start = start_of(node)
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
            yield from (_linked(docs_of(value), TYPES, skip=name), "")
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
            yield from ("```python excerpt", text_of(line), "```", "")
            yield from (_linked(string_of(after), TYPES, skip=name), "") if string_of(after) else ()


if __name__ == "__main__":
    for path, text in pages().items():
        Path(__file__).with_name(path.partition("/")[0]).mkdir(exist_ok=True)
        Path(__file__).parent.joinpath(path).write_text(text, "utf-8")
