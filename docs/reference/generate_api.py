"""Writes `api.md` beside it from the public names of the four packages: `python docs/reference/generate_api.py`.

A test compares the page with what this makes, so the page cannot drift from the code. Signatures are taken from the
source, as they are written there.
"""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

PAGE = Path(__file__).with_name("api.md")
PACKAGES = ("orchestrator", "agents", "personas", "providers")
HEAD = """# Python API

Every public name of the four packages, made by `docs/reference/generate_api.py`. What is not listed here may change in
any release. All coroutines run on asyncio and on trio.
"""


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *(line for package in PACKAGES for line in _package(package))]).rstrip("\n") + "\n"


def _package(name: str) -> Iterator[str]:
    module = import_module(name)
    yield from (f"## {name}", "", (inspect.getdoc(module) or "").split("\n")[0], "")
    for public in module.__all__:
        yield from _entry(name, public, getattr(module, public))


def _entry(package: str, name: str, value: Any) -> Iterator[str]:
    yield from (f"### {package}.{name}", "")
    if inspect.isclass(value) or inspect.isfunction(value):
        node = _source(value)
        yield from ("```python", *_shape(node), "```", "", *_text(value))
        if isinstance(node, ast.ClassDef):
            yield from _methods(value)
    else:
        yield from (f"Type alias: `{value}`.", "")


def _source(value: Any) -> ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body
    assert isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    return node


def _shape(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    if not isinstance(node, ast.ClassDef):
        yield from _signature(node)
        return
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    yield f"class {node.name}({bases}):" if bases else f"class {node.name}:"
    fields = [
        ast.unparse(line) for line in node.body if isinstance(line, ast.AnnAssign) and not _is_private(line.target)
    ]
    starts = [line for line in node.body if isinstance(line, ast.FunctionDef) and line.name == "__init__"]
    yield from (
        f"    {line}" for line in [*fields, *(part for start in starts for part in _signature(start))] or ["..."]
    )


def _is_private(target: ast.expr) -> bool:
    return isinstance(target, ast.Name) and target.id.startswith("_")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    """Yield the signature: on one line where it fits, else with one parameter a line."""
    manages = any("contextmanager" in ast.unparse(mark) for mark in node.decorator_list)
    word = "async with" if manages else "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None else ""
    line = f"{word} {node.name}({ast.unparse(node.args)}){result}"
    if len(line) <= 100:
        yield line
        return
    yield f"{word} {node.name}("
    yield from (f"    {parameter}," for parameter in _parameters(node.args))
    yield f"){result}"


def _parameters(given: ast.arguments) -> Iterator[str]:
    positional = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(positional) - len(given.defaults)) + given.defaults
    yield from (_parameter(*pair) for pair in zip(positional, defaults, strict=True))
    if given.vararg is not None or given.kwonlyargs:
        yield f"*{ast.unparse(given.vararg) if given.vararg else ''}"
    yield from (_parameter(*pair) for pair in zip(given.kwonlyargs, given.kw_defaults, strict=True))
    if given.kwarg is not None:
        yield f"**{ast.unparse(given.kwarg)}"


def _parameter(name: ast.arg, default: ast.expr | None) -> str:
    return ast.unparse(name) + (f" = {ast.unparse(default)}" if default is not None else "")


def _methods(value: type) -> Iterator[str]:
    for name, member in vars(value).items():
        if name.startswith("_"):
            continue
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        if not inspect.isfunction(function):
            continue
        node = _source(function)
        assert not isinstance(node, ast.ClassDef)
        mark = "property " if isinstance(member, property) else ""
        yield from (f"#### {mark}{name}", "", "```python", *_signature(node), "```", "", *_text(function))


def _text(value: Any) -> Iterator[str]:
    said = vars(value).get("__doc__") if inspect.isclass(value) else inspect.getdoc(value)
    if said:
        yield from (inspect.cleandoc(said), "")


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
