"""Completion in shells: what is offered, that it is quick to make and never loud, and that a real bash takes it."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import click
import pytest

from orchestrator.cli import completing
from orchestrator.cli.completion_values import MOST_RUNS, TypedWord, items, keys_below
from tests.patience import PATIENCE_S

ROOT = Path(__file__).parents[3]
SQUAD = """name: shop   # ours
inputs: {topic: {type: string}, "the tone": {default: dry}}
agents:
  # who works
  ann: {persona: analyst}
  "bob": {persona: dev}

  cy:
    persona: dev
tasks:
  plan: {agent: ann, description: "a: b"}
  build: {agent: bob, description: B.}
"""
COMMAND = [sys.executable, "-m", "orchestrator"]


def asked(shell: str, line: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Ask as a shell does, in a process of its own."""
    word = "" if line.endswith(" ") else line.split()[-1]
    cword = word if shell == "fish" else str(len(line.split()) - bool(word))
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environ |= {"_ORCHESTRATOR_COMPLETE": f"{shell}_complete", "COMP_WORDS": line, "COMP_CWORD": cword, **more}
    return subprocess.run(COMMAND, cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE_S)


@pytest.fixture
def offered(folder, monkeypatch, capsys):
    """What is offered for a line, in this process."""

    def ask(line: str) -> list[str]:
        monkeypatch.setenv("COMP_WORDS", line)
        monkeypatch.setenv("COMP_CWORD", "-1")
        assert completing.answer("bash_complete") == 0
        out, err = capsys.readouterr()
        assert err == ""
        return [one.removeprefix("plain,") for one in out.splitlines() if one.startswith("plain,")]

    (folder / "shop.yaml").write_text(SQUAD, "utf-8")
    return ask


def test_the_table_is_what_the_commands_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "reference" / "generate_completion.py"))
    assert Path(completing.TABLE).read_text("utf-8") == made["page"](), (
        "run python docs/reference/generate_completion.py"
    )


def test_every_parameter_can_be_completed() -> None:
    table = json.loads(Path(completing.TABLE).read_text("utf-8"))

    def walk(command: click.Command) -> int:
        own = sum(len(param.get_params(click.Context(command))) for param in [command])
        if not isinstance(command, completing.TableGroup):
            return own
        inner = [
            command.get_command(click.Context(command), name) for name in command.list_commands(click.Context(command))
        ]
        return own + sum(walk(one) for one in inner if one is not None)

    assert walk(completing.command_of("orchestrator", table["root"], table)) > 500


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("orchestrator ru", ["run", "runs"]),
        ("orchestrator run --off", ["--offline"]),
        ("orchestrator run sho", ["shop.yaml"]),
        ("orchestrator run ./sho", ["./shop.yaml"]),
        ("orchestrator run shop.yaml -i ", ["topic=", "the tone="]),
        ("orchestrator run shop.yaml --approve a", ["auto", "ask"]),
        ("orchestrator chat shop.yaml --agent ", ["ann", "bob", "cy"]),
        ("orchestrator personas render --squad shop.yaml --task ", ["plan", "build"]),
        ("orchestrator personas render --squad shop.yaml --agent b", ["bob"]),
        ("orchestrator ask hello --agent anal", ["analyst"]),
        ("orchestrator personas show data-", ["data-analyst"]),
        ("orchestrator personas new x --tier bo", ["boss"]),
        ("orchestrator ask x --model ollama/gpt-oss:", ["20b"]),
        ("orchestrator ask x --model=groq/qwen", ["groq/qwen/qwen3.8-27b"]),
        ("orchestrator init --template writer", ["writer-editor"]),
        ("orchestrator docs personas", ["personas"]),
        ("orchestrator providers test groq", ["groq"]),
        ("orchestrator runs show ", []),
        ("orchestrator memory search x --scope ", []),
        ("orchestrator run 'unclosed ", []),
    ],
)
def test_what_is_offered(offered, line, expected) -> None:
    assert sorted(offered(line)) == sorted(expected)


def test_squads_come_before_other_files(offered, folder, monkeypatch, capsys) -> None:
    (folder / "notes.yaml").write_text("a: 1", "utf-8")
    (folder / "sub").mkdir()
    (folder / "sub" / "in.yaml").write_text("tasks: {}", "utf-8")
    assert offered("orchestrator validate ") == ["gated.yaml", "shop.yaml", "squad.yaml"]
    assert offered("orchestrator validate sub/") == ["sub/in.yaml"]
    monkeypatch.setenv("COMP_WORDS", "orchestrator validate no")
    completing.answer("bash_complete")
    assert capsys.readouterr().out == "file,no\n"


def test_personas_of_the_folder_are_offered(offered, folder) -> None:
    (folder / "personas").mkdir()
    (folder / "personas" / "anna.md").write_text("x", "utf-8")
    (folder / "personas" / "README.md").write_text("x", "utf-8")
    assert offered("orchestrator personas show ann") == ["anna"]
    assert "README" not in offered("orchestrator personas show ")


def test_runs_and_their_tasks_are_offered(offered, call) -> None:
    assert call("run", "squad.yaml", "--offline", "--run-id", "first", "-q").code == 0
    assert offered("orchestrator runs show ") == ["first"]
    assert offered("orchestrator explain fi") == ["first"]
    assert sorted(offered("orchestrator explain first ")) == ["brief", "research"]
    assert offered("orchestrator runs fork first --from re") == ["research"]
    assert offered("orchestrator --state elsewhere runs show ") == []
    given = TypedWord("", {}, ".orchestrator", {})
    assert [(item.value, item.help) for item in items("run", given)] == [("first", "done (pair)")]


def test_old_runs_are_offered_once_they_are_begun(offered, call) -> None:
    assert call("run", "squad.yaml", "--offline", "--run-id", "old", "-q").code == 0
    columns = "squad, created_at, about, seal, status, cost"
    with closing(sqlite3.connect(".orchestrator/journal.db")) as journal, journal:
        for number in range(MOST_RUNS):
            made = f"INSERT INTO runs (run, {columns}) SELECT ?, {columns} FROM runs WHERE run = 'old'"
            journal.execute(made, (f"new-{number}",))
    assert "old" not in offered("orchestrator runs show ")
    assert offered("orchestrator runs show ol") == ["old"]
    assert offered("orchestrator runs fork old --from re") == ["research"]


def test_scopes_of_memory_are_offered(offered, call) -> None:
    assert call("memory", "add", "shop/ann", "Tea is hot.").code == 0
    assert offered("orchestrator memory search x --scope sh") == ["shop/ann"]


@pytest.mark.parametrize("spoilt", ["a folder", "no database", "unreadable"])
def test_what_cannot_be_read_gives_nothing(offered, folder, spoilt) -> None:
    state = folder / ".orchestrator"
    state.mkdir()
    if spoilt == "a folder":
        (state / "journal.db").mkdir()
    else:
        (state / "journal.db").write_bytes(b"SQLite format 3\0 no" if spoilt == "unreadable" else b"x" * 5000)
    assert offered("orchestrator runs show ") == []
    (folder / "shop.yaml").write_bytes(b"\xff\xfe\0tasks")
    os.mkfifo(folder / "pipe.yaml")
    assert offered("orchestrator run shop.yaml -i ") == []
    assert offered("orchestrator run /nonexistent/") == []


@pytest.mark.parametrize(
    ("text", "keys"),
    [
        ("tasks:\n  a: 1\n  'b c': 2\n    # x\n  d:\n    e: 1\nf: 1", ["a", "b c", "d"]),
        ("tasks: {a: {x: 1}, 'b': [c, {d: 1}], e: 1}\nf: {g: 1}", ["a", "b", "e"]),
        ("tasks:", []),
        ("tasks: {", []),
        ("other: 1", []),
        ("tasks: [a]", []),
        ("tasks:\r\n  a: 1\r\n\r\n  b: 2\r\n", ["a", "b"]),
    ],
)
def test_keys_are_read_by_lines(text, keys) -> None:
    assert keys_below(text, "tasks") == keys


@pytest.mark.parametrize(("shell", "line"), [("bash", "plain,shop.yaml"), ("zsh", "shop.yaml"), ("fish", "shop.yaml")])
def test_shells_are_answered_by_their_protocol(offered, folder, shell, line) -> None:
    done = asked(shell, "orchestrator run sho", folder)
    assert (done.returncode, done.stderr) == (0, "")
    assert line in done.stdout


def test_little_is_imported_for_it(offered, folder) -> None:
    code = (
        "import sys; from orchestrator.cli.entry import dispatch; dispatch([]); "
        "heavy = {'pydantic', 'rich', 'yaml', 'jinja2', 'httpx2', 'anyio'} & set(sys.modules); "
        "print(sorted(heavy), file=sys.stderr)"
    )
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    environ |= {"_ORCHESTRATOR_COMPLETE": "bash_complete", "COMP_WORDS": "orchestrator runs show ", "COMP_CWORD": "3"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=environ, capture_output=True, text=True)
    assert done.stderr.strip() == "[]"


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_names_our_program(call, shell) -> None:
    done = call("completion", shell)
    assert done.code == 0
    assert "_ORCHESTRATOR_COMPLETE" in done.out
    assert f"orchestrator completion {shell}" in call("completion", "--help").out


BASH = shutil.which("bash")
DRIVER = """
orchestrator() { %s "$@"; }
compopt() { local IFS=" "; OPTIONS+=" $*"; }
eval "$(orchestrator completion bash)"
OPTIONS=
COMP_LINE="$1" COMP_POINT=${#1}
IFS=$' \\n' read -ra COMP_WORDS <<< "$1"
[[ "$1" == *' ' ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_orchestrator_completion "$PROGRAM"
printf '%%s\\n' "${COMPREPLY[@]}"
echo "options:$OPTIONS"
"""


@pytest.mark.skipif(BASH is None, reason="there is no bash: install it")
@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("orchestrator run ", ["gated.yaml", "shop.yaml", "squad.yaml", "notes.txt", "options: -o filenames"]),
        ("orchestrator run shop.yaml -i to", ["topic=", "options: -o nospace"]),
        ("orchestrator runs sh", ["show", "options:"]),
    ],
)
def test_a_real_bash_takes_what_is_offered(offered, folder, line, expected) -> None:
    (folder / "notes.txt").write_text("x", "utf-8")
    program = folder / "home" / "orchestrator"
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m orchestrator "$@"\n', "utf-8")
    program.chmod(0o755)
    environ = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "HOME": str(folder), "PROGRAM": str(program)}
    assert BASH is not None
    script = DRIVER % " ".join(COMMAND)
    done = subprocess.run(
        [BASH, "--norc", "-c", script, "bash", line],
        cwd=folder, env=environ, capture_output=True, text=True, timeout=PATIENCE_S,
    )  # fmt: skip
    assert done.stderr == ""
    assert [word for word in done.stdout.splitlines() if word != "home"] == expected
