"""How gates are answered."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import anyio
import pytest

from orchestrator.cli.ui.gates import Asking, answering, ask_person, standing_answer
from orchestrator.events import GateAnswered, GateOpened

pytestmark = pytest.mark.anyio
GATE = GateOpened("g", "Good \x1b[31menough?", ("approve", "revise", "reject"), {"brief": "[bold]\x1b]0;x\x07text"}, 1)
SPEECH = GateOpened("talk/turn-1", "Your turn.", ("say",), {}, 1)


def typing(*lines):
    """Return a reader of these lines, then the end of the input."""
    left = list(lines)

    async def read():
        return left.pop(0) if left else None

    return read


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["approve", ""], ("approve", "")),
        (["A", " fine "], ("approve", "fine")),
        (["re", "", "nonsense", "rev", " ", "smaller"], ("revise", "smaller")),
        ([], None),
        (["approve"], None),
    ],
)
async def test_a_person_answers(lines, answer, capsys):
    given = await ask_person(GATE, typing(*lines))
    assert given == (answer and GateAnswered("g", *answer, "terminal"))
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "[bold]<U+001B>]0;x<U+0007>text" in shown.err
    assert "\x1b" not in shown.err


async def test_a_person_is_told_why_revise_is_gone(capsys):
    assert await ask_person(replace(GATE, choices=("approve", "reject"), revised=1), typing("approve", ""))
    assert "`revise` was answered once, as often as `max_attempts`" in capsys.readouterr().err
    assert await ask_person(replace(GATE, choices=("approve", "reject")), typing("approve", ""))
    assert "max_attempts" not in capsys.readouterr().err


CALL = GateOpened(
    "c",
    "Run the tool pay?",
    ("approve", "reject"),
    {"arguments": "k-\u202e1 \U0001f600 hunter2hunter2" + "x" * 20_000 + "end"},
    1,
    editable="arguments",
    schema={"type": "object", "properties": {"n": {"type": "integer"}}},
    tool="t",
    grant="g",
)


@pytest.mark.parametrize(
    ("lines", "answer"),
    [
        (["Y", ""], ("approve", "", "terminal", None, "", "t")),
        (["NO", "why"], ("reject", "why", "terminal", None, "", "t")),
        (["a", ""], ("approve", "", "terminal", None, "", "t")),
        (["ALL", ""], ("approve", "", "terminal", None, "g", "t")),
        (["e", "{", '{"n": "x"}', '{"n": 2}', "so"], ("approve", "so", "terminal", '{"n": 2}', "", "t")),
        (["edit"], None),
    ],
)
async def test_a_call_is_approved_changed_or_allowed_for_the_run(lines, answer, capsys):
    given = await ask_person(CALL, typing(*lines), {"PAY_TOKEN": "hunter2hunter2"})
    assert given == (answer and GateAnswered("c", *answer))
    shown = capsys.readouterr().err
    assert "k-<U+202E>1 \U0001f600" in shown
    assert "hunter2" not in shown
    assert "characters are left out" in shown
    assert "end\n" in shown
    assert "approve / edit / all / reject" in shown


async def test_a_person_speaks_in_a_conversation():
    assert await ask_person(SPEECH, typing("hello")) == GateAnswered("talk/turn-1", "say", "hello", "terminal")


async def test_standing_answers():
    assert standing_answer("auto", GATE) == GateAnswered("g", "approve", "", "--approve")
    assert standing_answer("deny", GATE) == GateAnswered("g", "reject", "", "--approve")
    assert standing_answer("ask", GATE) is None
    assert standing_answer("auto", SPEECH) is None, "nobody speaks in a person's place"


async def test_away_from_a_terminal_nobody_is_asked():
    answer = answering("ask", at_terminal=False, aside=nullcontext, environ={})
    assert await answer(GATE) is None


async def test_a_question_is_withdrawn_when_the_run_is_to_end():
    opened = anyio.Event()
    answers = []

    async def never(gate):
        opened.set()
        await anyio.sleep_forever()

    asking = Asking(never)

    async def ask():
        answers.append(await asking.ask(GATE))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await opened.wait()
        asking.end()
    assert answers == [None]
    assert await asking.ask(GATE) is None
