"""`tools ls|show|call`, and how the code of a folder is asked for."""

from __future__ import annotations

import json
import sys

import pytest

from orchestrator.cli.exits import Exit

ADD = "import sys; print(sum(map(int, sys.argv[1:])))"
SQUAD = f"""\
name: rates
offline: auto
workspace: docs
tools:
  convert: {{python: "mytools.py:convert", description: Convert euros.}}
  add: {{command: [{sys.executable}, -c, "{ADD}", "{{numbers}}"], args: {{numbers: {{type: list}}}}}}
agents:
  ann: {{persona: analyst, tools: [convert, read_file]}}
tasks:
  price: {{agent: ann, description: "Price 10 EUR in USD."}}
"""
CODE = "def convert(amount: float, to: str = 'USD') -> float:\n    print('noise')\n    return amount * 1.5\n"


@pytest.fixture(autouse=True)
def rates(folder):
    (folder / "rates.yaml").write_text(SQUAD)
    (folder / "mytools.py").write_text(CODE)
    (folder / "docs").mkdir()
    (folder / "docs" / "a.md").write_text("Hello\n")
    return folder


def test_tools_are_listed_without_running_their_code(call, folder):
    (folder / "mytools.py").write_text(CODE + "open('ran', 'w')\n")
    ended = call("tools", "ls", "rates.yaml")
    assert ended.code == Exit.DONE
    rows = {line.split()[0]: line for line in ended.out.splitlines()}
    assert "python mytools.py:convert" in rows["convert"]
    assert "risky" in rows["add"]
    assert "built in" in rows["read_file"]
    listed = json.loads(call("tools", "ls", "--json").out)
    assert {"name", "risk", "approval", "description", "schema_version"} <= listed[0].keys()
    assert "convert" not in [row["name"] for row in listed]
    assert not (folder / "ran").exists()


def test_a_tool_is_shown_as_its_text_says_and_once_allowed_as_a_model_is_told(call):
    shown = call("tools", "show", "convert", "rates.yaml").out
    assert "(amount: float, to: str='USD') -> float" in shown
    assert call("trust").code == Exit.DONE
    shown = json.loads(call("tools", "show", "convert", "rates.yaml", "--json").out)
    assert shown["parameters"]["required"] == ["amount"]
    missing = call("tools", "show", "convrt", "rates.yaml")
    assert (missing.code, "did you mean 'convert'?" in missing.err) == (Exit.NOTHING, True)


def test_code_is_asked_for_before_it_runs_and_after_each_change(call, folder):
    for command in (("tools", "call", "convert", "rates.yaml", "amount=2"), ("run", "rates.yaml", "--offline")):
        ended = call(*command)
        assert ended.code == Exit.CREDENTIALS
        assert "Python in mytools.py, named by rates.yaml" in ended.err
        assert "hint: `orchestrator trust` allows it here from now on" in ended.err
    assert "Python in mytools.py" in call("trust").err
    called = call("tools", "call", "convert", "rates.yaml", "amount=2")
    assert (called.code, called.out) == (Exit.DONE, "3.0\n")
    assert "noise" in called.err
    nothing = call("tools", "call", "convert", "rates.yaml")
    assert (nothing.code, "amount" in nothing.err, "tools show convert" in nothing.err) == (Exit.USAGE, True, True)
    assert call("run", "rates.yaml", "--offline").code == Exit.DONE
    assert "Python in mytools.py" in call("trust", "ls").out
    (folder / "mytools.py").write_text(CODE + "#")
    assert call("run", "rates.yaml", "--offline").code == Exit.CREDENTIALS
    assert call("run", "rates.yaml", "--offline", "--trust").code == Exit.DONE
    assert call("run", "rates.yaml", "--offline").code == Exit.DONE
    assert call("trust", "rm").code == Exit.DONE
    assert call("run", "rates.yaml", "--offline").code == Exit.CREDENTIALS


def test_a_call_from_elsewhere_names_the_folder_to_allow(call, folder, monkeypatch, tmp_path_factory):
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    ended = call("tools", "call", "convert", str(folder / "rates.yaml"), "amount=2")
    assert f"`orchestrator trust {folder}` allows it" in ended.err
    assert call("trust", str(folder)).code == Exit.DONE
    assert call("tools", "call", "convert", str(folder / "rates.yaml"), "amount=2").out == "3.0\n"


def test_what_is_risky_waits_for_a_person(call):
    assert call("trust").code == Exit.DONE
    command = ("tools", "call", "add", "rates.yaml", "--json", '{"numbers": ["1", "2"]}')
    ended = call(*command)
    assert (ended.code, ended.out) == (Exit.WAITING, "")
    assert "--approve auto" in ended.err
    assert call(*command, "--approve", "deny").code == Exit.FAILED
    assert call(*command, "--approve", "auto").out == "3\n"
    assert call("tools", "call", "add", "rates.yaml", 'numbers=["4","5"]', "--approve", "auto").out == "9\n"


def test_tools_for_files_read_the_workspace_or_the_working_folder_and_write_only_where_it_is_said(call, folder):
    assert call("tools", "call", "read_file", "rates.yaml", "path=a.md").out == "Hello\n\n"
    assert call("tools", "call", "read_file", "path=docs/a.md").out == "Hello\n\n"
    refused = call("tools", "call", "write_file", "path=x.md", "content=x", "--approve", "auto")
    assert (refused.code, "read-only" in refused.err) == (Exit.FAILED, True)
    (folder / "rates.yaml").write_text(SQUAD.replace("workspace: docs", "workspace: {write: true}"))
    written = ("path=docs/b.md", "content=x", "--approve", "auto")
    assert call("tools", "call", "write_file", "rates.yaml", *written).code == Exit.DONE
    refused = call("tools", "call", "write_file", "rates.yaml", "path=rates.yaml", "content=x", "--approve", "auto")
    assert "only people write" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (("nothing",), Exit.NOTHING, "there is no tool nothing"),
        (("read_fil", "path=x"), Exit.NOTHING, "did you mean 'read_file'?"),
        (("read_file", "nowhere.yaml"), Exit.USAGE, "no squad file nowhere.yaml"),
        (("read_file", "--json", "[1]"), Exit.USAGE, "are a JSON object"),
        (("read_file", "--json", "{"), Exit.USAGE, "--json:"),
        (("read_file", "first_line=x", "path=x"), Exit.USAGE, "first_line=x is no integer"),
        (("read_file", "pth=x"), Exit.USAGE, "wrong arguments"),
        (("read_file", "path=nowhere"), Exit.FAILED, "No such file"),
    ],
)
def test_what_cannot_be_called_is_told_with_an_exit_code(call, words, code, says):
    ended = call("tools", "call", *words)
    assert (ended.code, says in ended.err) == (code, True), ended.err


def test_a_routing_file_declares_tools_for_every_squad_beside_itself(call, folder):
    conf = folder / "conf"
    conf.mkdir()
    both = '{half: {python: "half.py"}, convert: {python: "half.py:half"}}'
    (conf / "routing.yaml").write_text(f"strategy: tier\ntools: {both}\n")
    (conf / "half.py").write_text("def half(x: float) -> float:\n    'Halve.'\n    return x / 2\n")
    (folder / "rates.yaml").write_text(SQUAD.replace("[convert, read_file]", "[convert, half]"))
    routing = ("--routing", "conf/routing.yaml")
    assert call("validate", "rates.yaml", "conf/routing.yaml", *routing).code == Exit.DONE
    assert "unknown-tool" in call("validate", "rates.yaml").out
    rows = {line.split()[0]: line for line in call("tools", "ls", "rates.yaml", *routing).out.splitlines()}
    assert ("mytools.py:convert" in rows["convert"], "half.py:half" in rows["half"]) == (True, True)
    refused = call("tools", "call", "half", "x=3", *routing)
    assert refused.code == Exit.CREDENTIALS
    assert call("trust", "conf").code == Exit.DONE
    assert call("tools", "call", "half", "x=3", *routing).out == "1.5\n"
    assert call("run", "rates.yaml", "--offline", *routing).code == Exit.CREDENTIALS
    assert call("run", "rates.yaml", "--offline", "--trust", *routing).code == Exit.DONE
    (conf / "routing.yaml").write_text("strategy: tier\ntools: {half: {python: ../mytools.py}}\n")
    for file in ("rates.yaml", "conf/routing.yaml"):
        ended = call("validate", file, *routing)
        assert ended.code == Exit.FAILED
        assert "conf/routing.yaml:2:24: error[unsafe-path]" in ended.out


def test_a_tool_that_cannot_be_loaded_ends_a_run_before_it_begins(call, folder):
    (folder / "mytools.py").write_text("import nowhere_to_be_found\ndef convert(): ...\n")
    ended = call("run", "rates.yaml", "--offline", "--trust")
    assert ended.code == Exit.FAILED
    assert "the tool 'convert' cannot be loaded: mytools.py:1: ModuleNotFoundError" in ended.err
    assert "hint: correct it" in ended.err
    assert not json.loads(call("runs", "ls", "--json").out or "[]")


def test_a_module_of_the_working_folder_is_not_imported_by_a_tool_that_stands_elsewhere(spawn, folder):
    (folder / "lib").mkdir()
    (folder / "lib" / "mytools.py").write_text("import beside_the_squad\ndef convert(): return 'unasked'\n")
    (folder / "beside_the_squad.py").write_text("raise SystemExit('unasked')\n")
    text = (folder / "rates.yaml").read_text()
    (folder / "rates.yaml").write_text(text.replace('"mytools.py:convert"', '"lib/mytools.py:convert"'))
    ended = spawn("--trust", "tools", "call", "convert", "rates.yaml")
    assert (ended.returncode, b"No module named 'beside_the_squad'" in ended.stderr) == (1, True), ended.stderr


def test_a_word_that_is_neither_a_squad_nor_an_argument_is_told(call):
    ended = call("tools", "call", "read_file", "path")
    assert ended.code == Exit.USAGE
    assert "an argument is KEY=VALUE" in ended.err
