"""Writes `problems.md` beside it from `problems.yaml`: `python docs/reference/generate_problems.py`.

What the page shows as printed is what the commands print: each example is run here. A test holds that each code has an
example that prints it, and that its corrected form prints nothing.
"""

from __future__ import annotations

import difflib
import io
import os
import re
import shlex
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import yaml

from docs.reference.problem_messages import is_of, messages_in
from docs.reference.tables import code, prose
from orchestrator.__main__ import main
from providers.documents.problems import CODES

PAGE = Path(__file__).with_name("problems.md")
DATA = Path(__file__).with_name("problems.yaml")
REST: Mapping[str, Mapping[str, str]] = {
    "squad.yaml": {
        "name": "name: tea\n",
        "agents": "agents: {ann: {persona: analyst}}\n",
        "tasks": "tasks: {greet: {agent: ann, description: Greet the team.}}\n",
    },
    "scenario.yaml": {
        "title": "title: A day\n",
        "providers": "providers: {groq: {}}\n",
        "load": "load: [{count: 10, every: 1s}]\n",
    },
    "tests.yaml": {"squad": "squad: squad.yaml\n"},
}
"""What an example's file has behind the lines that are shown, by key: those that are not among them."""
PRINTED = re.compile(r"^(\S+: (?:error|warning)\[([a-z0-9-]+)\]: .*)\n(?:(?: *\d* \| .*)\n?)*", re.MULTILINE)
"""A problem as it is printed: its first line, its code, the line of the file with its hint."""
HEAD = """# Problems

What `orchestrator validate` and `orchestrator run` report about a file, before anything is spent: the meaning of each
error code, the message as it is printed, and a wrong example (`-`) with its correction (`+`). `orchestrator docs CODE`
shows one section in the terminal.

`validate` recognises a squad, a routing file, a scenario, a test file and a persona by their fields, and reads all of
them in the same way. Each problem has a place, a stable code and mostly a hint. All problems of a file are reported at
once, but text that is not YAML is reported alone. Warnings do not stop a run. `validate --format json`, `github` and
`sarif` give the same to programs. In "other messages" `...` stands for what differs from case to case.

Examples of squads leave out the lines that are always the same: the name, the agent `ann`, a task. This page is made by
`docs/reference/generate_problems.py`, which runs each example.

"""


@dataclass(frozen=True, slots=True, eq=False)
class Example:
    """A code with what its section says. `wrong` and `right` are the file before and after the correction."""

    code: str
    text: str
    wrong: str = ""
    right: str = ""
    file: str = "squad.yaml"
    beside: Mapping[str, str] = field(default_factory=dict)
    beside_right: Mapping[str, str] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)
    run: str = ""
    run_right: str = ""
    before: Sequence[str] = ()
    """Codes of other problems that are printed with it, because of it or as its cause."""
    whole: bool = False
    escaped: bool = False
    encoding: str = "utf-8"

    @property
    def commands(self) -> tuple[str, str]:
        """The commands of the wrong and the corrected form."""
        run = self.run or f"validate {self.file}"
        return run, self.run_right or run


@cache
def sections() -> Mapping[str, tuple[Example, ...]]:
    """Return the examples of each section, in the order of the page."""
    written = yaml.safe_load(DATA.read_text("utf-8"))
    return {title: tuple(Example(name, **said) for name, said in codes.items()) for title, codes in written.items()}


@cache
def printed(example: Example, *, corrected: bool = False) -> tuple[int, str]:
    """Return how a command ends for the example's file, and what it prints."""
    text = example.right if corrected else example.wrong
    if not example.whole:
        rest = REST.get(example.file, {}).items()
        text += "".join(line for key, line in rest if not re.search(rf"^{key}:", text, re.MULTILINE))
    if example.escaped:
        text = text.encode().decode("unicode_escape")
    beside = example.beside_right or example.beside if corrected else example.beside
    files = {"squad.yaml": "".join(REST["squad.yaml"].values()), **beside, example.file: text}
    clean = {name: value for name, value in os.environ.items() if name in ("HOME", "PATH", "SYSTEMROOT", "TMPDIR")}
    given = {"ORCHESTRATOR_LOCAL_SERVERS": "off", "ORCHESTRATOR_TRUST_FILE": "trust.json", "COLUMNS": "100"}
    given |= example.variables
    out = io.StringIO()
    with TemporaryDirectory() as folder, chdir(folder), patch.dict(os.environ, {**clean, **given}, clear=True):
        for name, content in files.items():
            Path(name).parent.mkdir(exist_ok=True)
            Path(name).write_bytes(content.encode("utf-8" if corrected or name != example.file else example.encoding))
        with redirect_stdout(out), redirect_stderr(out):
            ended = main(shlex.split(example.commands[corrected]))
    return ended, out.getvalue()


def problems_in(text: str) -> list[tuple[str, str]]:
    """Return the problems in what a command printed: the code of each with its whole message."""
    return [(found[2], found[0].rstrip("\n")) for found in PRINTED.finditer(text)]


def page() -> str:
    """Return the whole page."""
    root = PAGE.parents[2]
    files = [file for name in ("orchestrator", "personas", "providers") for file in sorted((root / name).rglob("*.py"))]
    messages = messages_in([file for file in files if file.parent.name != "migration"], CODES)
    parts = [HEAD]
    for title, examples in sections().items():
        parts.append(f"## {title}\n\n")
        parts += [line + "\n" for one in examples for line in _section(one, messages[one.code])]
    return "".join(parts).rstrip("\n") + "\n"


def _section(example: Example, messages: Collection[str]) -> Iterator[str]:
    shown = "\n".join(message for _, message in problems_in(printed(example)[1]))
    yield from (f"### `{example.code}`", "", *prose(f"{CODES[example.code]} {example.text}"))
    yield from ("```text", shown, "```", "")
    wrong, right = example.commands
    if example.run and wrong == right:
        yield from (f"Command: `orchestrator {wrong}`", "")
    if example.wrong != example.right:
        yield from ("```diff", *_difference(example.wrong, example.right), "```", "")
    elif example.wrong:
        yield from ("```yaml", example.wrong.rstrip("\n"), "```", "")
    if wrong != right:
        yield from ("```diff", *_difference(f"orchestrator {wrong}", f"orchestrator {right}"), "```", "")
    if others := [code(one).replace("\\|", "|") for one in messages if not is_of(one, shown)]:
        yield from prose(f"Other messages: {', '.join(others)}.")


def _difference(before: str, after: str) -> list[str]:
    lines = before.splitlines(), after.splitlines()
    return list(difflib.unified_diff(*lines, n=99, lineterm=""))[3:]


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
