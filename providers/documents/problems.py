"""Mistakes in a file: each with its place, a stable code and what to do about it, for people and for machines."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal
from urllib.parse import quote

from providers.documents.likeness import alike, closest
from providers.documents.secrets import hidden, may_hold_a_secret, secret_named_in, without_words_of

Path = tuple[str | int, ...]
"""Where in the tree of a file: keys and indices from its root."""
Severity = Literal["error", "warning"]

SECRETS = frozenset({"api_key", "apikey", "api_keys", "key", "keys", "token", "api_token", "secret", "password"})
"""What a key would be written under, were it allowed."""
WITHHELD = SECRETS | {
    "api_key_env",
    "webhook_env",
    "webhook_secret_env",
    "base_url",
    "ledger",
    "extra_headers",
    "headers",
    "key_header",
}
"""Where a secret may stand by mistake: the text of such a line is shown in no message."""
ENVIRONMENT = "environment"
"""The first part of the path of a problem with an environment variable."""

_TAB = "    "
_WIDEST = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake. `line` and `column` count from 1, columns and `length` in characters.

    `source` is the text of that line, `path` the place in the tree; `str` gives the first line of what `to_text` shows.
    Data that came from no file has no lines: `line` is 0 and `path` alone says where the mistake is.
    """

    file: str
    """The file that it is in, as it was named."""
    line: int
    """From 1; 0 for data that came from no file."""
    column: int
    """In characters, from 1."""
    length: int
    """How many characters the caret marks."""
    code: str
    """A stable name; `orchestrator docs CODE` explains it."""
    message: str
    """What is wrong."""
    severity: Severity = "error"
    """A `warning` stops no run."""
    hint: str = ""
    """What to do about it; may be empty."""
    path: Path = ()
    """The place in the tree: keys and indexes."""
    source: str = field(default="", repr=False, compare=False)
    """The text of that line."""

    def __str__(self) -> str:
        return f"{self._place()}: {self.severity}[{self.code}]: {_shown(_safe(self).message)}"

    def _place(self) -> str:
        if self.line:
            return f"{_shown(self.file)}:{self.line}:{self.column}"
        return ": ".join(_shown(part) for part in (self.file, ".".join(map(str, self.path))) if part) or "data"

    def under(self, path: Path) -> Problem:
        """Return this problem of a part of a tree as one of the whole, in which the part stands at `path`."""
        return replace(self, path=(*path, *self.path))


class ProblemsFound(Exception):
    """Mistakes, all at once, each with its place. Nothing was spent.

    An app that lets it through shows what `validate` shows: each line with its caret and hint.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__(problems)
        self.problems = tuple(problems)
        """All mistakes, each with its place."""

    def __str__(self) -> str:
        return to_text(self.problems)


class SpecError(ProblemsFound):
    """A file cannot be read, or says what no file of its kind may say."""


def variable_problem(variable: str, message: str, hint: str = "") -> Problem:
    """Return a problem with the value of an environment variable, which is not shown: it may be a secret."""
    return Problem("", 0, 0, 0, "bad-variable", message, hint=hint, path=(ENVIRONMENT, variable))


def without_secrets(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems, without the text of a line on which a secret may stand by mistake."""
    return list(map(_safe, problems))


def _safe(p: Problem) -> Problem:
    """Return a problem that may be shown: no text of it, and no line of the file, repeats what may be a secret."""
    message, hint = hidden(p.message), hidden(p.hint)
    withheld = any(str(part).lower() in WITHHELD for part in p.path) or _may_be_misspelt(p)
    secret = withheld or may_hold_a_secret(p.source)
    if secret and (value := _value(p, withheld=withheld)):
        names = tuple(str(part).lower() for part in p.path)
        message, hint = without_words_of(value, message, names), without_words_of(value, hint, names)
    if not secret and (message, hint) == (p.message, p.hint):
        return p
    return replace(p, message=message, hint=hint, source="" if secret else p.source)


def _may_be_misspelt(p: Problem) -> bool:
    """Whether a field that does not exist may be that of a secret, written wrongly: `api_keyy`, `apikye`.

    Of a provider or a budget any may be: what stands in one that is not read helps nobody.
    """
    if p.code != "unknown-field" or not p.path:
        return False
    name = str(p.path[-1])
    return p.path[0] in ("providers", "budget") or bool(secret_named_in(f"{name}:")) or bool(alike(name, SECRETS))


def _value(p: Problem, *, withheld: bool) -> str:
    """Return the part of a line that must not be repeated: what stands behind a name."""
    if named := secret_named_in(p.source):
        return p.source[named.end() :]
    return p.source.partition(":")[2] if withheld else ""


def in_order(problems: Iterable[Problem]) -> list[Problem]:
    """Return the problems in the order of their files' text, each once."""
    return sorted(dict.fromkeys(problems), key=lambda p: (p.file, p.line, p.column))


def nearest(word: str, choices: Iterable[str]) -> str:
    """Return a hint that names the choice most like `word`, else the choices where they are few; else nothing."""
    known = sorted(choice for choice in choices if choice != word)
    if (close := closest(word, known)) is not None:
        return f"did you mean '{close}'?"
    return f"known here: {', '.join(known)}" if 0 < len(known) <= 12 else ""


def to_text(problems: Sequence[Problem]) -> str:
    """Return the problems as a person reads them: place, message, the line of the file with a caret, the hint."""
    return "\n".join(_explained(problem) for problem in problems)


def _explained(problem: Problem) -> str:
    problem = _safe(problem)
    hint = _shown(problem.hint)
    if not problem.source:
        return f"{problem}\n      | {hint}" if hint else str(problem)
    before, marked, after = _around_caret(problem)
    caret = " " * _width(before) + "^" * max(1, _width(marked))
    return f"{problem}\n{problem.line:>5} | {before}{marked}{after}\n      | {caret} {hint}".rstrip()


def _around_caret(problem: Problem) -> tuple[str, str, str]:
    """Return what stands before, at and after the caret, cut to what a screen shows."""
    start = problem.column - 1
    end = start + max(problem.length, 1)
    before, marked, after = (
        _shown(s) for s in (problem.source[:start], problem.source[start:end], problem.source[end:])
    )
    if _width(before) + _width(marked) + _width(after) <= _WIDEST:
        return before, marked, after.rstrip()
    marked = marked if len(marked) <= _WIDEST // 2 else marked[: _WIDEST // 2] + "…"
    before = before if len(before) <= _WIDEST // 3 else "…" + before[-_WIDEST // 3 :]
    room = max(0, _WIDEST - len(before) - len(marked))
    return before, marked, after.rstrip() if len(after) <= room else after[:room] + "…"


def _shown(text: str) -> str:
    """Return the text as it may stand on a terminal: tabs as spaces, nothing that moves the cursor or turns text."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(_TAB if c == "\t" else "\ufffd" if _is_unsafe(c) else c for c in text)


def _is_unsafe(character: str) -> bool:
    return (
        unicodedata.category(character) in {"Cc", "Cs", "Zl", "Zp"}
        or "\u202a" <= character <= "\u202e"
        or ("\u2066" <= character <= "\u2069")
    )


def _width(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.category(character) in {"Mn", "Me", "Cf"}:
        return 0
    return 2 if unicodedata.east_asian_width(character) in {"W", "F"} else 1


def to_json(problems: Sequence[Problem]) -> str:
    """Return a JSON array of the problems."""
    keys = ("file", "line", "column", "code", "severity", "message", "hint")
    return json.dumps(
        [{key: getattr(p, key) for key in keys} for p in map(_safe, problems)], indent=2, ensure_ascii=False
    )


def to_github(problems: Sequence[Problem]) -> str:
    """Return workflow commands, which GitHub Actions shows beside the lines of a change.

    Source: docs.github.com, "Workflow commands for GitHub Actions", read 2026-11.
    """
    return "\n".join(_command(problem) for problem in problems)


def _command(p: Problem) -> str:
    values = {
        "file": p.file,
        "line": p.line,
        "col": p.column,
        "endColumn": p.column + max(p.length, 1),
        "title": p.code,
    }
    properties = ",".join(
        f"{key}={_escaped(str(value)).replace(':', '%3A').replace(',', '%2C')}" for key, value in values.items()
    )
    return f"::{p.severity} {properties}::{_escaped(_with_hint(p))}"


def _escaped(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _with_hint(problem: Problem) -> str:
    problem = _safe(problem)
    return f"{problem.message} ({problem.hint})" if problem.hint else problem.message


def to_sarif(problems: Sequence[Problem]) -> str:
    """Return a SARIF 2.1.0 log. Columns count Unicode code points. Source: OASIS, SARIF 2.1.0."""
    from importlib.metadata import version  # only this format shows it

    rules = [
        {"id": code, "shortDescription": {"text": CODES.get(code, code)}}
        for code in sorted({problem.code for problem in problems})
    ]
    driver = {"name": "orchestrator", "version": version("squad-orchestrator"), "rules": rules}
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": [_result(p) for p in problems]}
    schema = "https://json.schemastore.org/sarif-2.1.0.json"
    return json.dumps({"$schema": schema, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _result(p: Problem) -> dict[str, Any]:
    region = {"startLine": p.line, "startColumn": p.column, "endColumn": p.column + max(p.length, 1)}
    place = {"artifactLocation": {"uri": quote(p.file.replace("\\", "/"))}, "region": region}
    return {
        "ruleId": p.code,
        "level": p.severity,
        "message": {"text": _with_hint(p)},
        "locations": [{"physicalLocation": place}],
    }


FORMATS: Mapping[str, Callable[[Sequence[Problem]], str]] = {
    "text": to_text,
    "json": to_json,
    "github": to_github,
    "sarif": to_sarif,
}

CODES: Mapping[str, str] = {
    # Reading the file
    "unreadable-file": "The file is missing, is a folder, or may not be read.",
    "empty-file": "The file is empty.",
    "not-utf8": "The file is not UTF-8 text.",
    "control-character": "A character that YAML forbids, or that editors and YAML count differently.",
    "too-large": "The file has more bytes, levels or values than a file may have.",
    "bad-yaml": "The text is not YAML.",
    "bad-json": "The text is not JSON.",
    "tag": "A YAML tag (`!name`); tags are refused.",
    "merge-key": "A YAML merge key (`<<`); it is not part of YAML 1.2.",
    "duplicate-key": "A key appears twice in one mapping.",
    "bad-key": "A key that is not text.",
    "several-documents": "More than one YAML document in the file.",
    "unknown-alias": "An alias (`*name`) without an anchor (`&name`) before it.",
    "recursive-alias": "An alias inside its own value.",
    # Fields
    "unknown-field": "A field that does not exist at this place.",
    "missing-field": "A required field is missing.",
    "misplaced-field": "The field exists, but has no meaning at this place.",
    "wrong-type": "The value has another type than the field takes.",
    "invalid-value": "The value is not one of those that the field takes.",
    "out-of-range": "A number, a text or a list that is too small, too large, too short or too long.",
    "invalid-duration": "A duration is written 500ms, 5s, 10m, 2h, 3d, or as a number of seconds.",
    "invalid-name": "The name cannot be used in expressions, or is reserved.",
    "duplicate-name": "A name that must be unique appears twice.",
    "one-of": "Exactly one of several fields must be given.",
    "unsupported-version": "A version of the format that this release does not know.",
    "unsupported-field": "A value of a field that this release does not act on.",
    # Names
    "unknown-agent": "No agent of the squad has this name.",
    "unknown-conversation": "No conversation of the squad has this name.",
    "unknown-persona": "No persona of the library, and no file, has this name.",
    "invalid-persona": "The persona cannot be made as written.",
    "ambiguous-persona": "Two files have the persona's name.",
    "bad-front-matter": "The front matter of a Markdown file cannot be read.",
    "unknown-tier": "No tier has this name.",
    "unknown-model": "No provider of the catalog serves this model.",
    "invalid-squad": "The file of a sub-squad cannot be read, or has mistakes.",
    "unanswerable": "No model that the routing allows can do what the agent needs.",
    "unknown-tool": "No tool has this name.",
    "bad-tool-file": "The file of a tool cannot be read, or has mistakes.",
    "unknown-server": "No MCP server of the squad has this name.",
    "unsafe-command": "An argument of a call could choose which program runs.",
    "unknown-function": "No function has this name.",
    "unknown-task": "No task of the squad has this name.",
    "unknown-step": "No earlier step of the task has this name.",
    "unknown-input": "The squad has no input of this name.",
    "unknown-name": "An expression reads a name that does not exist there.",
    "unknown-attribute": "An expression reads a field that a task, step, input or output does not have.",
    # Order and bounds
    "cycle": "Tasks wait for each other, or agents call each other as tools.",
    "not-an-ancestor": "A task is read that may not have ended yet.",
    "untrusted-instructions": "An untrusted input would become part of an agent's system message.",
    "unbounded": "Something could run forever, or cost without limit.",
    "missing-case": "A switch has no case for a possible value, and no default.",
    "no-tasks": "The squad has no tasks.",
    # Expressions, files, schemas
    "bad-expression": "The text inside `${{ }}` is not an expression.",
    "output-never-produced": "An output file is read that no task writes.",
    "bad-embeddings": "The embedding model cannot be used.",
    "unreachable-embeddings": "No provider of the embedding model has a key here, so memory is searched by words only.",
    "bad-knowledge": "A folder or file of `knowledge` cannot be read, or is outside of the squad's folder.",
    "unsafe-path": "The path leaves the run's folder, or some systems cannot store it.",
    "duplicate-output-file": "Two tasks write the same file.",
    "empty-schema": "The JSON Schema has no keyword, so it allows anything.",
    "bad-schema": "This is not a JSON Schema, or it refers to another document.",
    "costly-pattern": "Matching this pattern takes forever on some texts.",
    # Routing files, the catalog and scenarios
    "unknown-provider": "No provider of the catalog has this name.",
    "unknown-task-type": "No task type of the routing file has this name.",
    "unknown-region": "No region of the scenario has this name.",
    "unknown-capability": "No capability has this name.",
    "bad-candidate": "The text does not name a model, or all models, of a provider.",
    "bad-address": "The URL, or the address of a ledger, cannot be used.",
    "bad-header": "Only the HTTP client may set this header, for example `host`.",
    "bad-limit": "The fields of a provider's limit do not fit together.",
    "bad-refusal": "The fields of a provider's refusal do not fit together.",
    "no-effect": "The setting has no effect: nothing reads or reaches it.",
    "secret-in-file": "A key is written in a file. Keys belong in the environment.",
    # Test files
    "unknown-output": "The squad has no output of this name.",
    "unknown-approval": "Nothing in the squad asks for an approval of this name.",
    "unknown-fault": "No fault of a provider has this name.",
    # Variables and inputs
    "bad-env-file": "A line of the `.env` file is not `NAME=value`.",
    "bad-variable": "The value of an environment variable cannot be used.",
    "invalid-input": "The value does not fit the type of the input.",
    "missing-input": "An input without a default was not given.",
    "too-long": "With these inputs a text is longer than the squad's `max_chars`.",
    "too-many-elements": "With these inputs a list has more elements than the squad's `max_items`.",
    "equal-keys": "With these inputs several elements of a `for_each` have the same key.",
    # Warnings
    "unreachable-case": "The switch never has the value of this case.",
    "unused-agent": "No task and no conversation uses the agent.",
    "unused-conversation": "No task uses the conversation.",
    "unused-input": "No expression reads the input.",
    "risky-after-untrusted": "An agent that reads untrusted text may call risky tools without approval.",
    "not-sent": "The models of the agent do not take this setting, so it is not sent.",
    "other-braces": "A known name in braces that are not an expression.",
    "not-a-template": "The field has an expression, but is not a template.",
}
"""What each code means. Codes are stable: a new release adds, it does not rename."""
