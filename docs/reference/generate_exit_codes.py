"""Writes `exit-codes.md` beside it from the table of exit codes: `python docs/reference/generate_exit_codes.py`.

A test compares the page with what this makes, and runs each command that it shows.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path

from orchestrator.cli.exits import ADVICE, FAILURES, STATUSES, Exit

PAGE = Path(__file__).with_name("exit-codes.md")
HEAD = """# Exit codes

Made by `docs/reference/generate_exit_codes.py` from `orchestrator/cli/exits.py`. Every command ends with one of these
codes, and says on stderr why it is not 0. Outputs go to stdout, all else to stderr.

| code | name | when | retry? |
|---|---|---|---|
"""
FILES = """## The files of the commands

`squad.yaml` is what `orchestrator init` writes. The two others:

```yaml wrong
# broken.yaml
name: broken
taskz: {}
```

```yaml
# gated.yaml
name: gated
agents:
  mary: {persona: analyst}
tasks:
  research: {agent: mary, description: Research tea.}
  approve: {needs: [research], approval: {prompt: Good enough?, show: [research]}}
```

## In a script

```sh
orchestrator run squad.yaml --json > events.jsonl
case $? in
  0) echo done ;;
  6|8|130|143) echo "later: orchestrator runs resume RUN" ;;
  7) echo "a person must answer: orchestrator approvals" ;;
  *) echo "see stderr" >&2; exit 1 ;;
esac
```
"""


def page() -> str:
    """Return the whole page."""
    said = said_of_codes()
    rows = [
        f"| [{code.value}](#{_anchor(code)}) | {_name(code)} | {said[code]} | {ADVICE[code].retry} |" for code in Exit
    ]
    sections = [line for code in Exit for line in _section(code, said[code])]
    return HEAD + "\n".join([*rows, "", *sections, *_statuses(), FILES])


def _name(code: Exit) -> str:
    return code.name.lower().replace("_", " ")


def _title(code: Exit) -> str:
    return f"{code.value}: {_name(code)}"


def _anchor(code: Exit) -> str:
    return _title(code).replace(":", "").replace(" ", "-")


def _section(code: Exit, says: str) -> Iterator[str]:
    advice = ADVICE[code]
    yield from (f"## {_title(code)}", "", says, "", f"**Retry:** {advice.retry}. {advice.do}", "")
    if advice.shown_by:
        shows_a_mistake = code is Exit.USAGE  # of the command line itself
        yield from ("```sh wrong" if shows_a_mistake else "```sh", f"{advice.shown_by}; echo $?", "```", "")
    if names := sorted(name.rpartition(".")[2] for name, ends_in in FAILURES.items() if ends_in is code):
        yield from (f"Errors in Python that end so: {', '.join(f'`{name}`' for name in names)}.", "")


def _statuses() -> Iterator[str]:
    yield from (
        "## By the status of a run",
        "",
        "What `run`, `runs resume` and `runs fork` end with. A run that failed only because no provider answered ends",
        "with 8, and with 4 where each of them refused its key.",
        "",
        "| status | code |",
        "|---|---|",
        *(f"| `{status}` | {code.value} |" for status, code in STATUSES.items()),
        "",
    )


def said_of_codes() -> dict[Exit, str]:
    """Return the text that stands below each code in the source."""
    (node,) = ast.parse(inspect.getsource(Exit)).body
    assert isinstance(node, ast.ClassDef)
    said: dict[Exit, str] = {}
    for line, after in zip(node.body, node.body[1:], strict=False):
        match line, after:
            case ast.Assign(targets=[ast.Name(id=name)]), ast.Expr(value=ast.Constant(value=str(text))):
                said[Exit[name]] = " ".join(text.split())
    return said


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
