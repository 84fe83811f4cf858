"""Writes `cli.md` beside it from the commands themselves: `python docs/reference/generate_cli.py`.

A test compares the page with what this makes, and parses each example.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from docs.reference.tables import cell, code, slug
from orchestrator.cli.app import DescribedArgument, common_options, orchestrator
from orchestrator.cli.examples import EXAMPLES

PAGE = Path(__file__).with_name("cli.md")
HEAD = """# Command line

Made by `docs/reference/generate_cli.py` from the commands themselves; `orchestrator COMMAND --help` says the same.

- **What is printed where**: results go to stdout, and all else to stderr: progress, warnings, errors, hints what to do
  next. So `orchestrator run squad.yaml > result.txt` has the result alone. With `--json` stdout has documents: one of
  JSON, or one a line (JSON Lines) where things happen one after the other ([events](events.md)).
- **Exit codes**: 0 where all went well; each other one says what a script should do ([exit codes](exit-codes.md)).
- **Durations** are `500ms`, `90s`, `10m`, `2h`, `3d`; ages as well.
- **Runs** are named by their id: `orchestrator runs ls` lists them.
- An option that may be repeated is marked so. A value in the column "default" holds where the option is left out; what
  is in brackets in a text is a default, too.
- Keys of providers are read from the environment and a `.env` ([environment variables](environment.md)).
"""
TYPES = {
    "text": "text",
    "integer": "whole number",
    "float": "number",
    "boolean": "switch",
    "filename": "path",
    "path": "path",
}


def commands() -> Iterator[tuple[str, click.Command]]:
    """Yield each command that does something or has others below it, by the words that call it."""
    yield from _below(orchestrator, ())


def _below(group: click.Group, words: Sequence[str]) -> Iterator[tuple[str, click.Command]]:
    context = click.Context(group, info_name="orchestrator")
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield " ".join((*words, name)), command
        if isinstance(command, click.Group):
            yield from _below(command, (*words, name))


def page() -> str:
    """Return the whole page."""
    found = list(commands())
    lines = [HEAD, "| command | what it does |", "|---|---|"]
    lines += [f"| [{name}](#{_anchor(name)}) | {cell(_first(command))} |" for name, command in found]
    lines += ["", "## Common options", "", "Every command takes these, before its name or after it.", ""]
    lines += [*_options(common_options(environment=True)), ""]
    return (
        "\n".join([*lines, *(line for name, command in found for line in _section(name, command))]).rstrip("\n") + "\n"
    )


def _anchor(name: str) -> str:
    return slug(f"orchestrator {name}")


def _first(command: click.Command) -> str:
    return re.split(r"(?<=[.])\s", inspect.cleandoc(command.help or "").replace("\n", " "), maxsplit=1)[0]


def _section(name: str, command: click.Command) -> Iterator[str]:
    context = click.Context(command, info_name=f"orchestrator {name}")
    own = [p for p in command.params if p not in command.commons]  # type: ignore[attr-defined]  # all of ours have them
    usage = " ".join(command.collect_usage_pieces(context))
    yield from (f"{'#' * (2 + name.count(' '))} orchestrator {name}", "")
    yield from ("```text", f"orchestrator {name} {usage}".rstrip(), "```", "")
    yield from (_text(command.help or ""), "")
    if arguments := [p for p in own if isinstance(p, DescribedArgument)]:
        yield from ("| argument | what it is |", "|---|---|")
        yield from (f"| {code(p.make_metavar(context))} | {cell(p.says)} |" for p in arguments)
        yield ""
    if options := [p for p in own if isinstance(p, click.Option) and not p.hidden]:
        yield from (*_options(options), "")
    if lines := EXAMPLES.get(name, ()):
        yield from ("```sh", *(f"orchestrator {line}" for line in lines), "```", "")


def _text(said: str) -> str:
    text = inspect.cleandoc(said).replace("\b\n", "")
    return re.sub(r"(?<!`)<", r"\\<", text)


def _options(options: Sequence[click.Option]) -> Iterator[str]:
    yield from ("| option | value | default | variable | what it does |", "|---|---|---|---|---|")
    for option in options:
        names = ", ".join(code(name) for name in (*option.opts, *option.secondary_opts))
        variable = f"`{option.envvar}`" if option.envvar else ""
        yield f"| {names} | {_value(option)} | {_default(option)} | {variable} | {cell(option.help or '')} |"


def _value(option: click.Option) -> str:
    if option.is_flag:
        return "switch"
    repeated = ", may be repeated" if option.multiple else ""
    match option.type:
        case click.Choice(choices=choices):
            return f"one of {', '.join(code(str(each)) for each in choices)}{repeated}"
        case click.IntRange() | click.FloatRange() as numbers:
            kind = option.metavar or TYPES[numbers.name.removesuffix(" range")]
            return f"{kind}, {_range(numbers.min, numbers.max)}{repeated}"
    return f"{code(option.metavar) if option.metavar else TYPES.get(option.type.name, option.type.name)}{repeated}"


def _range(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return f"{least} or more" if least is not None else f"at most {most}"
    return f"{least} to {most}"


def _default(option: click.Option) -> str:
    value: Any = option.to_info_dict()["default"]
    if value is None or value in ((), "") or value is False or str(value).startswith("Sentinel"):
        return ""
    if value is True:
        return code(option.opts[0])
    if isinstance(value, Mapping):
        return code(",".join(f"{name}={amount}" for name, amount in value.items()))
    return code(str(value))


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
