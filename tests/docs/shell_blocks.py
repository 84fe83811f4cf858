"""What is wrong with a block of commands: those of ours exist, with their options, and the files that they name."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import click

from orchestrator.cli.app import orchestrator
from orchestrator.cli.commands.trust import TrustGroup
from tests.docs.pages import ROOT

SEPARATORS = re.compile(r"[();<>|&]+")
PLACEHOLDER = re.compile(r"\.\.\.|…|[\[<].*|[A-Z][A-Z0-9_-]*(/[A-Z_-]+)*")
"""What stands for a value: RUN, TASK, NAME, `[OPTIONS]`, `...`."""
FILE = re.compile(r"((?:[\w.-]+/)*[\w-]+(?:\.[\w-]+)*\.(?:ya?ml|json|jsonl|csv|py|txt|md|diff|toml))")
"""Not `@notes.md`, a file of the reader's."""
BEFORE = frozenset({"sudo", "env", "time", "nohup", "exec", "uvx", "pipx", "uv", "run"})
INIT_WRITES = frozenset({"squad.yaml", "agent_routing.yaml"})
WRITES = frozenset({"--chart", "--junit", "--out", "-o", "--output", "--save"})
"""Options whose value is a file that the command makes."""


def shell_problems(text: str, page: str, *, prompted: bool = False) -> Iterator[str]:
    """Yield what is wrong with a block; `page` is the whole page's text. With `prompted`, lines after `$` are commands
    and the others what they print."""
    for number, line in _lines(text, prompted=prompted):
        try:
            words = list(shlex.shlex(line, posix=True, punctuation_chars=True))
        except ValueError as error:
            yield f"{line}: {error}"
            continue
        words = _joined(line) or words
        for command in _commands(words):
            arguments = ours(command)
            if arguments is not None:
                yield from (f"line {number}: {wrong}" for wrong in command_problems(arguments))
            if arguments is not None or _is_python(command):
                yield from (f"line {number}: {wrong}" for wrong in _missing_files(command, page))


def _lines(text: str, *, prompted: bool) -> Iterator[tuple[int, str]]:
    """Yield the logical lines without comments: what a quote or a backslash goes on with is one; heredocs are none."""
    begun, first, until = "", 0, None
    for number, raw in enumerate(text.splitlines(), 1):
        if until is not None:
            until = None if raw.strip() == until else until
            continue
        if prompted and not begun:
            if not raw.startswith("$ "):
                continue
            raw = raw[2:]  # noqa: PLW2901
        line = _without_comment(f"{begun}{raw}")
        first = first if begun else number
        if line.endswith("\\"):
            begun = line[:-1]
        elif _is_open(line):
            begun = f"{line}\n"
        else:
            begun = ""
            if here := re.search(r"<<-?\s*['\"]?(\w+)", line):
                until = here[1]
            if line.strip():
                yield first, line.strip()
    if begun:
        yield first, begun


def _without_comment(line: str) -> str:
    quote = ""
    for at, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "'\"":
            quote = character
        elif character == "#" and (at == 0 or line[at - 1].isspace()):
            return line[:at].rstrip()
    return line.rstrip()


def _is_open(line: str) -> bool:
    try:
        shlex.split(line)
    except ValueError:
        return True
    return False


def _joined(line: str) -> list[str]:
    """Return the words with the shell's own signs apart from them; `shlex` alone cuts words at `{`, `:` and `$`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split = True
    lexer.commenters = ""
    return list(lexer)


def _commands(words: Sequence[str]) -> Iterator[list[str]]:
    """Yield the simple commands of a line; the target of a redirection is no argument of one."""
    current: list[str] = []
    skips = False
    for word in words:
        if SEPARATORS.fullmatch(word):
            skips = word.startswith((">", "<")) or word.endswith(">")
            if not skips:
                yield current
                current = []
        elif skips:
            skips = False
        else:
            current.append(word)
    yield current


def ours(command: Sequence[str]) -> list[str] | None:
    """Return the arguments of `orchestrator` where a command calls it, else None."""
    words = list(command)
    while words and (words[0] in BEFORE or re.fullmatch(r"\w+=.*", words[0], re.DOTALL)):
        words.pop(0)
    if not words:
        return None
    if Path(words[0]).name == "orchestrator":
        return words[1:]
    if _is_python(words) and words[1:3] == ["-m", "orchestrator"]:
        return words[3:]
    return None


def _is_python(words: Sequence[str]) -> bool:
    return bool(words) and re.fullmatch(r"python[\d.]*", Path(words[0]).name) is not None


def command_problems(arguments: Sequence[str]) -> Iterator[str]:
    """Yield what click would say of a command line of ours, which is parsed and not run."""
    shown = f"orchestrator {shlex.join(arguments)}"
    try:
        _parse(orchestrator, list(arguments), None)
    except click.UsageError as error:
        yield f"{shown}: {error.format_message()}"


def _parse(command: click.Command, arguments: list[str], parent: click.Context | None) -> None:
    context = click.Context(command, info_name=command.name, parent=parent)
    given, rest, _ = command.make_parser(context).parse_args([one for one in arguments if one != "[OPTIONS]"])
    for param in command.get_params(context):
        value = given.get(param.name or "")
        values = list(value) if isinstance(value, list | tuple) else [value] if isinstance(value, str) else []
        if isinstance(param, click.Argument) and param.required and not values:
            raise click.MissingParameter(ctx=context, param=param)
        for text in values:
            if isinstance(text, str) and not PLACEHOLDER.fullmatch(text) and _is_of_words(param.type):
                param.type.convert(text, param, context)
    if not isinstance(command, click.Group):
        if rest:
            raise click.UsageError(f"unexpected {' '.join(rest)}", context)
        return
    if not rest:
        if not command.no_args_is_help and not command.invoke_without_command and not given.get("help"):
            raise click.UsageError("a command is missing", context)
        return
    if isinstance(command, TrustGroup) and rest[0] not in command.commands:
        rest = ["add", *rest]
    inner = command.get_command(context, rest[0])
    if inner is None:
        raise click.UsageError(f"there is no command {rest[0]!r}", context)
    _parse(inner, rest[1:], context)


def _is_of_words(kind: click.ParamType) -> bool:
    """Return whether a value can be checked without a file."""
    return isinstance(kind, click.Choice | click.types.IntParamType | click.types.FloatParamType)


def _missing_files(command: Sequence[str], page: str) -> Iterator[str]:
    for before, word in zip(["", *command], command, strict=False):
        found = FILE.fullmatch(word.rpartition("=")[2])
        if found is None or before in WRITES:
            continue
        name = found[1]
        known = (ROOT / name).exists() or name in INIT_WRITES or len(re.findall(rf"(?<!\w){re.escape(name)}", page)) > 1
        if not known:
            yield f"{name}: there is no such file, and the page says nothing of it"
