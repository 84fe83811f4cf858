"""What is wrong with a block of Python: it compiles, and what it takes from our packages is there."""

from __future__ import annotations

import ast
import builtins
import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import import_module
from typing import Any

ROOMS = ("orchestrator", "agents", "personas", "providers")
RUNNABLE = frozenset({"anyio", "mcp", "opentelemetry", "pydantic", "pytest", "trio"})
"""Packages beside ours and Python's own that a block may use and still be run."""


def parsed(text: str) -> ast.Module:
    """Return a block's tree; `await` may stand outside a function, as in a notebook."""
    tree = compile(text, "<block>", "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
    assert isinstance(tree, ast.Module)
    return tree


def python_problems(text: str, before: str = "") -> Iterator[str]:
    """Yield what is wrong with a block; `before` is the code of the page above it."""
    try:
        tree = parsed(text)
    except SyntaxError as error:
        yield f"line {error.lineno}: {error.msg}"
        return
    names: dict[str, Any] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from _imported(node, names)
    above = _bound(parsed(before)) if before else frozenset()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            yield from _attribute(node, names)
        elif isinstance(node, ast.Call):
            yield from _call(node, names)
    imports = any(isinstance(node, ast.Import | ast.ImportFrom) for node in tree.body)  # else it is an excerpt
    for name in sorted((unbound(tree) - above) & set(_public()) if imports else ()):
        yield f"{name} is not imported: from {_public()[name]} import {name}"


def _imported(node: ast.Import | ast.ImportFrom, names: dict[str, Any]) -> Iterator[str]:
    """Yield what an import of ours does not find, and enter what it does."""
    if isinstance(node, ast.Import):
        wanted = [(alias.name, None, alias.asname) for alias in node.names]
    else:
        wanted = [(node.module or "", alias.name, alias.asname or alias.name) for alias in node.names]
    for module, name, bound in wanted:
        if module.split(".")[0] not in ROOMS:
            continue
        try:
            value = import_module(module)
            if name is not None:
                value = getattr(value, name) if hasattr(value, name) else import_module(f"{module}.{name}")
        except ImportError as error:
            yield f"line {node.lineno}: {error}"
            continue
        names[bound or module.split(".")[0]] = value if bound else import_module(module.split(".")[0])


def _attribute(node: ast.Attribute, names: Mapping[str, Any]) -> Iterator[str]:
    value = _value(node.value, names)
    if value is None or not (inspect.isclass(value) or inspect.ismodule(value)):
        return
    fields = {name for base in getattr(value, "__mro__", ()) for name in getattr(base, "__annotations__", ())}
    if not hasattr(value, node.attr) and node.attr not in fields:
        yield f"line {node.lineno}: {ast.unparse(node)}: there is no {node.attr}"


def _call(node: ast.Call, names: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keywords that a function or class of ours does not take."""
    function = _value(node.func, names)
    if function is None:
        return
    try:
        taken = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return
    if any(one.kind is one.VAR_KEYWORD for one in taken.values()):
        return
    for keyword in node.keywords:
        if keyword.arg is not None and keyword.arg not in taken:
            yield f"line {node.lineno}: {ast.unparse(node.func)} takes no {keyword.arg}"


def _value(node: ast.expr, names: Mapping[str, Any]) -> Any:
    """Return what an expression of names and attributes of ours stands for; None for any other."""
    if isinstance(node, ast.Name):
        return names.get(node.id)
    if isinstance(node, ast.Attribute):
        inner = _value(node.value, names)
        return getattr(inner, node.attr, None) if inspect.isclass(inner) or inspect.ismodule(inner) else None
    return None


@cache
def _public() -> Mapping[str, str]:
    """Our public names, each with the package to import it from."""
    return {name: room for room in reversed(ROOMS) for name in import_module(room).__all__}


def _bound(tree: ast.AST) -> frozenset[str]:
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.Name(id=name, ctx=ast.Store() | ast.Del()) | ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                found.add(name)
            case ast.AsyncFunctionDef(name=name) | ast.arg(arg=name) | ast.ExceptHandler(name=str(name)):
                found.add(name)
            case ast.MatchAs(name=str(name)) | ast.MatchStar(name=str(name)) | ast.MatchMapping(rest=str(name)):
                found.add(name)
            case ast.alias(name=name, asname=bound):
                found.add(bound or name.split(".")[0])
    return frozenset(found)


def unbound(tree: ast.AST) -> frozenset[str]:
    """Return the names that are read in a block and bound nowhere in it."""
    read = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    return frozenset(read - _bound(tree) - set(dir(builtins)) - {"__name__", "__file__"})


def does_something(tree: ast.Module) -> bool:
    """Return whether running a block, or its tests, shows anything: a statement outside of functions and classes calls,
    waits or asserts, or a function is a test."""
    definitions = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return any(
        node.name.startswith("test_")
        if isinstance(node, definitions)
        else any(isinstance(part, ast.Call | ast.Await | ast.Assert | ast.AsyncWith) for part in ast.walk(node))
        for node in tree.body
    )


def needs_others(tree: ast.AST) -> frozenset[str]:
    """Return the packages that a block imports and that are neither ours nor Python's, nor installed for all tests."""
    modules = {
        name.split(".")[0]
        for node in ast.walk(tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    return frozenset(modules - set(ROOMS) - RUNNABLE - sys.stdlib_module_names)


def runnable(texts: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the code to run for each block of a page that can run, with the block's index: the block as it stands, or
    after the page's earlier ones where it takes names from them."""
    above: list[str] = []
    for index, text in enumerate(texts):
        tree = parsed(text)
        if needs_others(tree):
            continue
        free = unbound(tree)
        earlier = "\n".join(above)
        if free and free <= _bound(parsed(earlier)):
            yield from [(index, f"{earlier}\n{text}")] if does_something(tree) else []
            above.append(text)
        elif not free:
            yield from [(index, text)] if does_something(tree) else []
            above.append(text)
