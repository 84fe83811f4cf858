"""Tools of a file that raise, hang, flood or return what is no text: each call ends, and is told to the model."""

from __future__ import annotations

import json
import threading

import pytest

from orchestrator import Squad
from orchestrator.errors import ToolUnusable
from providers.messages import FinishReason, Response, ToolCall, ToolResult, Usage, assistant
from tests.orchestrator.squads import Answers, run

pytestmark = pytest.mark.anyio

CODE = """\
import sys, threading
from dataclasses import dataclass

def raises(): raise RuntimeError("no \\x1b[31mway")
def leaves(): sys.exit(3)
def interrupts(): raise KeyboardInterrupt
def silent():
    class Silent(Exception):
        def __str__(self): raise self
    raise Silent
def hangs(): threading.Event().wait()
async def hangs_too():
    import anyio
    await anyio.sleep_forever()
def floods(): return "x" * 50_000_000
def yields():
    while True: yield "x"
def raw(): return b"\\xff\\xfe\\x00"
def cyclic():
    a = []
    a.append(a)
    return a
def deep():
    a = []
    for _ in range(100_000): a = [a]
    return a
def objects(): return {object(), 1, lambda: 1}
def numbers(): return [float("nan"), float("inf"), 10 ** 5000]
def typed(amount: int, unit: str = "EUR"): return f"{amount} {unit}"
def surrogate(): return "a\\ud800b"
"""
SQUAD = """\
name: hostile
tools: {{{tools}}}
agents:
  ann: {{persona: analyst, tools: [{names}]}}
tasks:
  go: {{agent: ann, description: "Go."}}
outputs: {{go: "${{{{ tasks.go.output }}}}"}}
"""


def calling(name: str, arguments: str = "{}") -> Answers:
    def answer(agent, request):
        last = request.messages[-1].parts[-1]
        if isinstance(last, ToolResult):
            return json.dumps([last.is_error, last.content[:2000], len(last.content)])
        said = assistant(ToolCall("c", name, arguments))
        return Response(said, FinishReason.TOOL_CALLS, Usage(10, output=5), "fake", "fake", 10)

    return Answers(answer)


async def told(folder, name: str, arguments: str = "{}", more: str = "") -> tuple[bool, str, int]:
    (folder / "mytools.py").write_text(CODE, "utf-8")
    file = folder / "squad.yaml"
    file.write_text(SQUAD.format(tools=f'{name}: {{python: "mytools.py"{more}}}', names=name))
    result, _ = await run(Squad.from_file(file), calling(name, arguments))
    assert result.status == "done", result.errors
    is_error, text, size = json.loads(result.outputs["go"])
    return is_error, text, size


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("raises", "RuntimeError: no "),
        ("leaves", "SystemExit: 3"),
        ("interrupts", "KeyboardInterrupt"),
        ("silent", "no message that can be read"),
        ("hangs", "no answer within 0.2 s"),
        ("cyclic", ""),
        ("deep", ""),
        ("hangs_too", "no answer within 0.2 s"),
    ],
)
async def test_what_fails_or_never_ends_is_told(tmp_path, name, says):
    is_error, text, size = await told(tmp_path, name, more=", timeout: 200ms" if "hangs" in name else "")
    assert is_error or name in ("cyclic", "deep")
    assert says in text
    assert "\x1b" not in text
    assert size < 50_000


@pytest.mark.few(3)
@pytest.mark.parametrize("name", ["floods", "yields", "raw", "objects", "numbers", "surrogate"])
async def test_what_is_too_much_or_no_text_is_bounded(tmp_path, name):
    _, text, size = await told(tmp_path, name, more=", max_chars: 1000, timeout: 60s")
    assert size < 6000, text
    text.encode()


@pytest.mark.few(3)
@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ('{"amount": "many"}', "wrong arguments"),
        ('{"amount": 1, "other": 2}', "wrong arguments"),
        ("{}", "wrong arguments"),
        ("[1]", "wrong arguments"),
        ('{"amount": 1', "wrong arguments"),
        ('{"amount": 3}', "3 EUR"),
    ],
)
async def test_arguments_that_break_the_signature_call_nothing(tmp_path, arguments, says):
    assert says in (await told(tmp_path, "typed", arguments))[1]


async def test_a_name_that_is_no_tool_is_told(tmp_path):
    (tmp_path / "mytools.py").write_text(CODE)
    file = tmp_path / "squad.yaml"
    file.write_text(SQUAD.format(tools='typed: {python: "mytools.py"}', names="typed"))
    result, _ = await run(Squad.from_file(file), calling("deploy"))
    assert "there is no tool of this name" in result.outputs["go"]


@pytest.mark.parametrize(
    "code",
    ["raise KeyboardInterrupt\n", "import sys; sys.exit()\n", "def f(): f()\nf()\n", "raise BaseException('x')\n"],
)
async def test_a_file_that_raises_anything_when_it_is_loaded_is_one_typed_error(tmp_path, code):
    (tmp_path / "mytools.py").write_text(code + "def typed(): ...\n")
    file = tmp_path / "squad.yaml"
    file.write_text(SQUAD.format(tools='typed: {python: "mytools.py"}', names="typed"))
    before = threading.active_count()
    with pytest.raises(ToolUnusable, match=r"mytools\.py:\d+: "):
        await run(Squad.from_file(file), calling("typed"))
    assert threading.active_count() <= before + 1
