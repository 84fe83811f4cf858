"""The page of the command line: made from the commands, each of which says what it takes and has an example."""

from __future__ import annotations

import runpy
import shlex
from pathlib import Path

import click
import pytest

from orchestrator.cli.app import DescribedArgument, orchestrator
from orchestrator.cli.examples import EXAMPLES

REFERENCE = Path(__file__).parents[3] / "docs/reference"
MADE = runpy.run_path(str(REFERENCE / "generate_cli.py"))
COMMANDS: dict[str, click.Command] = dict(MADE["commands"]())
LINES = [line for lines in EXAMPLES.values() for line in lines]


def test_the_page_is_what_the_commands_say() -> None:
    hint = "run python docs/reference/generate_cli.py"
    assert (REFERENCE / "cli.md").read_text("utf-8") == MADE["page"](), hint


def test_each_command_that_does_something_has_an_example() -> None:
    doing = {name for name, command in COMMANDS.items() if not isinstance(command, click.Group)}
    assert set(EXAMPLES) == doing


@pytest.mark.parametrize("name", COMMANDS)
def test_all_that_a_command_takes_is_described(name: str) -> None:
    command = COMMANDS[name]
    assert command.help
    for taken in command.params:
        assert taken.says if isinstance(taken, DescribedArgument) else isinstance(taken, click.Option) and taken.help


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_parsed(line: str) -> None:
    words = shlex.split(line)
    command: click.Command | None = orchestrator
    context: click.Context | None = None
    while isinstance(command, click.Group):
        context = click.Context(command, info_name="orchestrator", parent=context)
        command = command.get_command(context, words.pop(0))
    assert command is not None
    assert command.make_context(command.name, words, parent=context) is not None


def test_help_shows_the_examples(call) -> None:
    shown = call("runs", "fork", "--help").out
    assert "Examples:\n  orchestrator runs fork sprint-20261201-101500 --from draft\n" in shown
    assert "Arguments:\n  RUN  The run's id; `runs ls` lists them.\n" in shown
