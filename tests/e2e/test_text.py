"""Text of every kind, from every side, on every console: nothing crashes, files are UTF-8, sound text stays."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from agents import tool
from orchestrator import RunResult
from providers.messages import FinishReason, Message, Request, Response, ToolCall, Usage
from tests.e2e.command import ESCAPE, Ended, files_below, orchestrator, without_traceback
from tests.e2e.files import write_routing, write_squad
from tests.loopback import Loopback
from tests.orchestrator.squads import Answers, run, squad

SOUND = "👩‍👩‍👧‍👦 👍🏽 🇩🇪 ❤️ é e\u0301 Å\u030a שלום \u200fمرحبا\u200f 漢字 かな 한글 Ä Ã© â‚¬ \u2028 \U0001d54f"
"""Joined emoji, skin tones, flags, combining marks, right-to-left, CJK, mojibake, a line separator, an astral one."""

CONSOLES = {
    "UTF-8": {"PYTHONIOENCODING": "utf-8"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "ASCII": {"PYTHONIOENCODING": "ascii"},
    "LANG=C": {"LANG": "C", "LC_ALL": "C"},
    "LANG=C, not UTF-8": {"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "cp1252, LANG=C": {"PYTHONIOENCODING": "cp1252", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
}
ALWAYS = ("UTF-8", "LANG=C, not UTF-8")
"""Those of a plain run: each console starts an interpreter of its own."""
LONG = [pytest.param(name, marks=pytest.mark.long) for name in CONSOLES if name not in ALWAYS]
consoles = pytest.mark.parametrize("console", [*ALWAYS, *LONG])
poor_consoles = pytest.mark.parametrize("console", [ALWAYS[1], pytest.param("cp1252", marks=pytest.mark.long)])

HOSTILE = "\x1b[2J\x1b]0;owned\x07\x1b[31mred\x1b[0m \x9b31m \x00\x07\x08 \u202ereversed\u202c \ufefftail"
"""Escape sequences, a terminal title, C1 controls, NUL, bell, backspace, a bidi override, a byte order mark."""
BIDI = ("\u202e", "\u202c", "\u2066", "\u2069")


def is_inert(data: bytes) -> bool:
    """Whether a terminal shows these bytes and obeys none of them."""
    return ESCAPE.search(data) is None and not any(mark.encode() in data for mark in BIDI)


def says(loopback: Loopback, text: str, *, escaped: bool = False) -> str:
    """Let the model say `text`, and return its address."""
    loopback.literal = json.dumps(text, ensure_ascii=escaped).encode()
    return loopback.url("literal")


def run_one(folder: Path, address: str, *options: str | bytes, env: dict[str, str], **more: object) -> Ended:
    """Run a squad whose only task repeats its input, with a persona of unusual letters."""
    persona = {"name": f"Zoë {SOUND}", "role": SOUND, "tier": "worker"}
    task = {"agent": "ann", "description": f"Say ${{{{ inputs.x }}}} and {SOUND}", "output_file": "docs/ä 漢.md"}
    write_squad(
        folder / "squad.yaml",
        {"a": task},
        name=f"Ünïcode {SOUND}",
        agents={"ann": {"persona": persona}},
        inputs={"x": {"type": "string", "default": SOUND}},
    )
    write_routing(folder / "agent_routing.yaml", {"only": address}, attempts={"per_turn": 1})
    return orchestrator("run", "squad.yaml", "--out", "out", *options, cwd=folder, env=env)


def artifact(folder: Path) -> bytes:
    [data] = files_below(folder / "out").values()
    return data


# ---- sound text


@consoles
@pytest.mark.few(1)
def test_sound_text_comes_through_unchanged(loopback: Loopback, tmp_path: Path, console: str):
    ended = run_one(tmp_path, says(loopback, SOUND), "-i", f"x={SOUND}".encode(), env=CONSOLES[console])
    assert ended.code == 0, ended.err
    assert without_traceback(ended)
    assert artifact(tmp_path) == SOUND.encode()
    [request] = loopback.requests
    told = {message["role"]: message["content"] for message in request.body["messages"]}
    assert told["user"].count(SOUND) == 2, "the input and the task's own words"
    assert told["system"].count(SOUND) >= 2, "the persona's words"
    if console in ("UTF-8", "LANG=C"):
        assert SOUND.replace("\u2028", "") in ended.out


@pytest.mark.long
@poor_consoles
def test_events_are_ascii_on_any_console(loopback: Loopback, tmp_path: Path, console: str):
    ended = run_one(tmp_path, says(loopback, SOUND), "--json", env=CONSOLES[console])
    assert ended.code == 0, ended.err
    assert ended.stdout.isascii()
    [written] = ended.of_type("task.ended")
    assert written["output"] == SOUND


@pytest.mark.long
@poor_consoles
@pytest.mark.parametrize("command", ["validate", "graph", "config", "explain"])
@pytest.mark.few(2)
def test_what_only_reads_prints_on_poor_consoles_too(tmp_path: Path, console: str, command: str):
    write_squad(tmp_path / "späß.yaml", {"a": SOUND}, name=SOUND, offline="always")
    given = ("a",) if command == "explain" else ("späß.yaml".encode(),)
    if command == "explain":
        orchestrator("run", "späß.yaml".encode(), cwd=tmp_path)
    ended = orchestrator(command, *given, cwd=tmp_path, env=CONSOLES[console])
    assert (ended.code, without_traceback(ended)) == (0, True), ended.err


@pytest.mark.long
@poor_consoles
def test_a_question_from_a_pipe_is_read_as_utf8_whatever_the_console(loopback: Loopback, tmp_path: Path, console: str):
    write_routing(tmp_path / "agent_routing.yaml", {"only": says(loopback, SOUND)})
    for stdin in (SOUND.encode(), b"\xef\xbb\xbf" + SOUND.encode()):
        ended = orchestrator("ask", "-", cwd=tmp_path, env=CONSOLES[console], stdin=stdin)
        assert ended.code == 0, ended.err
        assert loopback.requests[-1].body["messages"][-1]["content"] == SOUND


def test_a_byte_order_mark_before_the_inputs_and_the_squad_is_no_mistake(loopback: Loopback, tmp_path: Path):
    address = says(loopback, SOUND)
    run_one(tmp_path, address, env={})
    for file, text in {
        "inputs.json": json.dumps({"x": SOUND}),
        "squad.yaml": (tmp_path / "squad.yaml").read_text(),
    }.items():
        (tmp_path / file).write_text(text, "utf-8-sig")
    ended = orchestrator("run", "squad.yaml", "--inputs", "inputs.json", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert f"Say {SOUND} and" in loopback.requests[-1].body["messages"][-1]["content"]


# ---- unsound text


@pytest.mark.long
@pytest.mark.parametrize(
    ("said", "written"),
    [
        (rb'"a\ud83d b"', "a\ufffd b"),
        pytest.param(rb'"\udc00\ud83d \ud83d\ude00"', "\ufffd\ufffd 😀", marks=pytest.mark.long),
        (rb'"nul \u0000 bell \u0007 \ufeff end"', "nul  bell   end"),
        (b'"caf' + b"\xe9 \xff" + b'"', "caf\ufffd \ufffd"),
        pytest.param(
            b'"\xed\xa0\xbd half a pair as bytes"', "\ufffd\ufffd\ufffd half a pair as bytes", marks=pytest.mark.long
        ),
        ('"Ã© mojibake â‚¬"'.encode(), "Ã© mojibake â‚¬"),
    ],
)
@pytest.mark.few(2)
def test_what_a_model_says_wrongly_is_mended_in_the_file(loopback: Loopback, tmp_path: Path, said: bytes, written: str):
    loopback.literal = said
    ended = run_one(tmp_path, loopback.url("literal"), env=CONSOLES["cp1252"])
    assert ended.code == 0, ended.err
    assert artifact(tmp_path).decode("utf-8") == written


@pytest.mark.long
@poor_consoles
def test_an_argument_that_is_no_utf8_is_taken_with_replacements(loopback: Loopback, tmp_path: Path, console: str):
    ended = run_one(tmp_path, says(loopback, "ok"), "-i", b"x=caf\xe9 \xff.", env=CONSOLES[console])
    assert ended.code == 0, ended.err
    assert "Say caf\ufffd \ufffd. and" in loopback.requests[0].body["messages"][-1]["content"]


@pytest.mark.long
@poor_consoles
def test_a_pipe_that_is_no_utf8_is_read_in_the_consoles_encoding(loopback: Loopback, tmp_path: Path, console: str):
    write_routing(tmp_path / "agent_routing.yaml", {"only": says(loopback, "ok")})
    ended = orchestrator("ask", "-", cwd=tmp_path, env=CONSOLES[console], stdin=b"caf\xe9!")
    assert ended.code == 0, ended.err
    expected = "café!" if "cp1252" in console else "caf\ufffd!"
    assert loopback.requests[0].body["messages"][-1]["content"] == expected


def test_inputs_of_a_file_are_mended_too(loopback: Loopback, tmp_path: Path):
    (tmp_path / "inputs.json").write_text(r'{"x": "half \ud83d nul \u0000 red \u001b[31m pair \ud83d\ude00"}')
    ended = run_one(tmp_path, says(loopback, "ok"), "--inputs", "inputs.json", env={})
    assert ended.code == 0, ended.err
    assert "Say half \ufffd nul  red [31m pair 😀 and" in loopback.requests[0].body["messages"][-1]["content"]


# ---- text that a terminal would obey


@pytest.fixture
def hostile(loopback: Loopback) -> Iterator[str]:
    return says(loopback, f"before {HOSTILE} after", escaped=True)


@pytest.mark.parametrize("options", [(), ("--json",), ("--verbose",)], ids=" ".join)
def test_a_models_escape_sequences_do_not_reach_the_terminal(tmp_path: Path, hostile: str, options: tuple[str, ...]):
    ended = run_one(tmp_path, hostile, *options, env={})
    assert ended.code == 0, ended.err
    assert is_inert(ended.stdout)
    assert is_inert(ended.stderr)
    assert artifact(tmp_path).startswith(b"before ")
    told = orchestrator("explain", "a", cwd=tmp_path, env={})
    assert is_inert(told.stdout + told.stderr)


@pytest.mark.parametrize("options", [(), ("--json",), ("--stream",), ("--verbose",)], ids=" ".join)
def test_an_answers_escape_sequences_do_not_reach_the_terminal(tmp_path: Path, hostile: str, options: tuple[str, ...]):
    write_routing(tmp_path / "agent_routing.yaml", {"only": hostile})
    ended = orchestrator("ask", "hello", *options, cwd=tmp_path, env={})
    assert ended.code == 0, ended.err
    assert is_inert(ended.stdout)
    assert is_inert(ended.stderr)
    assert "before" in ended.out
    assert "after" in ended.out


@pytest.mark.parametrize("options", [(), ("--json",), ("--verbose",)], ids=" ".join)
def test_an_errors_escape_sequences_do_not_reach_the_terminal(
    loopback: Loopback, tmp_path: Path, options: tuple[str, ...]
):
    loopback.literal = f'"{HOSTILE}'.encode()  # never closed: the body is shown in the error
    ended = run_one(tmp_path, loopback.url("literal"), *options, env={})
    assert ended.code == 8
    assert "red" in ended.out + ended.err
    assert is_inert(ended.stdout)
    assert is_inert(ended.stderr)


def test_escape_sequences_of_files_and_arguments_do_not_reach_the_terminal(tmp_path: Path):
    name = "\x1b[31msquad\x1b[0m.yaml"
    (tmp_path / name).write_text('name: "\\e[31mred"\ntasks: {"\\e[2J": {agent: "\\u202eann"}}\n')
    for command in ("run", "validate", "config", "graph"):
        ended = orchestrator(command, name, cwd=tmp_path)
        assert ended.code == 1
        assert is_inert(ended.stdout + ended.stderr), (command, ended)
    for arguments in (
        ("run", "\x1b[31mno.yaml"),
        ("run", name, "-i", "\x1b[31m"),
        ("\x1b[31m",),
        ("ask", "--\x1b[31m"),
    ):
        ended = orchestrator(*arguments, cwd=tmp_path)
        assert is_inert(ended.stdout + ended.stderr), (arguments, ended)


# ---- from Python

LONE = "half \ud83d nul \x00 red \x1b[31m pair \ud83d\ude00"
MENDED = "half \ufffd nul  red [31m pair 😀"


@pytest.mark.anyio
@pytest.mark.parametrize("where", ["input", "description", "persona", "answer", "name"])
async def test_lone_surrogates_passed_by_an_application_are_mended(tmp_path: Path, where: str):
    place = {"input": "x", "description": "x", "persona": "x", "name": "x"} | {where: LONE}
    given = squad(
        {"a": {"agent": "ann", "description": f"{place['description']} ${{{{ inputs.x }}}}", "output_file": "a.md"}},
        people={"ann": {"persona": {"name": "T", "role": place["persona"], "tier": "worker"}}},
        inputs={"x": {"type": "string"}},
        name=place["name"],
    )
    manager = Answers(lambda agent, request: LONE if where == "answer" else "ok")
    result, _ = await run(given, manager, inputs={"x": place["input"]}, out=tmp_path)
    assert result.status == "done", result.errors
    assert (tmp_path / "a.md").read_text("utf-8") == (MENDED if where == "answer" else "ok")
    if where in ("input", "description", "persona"):
        assert MENDED in manager.prompts("ann")[0]


@pytest.mark.anyio
async def test_lone_surrogates_in_a_tools_result_are_mended_before_a_model_reads_them(tmp_path: Path):
    @tool
    async def look(why: str) -> str:
        """Look."""
        return f"{why} {LONE}"

    def answer(agent: str, request: Request) -> Response | str:
        if request.messages[-1].role == "tool":
            return f"It said: {request.messages[-1].parts[0].content}"  # type: ignore[union-attr]
        call = ToolCall("c1", "look", '{"why": "\\ud83d"}')
        return Response(Message("assistant", (call,)), FinishReason.TOOL_CALLS, Usage(1), "fake", "fake", 0)

    agents = {"ann": {"persona": {"name": "T", "role": "r", "tier": "worker"}, "tools": ["look"]}}
    given = squad({"a": {"agent": "ann", "description": "x", "output_file": "a.md"}}, people=agents, tools=[look])
    result: RunResult
    result, _ = await run(given, Answers(answer), out=tmp_path)
    assert result.status == "done", result.errors
    assert (tmp_path / "a.md").read_text("utf-8") == f"It said: \ufffd {MENDED}"
