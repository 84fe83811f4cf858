"""Completion of shells: the command line as a table says it, so that no command's module is imported.

The table `completion.json` is made by `docs/reference/generate_completion.py` of the commands themselves.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class, shell_complete

from orchestrator.cli.completion_values import asked_in, items

VARIABLE, PROGRAM = "_ORCHESTRATOR_COMPLETE", "orchestrator"
TABLE = os.path.join(os.path.dirname(__file__), "completion.json")  # noqa: PTH118, PTH120  # pathlib is heavy here
LINE = "-1"
"""What COMP_CWORD is where COMP_WORDS is the line up to the cursor."""


class TableCommand(click.Command):
    """A command as the table has it."""


class TableGroup(click.Group):
    """A command of commands as the table has it; each is made when it is asked for."""

    def __init__(self, node: Mapping[str, Any], table: Mapping[str, Any], **more: Any) -> None:
        super().__init__(**more)
        self.node, self.table = node, table

    def list_commands(self, context: click.Context) -> list[str]:  # noqa: ARG002  # click's signature
        return list(self.node["commands"])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:  # noqa: ARG002  # as above
        node = self.node["commands"].get(name)
        return None if node is None else command_of(name, node, self.table)


def command_of(name: str, node: Mapping[str, Any], table: Mapping[str, Any]) -> click.Command:
    """Return a command of the table."""
    params = [_param(one, table) for one in (*node["params"], *table["common"])]
    names = {"help_option_names": ["-h", "--help"]}
    more: dict[str, Any] = {"name": name, "params": params, "help": node["help"], "context_settings": names}
    return TableGroup(node, table, **more) if "commands" in node else TableCommand(**more)


def _param(one: Mapping[str, Any], table: Mapping[str, Any]) -> click.Parameter:
    kind: Any = click.Choice(one["choices"]) if "choices" in one else click.STRING
    more: dict[str, Any] = {"type": kind, "required": False}
    if "kind" in one:
        more["shell_complete"] = partial(_values, one["kind"], table["known"])
    if "options" not in one:
        return click.Argument([one["name"]], nargs=one.get("nargs", 1), **more)
    if one.get("flag"):
        more = {"is_flag": True}
    return click.Option([one["name"], *one["options"]], multiple=one.get("multiple", False), help=one["help"], **more)


def _values(
    kind: str, known: Mapping[str, list[str]], context: click.Context, _: click.Parameter, begun: str
) -> list[CompletionItem]:
    return items(kind, asked_in(context, begun, known))


class OurBash(BashComplete):
    """Bash with its own rules: `:` and `=` begin a new word there, and folders end without a blank."""

    name: ClassVar[str] = "bash"
    source_template: ClassVar[str] = """\
%(complete_func)s() {
    local IFS=$'\\n' cur="${COMP_WORDS[COMP_CWORD]}" kind value line
    COMPREPLY=()
    while read -r line; do
        kind="${line%%%%,*}" value="${line#*,}"
        case "$kind" in
            plain) COMPREPLY+=("$value") ;;
            dir) compopt -o filenames; COMPREPLY+=($(compgen -d -- "$cur")) ;;
            file)
                local known="${COMPREPLY[*]}"
                compopt -o filenames
                for value in $(compgen -f -- "$cur"); do
                    [[ $'\\n'"$known"$'\\n' == *$'\\n'"$value"$'\\n'* ]] || COMPREPLY+=("$value")
                done ;;
        esac
    done < <(COMP_WORDS="${COMP_LINE:0:COMP_POINT}" COMP_CWORD=-1 %(complete_var)s=bash_complete "$1" 2>/dev/null)
    [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *= ]] && compopt -o nospace
    return 0
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

    @staticmethod
    def _check_version() -> None:
        """Any bash with `compopt` does; click would start one to ask."""

    def get_completion_args(self) -> tuple[list[str], str]:
        if os.environ.get("COMP_CWORD") != LINE:
            return super().get_completion_args()
        line = os.environ["COMP_WORDS"]
        words = click.shell_completion.split_arg_string(line)
        begun = words.pop() if words and not line[-1:].isspace() else ""
        return words[1:], begun

    def format_completion(self, item: CompletionItem) -> str:
        """Return an item without what bash takes for words before it."""
        value = str(item.value)
        if os.environ.get("COMP_CWORD") == LINE:
            begun = self.get_completion_args()[1]
            begun = begun.partition("=")[2] if begun.startswith("--") and "=" in begun else begun
            cut = max(begun.rfind(":"), begun.rfind("=")) + 1
            value = value[cut:] if value.startswith(begun[:cut]) else value
        return f"{item.type},{value}"


def answer(instruction: str) -> int:
    """Write what a shell asks for; `instruction` is `bash_complete`, `zsh_source` and so on. Return the exit code."""
    add_completion_class(OurBash)
    with open(TABLE, encoding="utf-8") as file:  # noqa: PTH123  # as above
        table = json.load(file)
    root = command_of(PROGRAM, table["root"], table)
    return shell_complete(root, {}, PROGRAM, VARIABLE, instruction)


def script(shell: str) -> str:
    """Return the script that a shell reads to complete our command."""
    add_completion_class(OurBash)
    found = click.shell_completion.get_completion_class(shell)
    assert found is not None, "these three shells are completed"
    return found(TableCommand(PROGRAM), {}, PROGRAM, VARIABLE).source()
