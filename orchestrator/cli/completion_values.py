"""What a shell offers for a word that is being typed: squads, runs, tasks, personas and so on.

A shell waits for it at each press of the key: files are looked at, never parsed as a whole, and little is imported.
What cannot be read gives nothing.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem, split_arg_string

MOST_FILES, MOST_BYTES, MOST_RUNS = 200, 1 << 18, 50
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))  # noqa: PTH100, PTH120  # pathlib takes a tenth of the time
YAML, PERSONA = (".yaml", ".yml"), (".yaml", ".yml", ".md", ".markdown")
_TASKS = re.compile(r"^tasks\s*:", re.MULTILINE)
_NAMED = re.compile(r"^name\s*:\s*([^#\n]{1,80})", re.MULTILINE)
_KEY = re.compile(r"""\s*(?:"([^"]+)"|'([^']+)'|([^\s"'#:{}\[\],][^:#{}\[\],]*?))\s*:(?:\s|$)""")


class TypedWord(NamedTuple):
    """What is completed: the word's beginning, what was typed before it, and the facts that are part of the package."""

    begun: str
    given: Mapping[str, Any]
    """The options and arguments of the command, as far as they were typed."""
    state: str
    known: Mapping[str, Iterable[str]]
    """`models`, `tiers`, `providers` of the catalog and the packaged policy."""
    words: tuple[str, ...] = ()
    """All of the line: behind an option that waits for its value, a command knows nothing of its arguments."""


def asked_in(context: click.Context, begun: str, known: Mapping[str, Iterable[str]]) -> TypedWord:
    """Return what is asked for a word of a command."""
    outer = context.find_root().params
    state = context.params.get("state") or outer.get("state") or os.environ.get("ORCHESTRATOR_STATE") or ".orchestrator"
    words = tuple(split_arg_string(os.environ.get("COMP_WORDS", "")))
    return TypedWord(begun, {**outer, **context.params}, str(state), known, words)


def items(kind: str, asked: TypedWord) -> list[CompletionItem]:
    """Return what there is of a kind that begins as the word does."""
    if kind in ("file", "dir"):
        return [CompletionItem(asked.begun, type=kind)]
    try:
        found = [(value, told) for value, told in VALUES[kind](asked) if value.startswith(asked.begun)]
    except (OSError, ValueError):
        found = []
    made = [CompletionItem(value, help=told or None) for value, told in found]
    return made + ([CompletionItem(asked.begun, type="file")] if kind in WITH_FILES else [])


Offers = Iterator[tuple[str, str]]


def _squads(asked: TypedWord) -> Offers:
    """Yield the YAML files that have tasks, where the word's folder is."""
    folder = asked.begun.rpartition("/")[0]
    prefix = f"{folder}/" if folder or asked.begun.startswith("/") else ""
    for name in _listed(prefix or ".", YAML)[:MOST_FILES]:
        text = _text(f"{prefix}{name}")
        if _TASKS.search(text):
            named = _NAMED.search(text)
            yield f"{prefix}{name}", f"squad {named[1].strip()}" if named else "squad"


def _runs(asked: TypedWord) -> Offers:
    """Yield the newest runs that begin as the word does."""
    query = "SELECT run, squad, status FROM runs WHERE substr(run, 1, ?) = ? ORDER BY id DESC LIMIT ?"
    for run, squad, status in _rows(asked, query, len(asked.begun), asked.begun, MOST_RUNS):
        yield run, f"{status} ({squad})"


def _run_in_line(asked: TypedWord) -> str:
    query = f"SELECT run FROM runs WHERE run IN ({', '.join('?' * len(asked.words))}) LIMIT 1"  # noqa: S608  # marks alone
    return next((run for (run,) in _rows(asked, query, *asked.words)), "")


def _tasks(asked: TypedWord) -> Offers:
    """Yield the tasks of the squad or of the run that was typed before."""
    if squad := _squad_of(asked):
        yield from ((name, "task") for name in keys_below(_text(squad), "tasks"))
        return
    run = asked.given.get("run") or _run_in_line(asked)
    if run:
        yield from _tasks_of_run(asked, str(run))


def _tasks_of_run(asked: TypedWord, run: str) -> Offers:
    query = "SELECT p.path FROM places p JOIN runs r ON p.run = r.id WHERE r.run = ? LIMIT 2000"
    names = (re.split(r"[./\[]", str(path), maxsplit=1)[0] for (path,) in _rows(asked, query, run))
    yield from ((name, "task") for name in dict.fromkeys(names) if name)


def _run_or_task(asked: TypedWord) -> Offers:
    words = asked.given.get("words") or ()
    if words:
        yield from _tasks_of_run(asked, str(words[0]))
    else:
        yield from _runs(asked)


def _agents(asked: TypedWord) -> Offers:
    """Yield the agents of the squad that was typed before; without one, personas."""
    if squad := _squad_of(asked):
        yield from ((name, "agent") for name in keys_below(_text(squad), "agents"))
    else:
        yield from _personas(asked)


def _inputs(asked: TypedWord) -> Offers:
    if squad := _squad_of(asked):
        yield from ((f"{name}=", "input") for name in keys_below(_text(squad), "inputs"))


def _personas(asked: TypedWord) -> Offers:
    own = str(asked.given.get("folder") or "personas")
    for folder, told in ((own, own), (f"{_ROOT}/personas/library", "library")):
        for name in _listed(folder, PERSONA):
            if not name.lower().startswith("readme."):
                yield name.rpartition(".")[0], told


def _models(asked: TypedWord) -> Offers:
    yield from ((name, "") for name in asked.known.get("models", ()))


def _tiers(asked: TypedWord) -> Offers:
    own = keys_below(_text(_routing(asked)), "tiers")
    yield from ((name, "tier") for name in dict.fromkeys([*asked.known.get("tiers", ()), *own]))


def _providers(asked: TypedWord) -> Offers:
    own = keys_below(_text(_routing(asked)), "providers")
    yield from ((name, "") for name in dict.fromkeys([*asked.known.get("providers", ()), *own]))


def _routing(asked: TypedWord) -> str:
    return str(asked.given.get("routing") or os.environ.get("ORCHESTRATOR_ROUTING") or "agent_routing.yaml")


def _templates(_: TypedWord) -> Offers:
    home = f"{_ROOT}/orchestrator/recipes"
    for name in sorted(os.listdir(home)):  # noqa: PTH208  # as above
        if os.path.isfile(f"{home}/{name}/README.md"):  # noqa: PTH113  # as above
            yield name, _text(f"{home}/{name}/README.md").partition("\n")[0].removeprefix("# ")


def _pages(_: TypedWord) -> Offers:
    home = f"{_ROOT}/orchestrator/documentation"
    home = home if os.path.isdir(home) else f"{_ROOT}/docs"  # noqa: PTH112  # as above
    seen = set[str]()
    for folder in ("", "start", "concepts", "guides", "recipes", "reference", "comparisons"):
        try:
            names = _listed(f"{home}/{folder}", (".md",))
        except OSError:
            continue
        yield from ((name.removesuffix(".md"), folder) for name in names if name != "index.md" and name not in seen)
        seen.update(names)


def _scopes(asked: TypedWord) -> Offers:
    query = "SELECT name FROM scopes ORDER BY name LIMIT 200"
    yield from ((str(scope), "scope") for (scope,) in _rows(asked, query, file="memory.db"))


VALUES: Mapping[str, Callable[[TypedWord], Offers]] = {
    "squad": _squads,
    "run": _runs,
    "task": _tasks,
    "run_or_task": _run_or_task,
    "agent": _agents,
    "input": _inputs,
    "persona": _personas,
    "persona_or_file": _personas,
    "model": _models,
    "tier": _tiers,
    "provider": _providers,
    "template": _templates,
    "page": _pages,
    "scope": _scopes,
}
WITH_FILES = frozenset({"squad", "persona_or_file"})
"""Kinds after which any file may be named, too."""


def _squad_of(asked: TypedWord) -> str:
    """Return the squad's file that was typed before."""
    for name in ("file", "squad_file", "files", "what"):
        value = asked.given.get(name)
        value = value[0] if isinstance(value, tuple) and value else value
        if isinstance(value, str) and value.endswith(YAML):
            return value
    words = (word for word in asked.words if word.endswith(YAML) and word != asked.begun)
    return next((word for word in words if _TASKS.search(_text(word))), "")


def keys_below(text: str, key: str) -> list[str]:
    """Return the keys of the mapping at a top-level key of a YAML text, as far as its lines tell."""
    found = re.search(rf"^{key}[ \t]*:[ \t]*", text, re.MULTILINE)
    if found is None:
        return []
    rest = text[found.end() :]
    return _in_braces(rest) if rest.startswith("{") else _in_lines(rest.partition("\n")[2])


def _in_lines(text: str) -> list[str]:
    keys: list[str] = []
    indent = 0
    for line in text.split("\n"):
        stripped = line.lstrip(" ")
        if not stripped or stripped.startswith("#") or stripped == "\r":
            continue
        depth = len(line) - len(stripped)
        if depth == 0:
            break
        indent = indent or depth
        if depth == indent and (found := _KEY.match(line)):
            keys.append(next(filter(None, found.groups())))
    return keys


def _in_braces(text: str) -> list[str]:
    keys: list[str] = []
    depth = 0
    is_key = True
    for at, character in enumerate(text):
        if character in "{[":
            depth, is_key = depth + 1, character == "{"
        elif character in "}]":
            depth -= 1
            if depth == 0:
                break
        elif character == "," and depth == 1:
            is_key = True
        elif is_key and depth == 1 and (found := _KEY.match(text, at)):
            keys.append(next(filter(None, found.groups())))
            is_key = False
    return keys


def _listed(folder: str, endings: tuple[str, ...]) -> list[str]:
    """Return the names of the files of a folder that end so, in order; none where it cannot be read."""
    try:
        names = os.listdir(os.path.expanduser(folder))  # noqa: PTH111, PTH208  # as above
    except OSError:
        return []
    return sorted(name for name in names if name.endswith(endings) and not name.startswith("."))


def _text(file: str) -> str:
    """Return the beginning of a file's text; empty where it cannot be read, and for what is no file."""
    path = os.path.expanduser(file)  # noqa: PTH111  # as above
    try:
        if not os.path.isfile(path):  # noqa: PTH113  # a pipe would be waited for
            return ""
        with open(path, "rb") as stream:  # noqa: PTH123  # as above
            return stream.read(MOST_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _rows(asked: TypedWord, query: str, *values: Any, file: str = "journal.db") -> list[tuple[Any, ...]]:
    """Return what a database of the state folder holds; nothing where there is none, or another process locks it."""
    path = os.path.abspath(f"{asked.state}/{file}")  # noqa: PTH100  # as above
    if not os.path.isfile(path):  # noqa: PTH113  # as above
        return []
    import sqlite3
    from urllib.parse import quote

    try:
        connection = sqlite3.connect(f"file:{quote(path)}?mode=ro", uri=True, timeout=0.1)
    except sqlite3.Error:
        return []
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.Error:
        return []
    finally:
        connection.close()
