"""The house rules that no linter knows: no import circles, one class name in one module, imports at the top."""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
ROOMS = ("orchestrator", "agents", "personas", "providers")
LATE = {
    ("agents/agent.py", "work"): "all that drives an agent",
    ("agents/agent.py", "stream"): "the same",
    ("agents/agent.py", "as_tool"): "what makes a tool of an agent",
    ("agents/agent.py", "_wanted"): "pydantic, for an answer of a type",
    ("agents/tools.py", "call"): "threads and the event loop's library: a tool is described before it is called",
    ("agents/tools.py", "_arguments"): "pydantic, for a tool that describes its own arguments",
    ("orchestrator/__main__.py", "main"): "--version loads nothing else",
    ("orchestrator/cli/app.py", "get_command"): "what only a mistyped command needs",
    ("orchestrator/cli/app.py", "load_command"): "the registry of commands",
    ("orchestrator/cli/commands/ask.py", "_auto"): "the reader of squads",
    ("orchestrator/cli/commands/docs.py", "_print"): "rich, where there is a terminal",
    ("orchestrator/cli/commands/run.py", "_in_cluster"): "PostgreSQL's client, an extra",
    ("orchestrator/cli/commands/runs/fork.py", "_in_cluster"): "the same",
    ("orchestrator/cli/commands/runs/resume.py", "_in_cluster"): "the same",
    ("orchestrator/cli/commands/cluster.py", "_status"): "the same",
    ("orchestrator/cli/commands/worker.py", "_work"): "the same",
    ("orchestrator/cli/commands/validate.py", "_checked"): "the readers of scenarios and of test files",
    ("orchestrator/cli/desks.py", "open_desk"): "all that runs are made of, or the client of a server",
    ("orchestrator/cli/entry.py", "dispatch"): "what only a failure needs",
    ("orchestrator/cli/commands/serve.py", "_record"): "PostgreSQL's client, an extra",
    ("orchestrator/cli/commands/serve.py", "_serve"): "FastAPI and uvicorn, an extra",
    ("orchestrator/cli/file_kind.py", "_others"): "the fields of test files and the like: most files are squads",
    ("orchestrator/observe/opening.py", "metrics_where_installed"): "Prometheus' client, an extra",
    ("orchestrator/observe/opening.py", "observing"): "OpenTelemetry's SDK, an extra",
    ("orchestrator/cli/session.py", "screen"): "rich, where there is a terminal",
    ("orchestrator/journal/opening.py", "_postgres"): "PostgreSQL's client, an extra",
    ("orchestrator/squad/tool_kinds/http_request.py", "_fetch"): "ssl, for tools that ask the web",
    ("orchestrator/run/memory.py", "open_memory"): "sqlite3 and the index, for a squad that remembers",
    ("orchestrator/run_opening.py", "open_providers"): "the provider manager: a caller may bring one",
    ("orchestrator/squad/declared_tools.py", "readers"): "the kinds of tools: most squads declare none",
    ("orchestrator/squad/declared_tools.py", "is_gone"): "the same",
    ("orchestrator/runtime.py", "open_run"): "all that a run is made of",
    ("orchestrator/runtime.py", "resume_run"): "the same",
    ("orchestrator/runtime.py", "run_squad"): "the same",
    ("orchestrator/runtime.py", "run_sync"): "the same",
    ("providers/limits/ledger/opening.py", "kept_in"): "sqlite3",
    ("providers/limits/ledger/opening.py", "ledger_at"): "the clients of Redis and of PostgreSQL",
    ("providers/simulation/__init__.py", "load_scenario"): "pydantic",
    ("providers/simulation/__init__.py", "shipped"): "pydantic",
    ("providers/simulation/__init__.py", "simulate"): "the simulator",
    ("providers/stub/scripted.py", "_instance"): "jsonschema, for an answer with a schema",
    ("providers/transport/__init__.py", "guarded_fetch"): "the HTTP client, for tools that ask the web",
    ("orchestrator/testing/plugin.py", "scripted"): "the provider manager: each run of pytest loads the plugin",
    ("providers/transport/__init__.py", "_fastest"): "the HTTP client that is installed",
    ("providers/transport/__init__.py", "open_transport"): "what tests alone need",
}
"""The functions that may import our own code, and what heavy thing they load on use."""
INSTALLED = {"anyio", "click", "dotenv", "httpx2", "jinja2", "jsonschema", "pydantic", "pydantic_core"} | {
    "regex",
    "rich",
    "structlog",
    "typing_extensions",
    "yaml",
}
"""What an installation without an extra can import, besides Python's own."""
BUILT_IN = frozenset({"built_in", "__getattr__"})
"""Functions of this name may, too: they load what is chosen from."""


@cache
def modules() -> dict[str, ast.Module]:
    """Every module by its path from the root."""
    files = sorted(file for room in ROOMS for file in (ROOT / room).rglob("*.py"))
    return {file.relative_to(ROOT).as_posix(): ast.parse(file.read_text("utf-8")) for file in files}


def statements(within: ast.AST) -> Iterator[ast.stmt]:
    """Yield the statements in a tree, at any depth: their expressions, most of a tree, hold none."""
    for field in ("body", "orelse", "finalbody", "handlers", "cases"):
        inner = getattr(within, field, ())
        for part in inner if isinstance(inner, list) else ():
            if isinstance(part, ast.stmt):
                yield part
            yield from statements(part)


def imported(node: ast.AST, path: str) -> Iterator[str]:
    """Yield the paths of our modules that an import statement loads."""
    assert isinstance(node, ast.ImportFrom)
    base = (node.module or "").replace(".", "/")
    for alias in node.names:
        for target in (
            f"{base}/{alias.name}.py",
            f"{base}/{alias.name}/__init__.py",
            f"{base}.py",
            f"{base}/__init__.py",
        ):
            if target in modules() and target != path:
                yield target
                break


def is_ours(node: ast.AST) -> bool:
    return isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in ROOMS


def test_no_modules_import_each_other_in_a_circle() -> None:
    """Imports of types and of functions count too; not those of an `__init__`, which hands names on when asked."""
    graph = {
        path: {t for node in statements(tree) if is_ours(node) for t in imported(node, path) if "__init__" not in t}
        for path, tree in modules().items()
        if "__init__" not in path
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(error.args[1])) from None


def test_a_class_name_stands_in_one_module() -> None:
    """So do aliases of types: a reader who meets a name has one place to look it up."""
    homes = defaultdict[str, set[str]](set)
    for path, tree in modules().items():
        for node in statements(tree):
            if isinstance(node, ast.ClassDef):
                homes[node.name].add(path)
        for node in tree.body:
            match node:
                case ast.Assign(targets=[ast.Name(id=name)]) if name[0].isupper() and not name.isupper():
                    homes[name].add(path)
    assert not {name: sorted(places) for name, places in homes.items() if len(places) > 1}


def test_our_own_code_is_imported_at_the_top() -> None:
    late = {
        (path, function.name)
        for path, tree in modules().items()
        for function in statements(tree)
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef) and function.name not in BUILT_IN
        if any(is_ours(node) for node in statements(function))
    }
    assert late == set(LATE)


def loaded(paths: set[str]) -> Iterator[tuple[str, str]]:
    """Yield each module that importing these loads, with each package that it imports."""
    seen, ahead = set(paths), [*paths]
    while ahead:
        path = ahead.pop()
        for node in modules()[path].body:
            match node:
                case ast.ImportFrom(module=str(name)) if is_ours(node):
                    parts = name.split(".")
                    packages = {"/".join([*parts[:depth], "__init__.py"]) for depth in range(1, len(parts) + 1)}
                    new = ({*imported(node, path)} | (packages & modules().keys())) - seen
                    seen |= new
                    ahead += new
                case ast.ImportFrom(module=str(name)):
                    yield path, name.split(".")[0]
                case ast.Import(names=names):
                    yield from ((path, alias.name.split(".")[0]) for alias in names)


def test_every_command_loads_without_an_extra() -> None:
    """What an extra brings is imported where it is used, and its absence told there."""
    commands = {path for path in modules() if path.startswith("orchestrator/cli/commands/")}
    ours = INSTALLED | sys.stdlib_module_names | set(ROOMS)
    assert not {(path, package) for path, package in loaded(commands) if package not in ours}
