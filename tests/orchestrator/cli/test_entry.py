"""The outermost place: streams, encodings, failures told once."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from orchestrator import __main__ as entry_point
from orchestrator._version import __version__
from orchestrator.cli.app import COMMANDS, Settings
from orchestrator.cli.failures import tell_failure
from orchestrator.cli.ui.console import Console, wants_color
from orchestrator.cli.ui.masking import mask_secrets
from tests.patience import PATIENCE_S


def test_version(call):
    assert call("--version") == (0, f"orchestrator {__version__}\n", "")
    assert call("--quiet", "--version").out == f"orchestrator {__version__}\n"


def test_help_lists_every_command_and_imports_none():
    code = (
        "import sys; from orchestrator.__main__ import main; assert main(['--help']) == 0;"
        "print([m for m in sys.modules if m.startswith(('orchestrator.', 'agents', 'providers', 'personas'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    shown, _, modules = done.stdout.rpartition("\n[")
    assert done.returncode == 0, done.stderr
    for name, (_, line) in COMMANDS.items():
        assert name in shown
        assert line in " ".join(shown.split())
    loaded = {name.strip(" '[]\n") for name in modules.split(",")}
    assert loaded == {
        "orchestrator.__main__",
        "orchestrator._version",
        "orchestrator.cli",
        "orchestrator.cli.app",
        "orchestrator.cli.entry",
        "orchestrator.cli.examples",
        "orchestrator.cli.loading",
        "orchestrator.cli.other_names",
    }


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_has_help(call, name):
    done = call(name, "--help")
    assert done.code == 0
    assert done.out.startswith(f"Usage: orchestrator {name}")
    assert "--state DIR" in done.out


@pytest.mark.parametrize("arguments", [["nope"], ["--nope"], ["run"], ["run", "--nope"], ["validate", "--format", "x"]])
def test_usage_errors(call, arguments):
    done = call(*arguments)
    assert done.code == 2
    assert done.out == ""
    assert "Usage: orchestrator" in done.err


def test_a_misspelt_command_names_the_nearest(call):
    assert "Did you mean 'validate'?" in call("valdate").err
    assert "Did you mean 'run squad.yaml'?" in call("squad.yaml").err


def test_common_options_stand_before_or_after_the_command(call, folder):
    for arguments in (["--state", "here", "run", "squad.yaml"], ["run", "squad.yaml", "--state", "here"]):
        assert call(*arguments).code == 0
        (folder / "here" / "journal.db").unlink()
    assert call("--state", "lost", "run", "squad.yaml", "--state", "found").code == 0
    assert (folder / "found" / "journal.db").exists()


def test_the_environment_names_the_state_folder_and_an_option_outranks_it(call, folder, monkeypatch):
    monkeypatch.setenv("ORCHESTRATOR_STATE", "from-environment")
    call("run", "squad.yaml")
    assert (folder / "from-environment" / "journal.db").exists()
    call("run", "squad.yaml", "--state", "from-option")
    assert (folder / "from-option" / "journal.db").exists()


@pytest.mark.long
@pytest.mark.parametrize(
    "encoding", ["ascii", pytest.param("cp1252", marks=pytest.mark.long), pytest.param("utf-8", marks=pytest.mark.long)]
)
def test_no_encoding_breaks_it(spawn, encoding, folder):
    squad = folder.joinpath("squad.yaml").read_text().replace("default: tea", "default: 日本語 🛒 é")
    folder.joinpath("squad.yaml").write_text(squad, "utf-8")
    for arguments in (["run", "squad.yaml"], ["graph", "squad.yaml"], ["config", "squad.yaml"], ["doctor"]):
        done = spawn(*arguments, PYTHONIOENCODING=encoding)
        assert done.returncode == 0, done.stderr
        assert b"Traceback" not in done.stderr
        done.stdout.decode(encoding)


@pytest.mark.long
def test_the_c_locale_works(spawn):
    done = spawn("graph", "squad.yaml", LANG="C", LC_ALL="C", PYTHONUTF8="0", PYTHONCOERCECLOCALE="0")
    assert done.returncode == 0
    assert done.stdout.decode("ascii").startswith("o  research")


@pytest.mark.long
def test_json_is_whole_in_every_encoding(spawn, folder):
    done = spawn("ask", "日本語 🛒", "--offline", "--json", PYTHONIOENCODING="ascii")
    assert "日本語 🛒" in json.loads(done.stdout)["text"]


@pytest.mark.long
def test_a_reader_that_leaves_is_no_crash(folder):
    command = [sys.executable, "-m", "orchestrator", "run", "squad.yaml", "--json"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    error = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=PATIENCE_S) == 130
    assert b"Traceback" not in error
    assert b"BrokenPipe" not in error


@pytest.mark.long
def test_both_readers_may_leave(folder):
    shell = f"{sys.executable} -m orchestrator run squad.yaml 2>&1 | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", shell], capture_output=True, text=True, timeout=PATIENCE_S)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] in ("0", "130")


def test_a_stranger_called_agents_is_named(spawn, folder):
    package = folder / "strange" / "agents"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("")
    done = spawn("run", "squad.yaml", FIRST=str(folder / "strange"))
    assert done.returncode == 3
    assert b"is not part of squad-orchestrator" in done.stderr
    assert b"openai-agents" in done.stderr
    doctor = spawn("doctor", FIRST=str(folder / "strange"))
    assert doctor.returncode == 1
    assert b"fail  agents" in doctor.stdout


def test_an_internal_error_is_one_line_without_secrets(capsys, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "very-secret-value")
    error = ZeroDivisionError("divided very-secret-value by \x1b[31mzero\x1b[0m")
    tell_failure(Console(Settings()), error, os.environ, internal=True, verbose=False)
    assert capsys.readouterr().err.splitlines() == [
        "error: internal error: ZeroDivisionError: divided *** by zero",
        "hint: `--verbose` shows the traceback",
    ]


def test_verbose_shows_the_traceback_without_secrets(capsys, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "very-secret-value")
    try:
        raise ZeroDivisionError("very-secret-value")
    except ZeroDivisionError as error:
        tell_failure(Console(Settings()), error, os.environ, internal=True, verbose=True)
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert "test_entry.py" in shown
    assert "very-secret-value" not in shown


def test_what_looks_like_a_key_is_masked_wherever_it_came_from():
    text = "sk-proj-abcdefghijklmnopqrst and Authorization: Bearer abcdefghijk in the desk-top-publishing-programs"
    assert mask_secrets(text, {}) == "*** and Authorization: Bearer *** in the desk-top-publishing-programs"
    assert mask_secrets("a word", {"SOME_KEY": "word"}) == "a word"


@pytest.mark.parametrize(
    ("color", "environ", "terminal", "wanted"),
    [
        (None, {}, True, True),
        (None, {}, False, False),
        (None, {"NO_COLOR": "1"}, True, False),
        (None, {"NO_COLOR": ""}, True, True),
        (None, {"TERM": "dumb"}, True, False),
        (True, {"NO_COLOR": "1"}, False, True),
        (False, {}, True, False),
    ],
)
def test_colour(color, environ, terminal, wanted):
    assert wants_color(Settings(color=color), environ, terminal=terminal) is wanted


def test_completion(call):
    for shell in ("bash", "zsh", "fish"):
        assert "_ORCHESTRATOR_COMPLETE" in call("completion", shell).out


def test_the_script_and_the_module_are_the_same_function():
    assert entry_point.main.__module__ == "orchestrator.__main__"
