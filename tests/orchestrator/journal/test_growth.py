"""How a journal grows: with what was said, once, however often it is said again."""

from __future__ import annotations

import random
import tempfile
from pathlib import Path

import anyio
from hypothesis import example, given, settings
from hypothesis import strategies as st

from orchestrator.events import Event, TaskEnded
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.runtime import open_run
from orchestrator.units import Unit
from tests.orchestrator.squads import Answers, squad

EMPTY = 102_400
"""Bytes of a journal with one run and nothing said: its tables' first pages."""
A_TURN = 1_360
"""Bytes of a turn beside its message: intent, result, three events, a bill, and what is not filled of their pages.
The most is left unfilled by texts that come to just over half a page when compressed: two of them need two pages."""
ALPHABETS = {"ASCII": (32, 127), "Greek and Cyrillic": (880, 1300), "emoji": (0x1F300, 0x1F5FF)}


@example(turns=28, size=2387, alphabet="ASCII", seed=0)  # just over half a page
@settings(max_examples=settings().max_examples // 4)
@given(
    turns=st.integers(1, 60),
    size=st.integers(1, 6_000),
    alphabet=st.sampled_from(sorted(ALPHABETS)),
    seed=st.integers(0, 2**32),
)
def test_a_conversation_is_stored_once_though_each_turn_hears_all_of_it(
    turns: int, size: int, alphabet: str, seed: int
) -> None:
    dice, said = random.Random(seed), 0

    def say(*_: object) -> str:
        nonlocal said
        text = "".join(map(chr, dice.choices(range(*ALPHABETS[alphabet]), k=size))).strip() or "-"
        said += len(text.encode())
        return text

    with tempfile.TemporaryDirectory() as folder:
        anyio.run(converse, Path(folder) / "journal.db", turns, Answers(say))
        stored = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    assert stored <= 1.5 * said + A_TURN * turns + EMPTY


def test_a_record_of_many_small_values_takes_no_page_of_its_own() -> None:
    dice, count = random.Random(1), 100
    outputs = [{f"field-{n}": dice.randbytes(40).hex() for n in range(16)} for _ in range(count)]
    events = [Event("r", Unit("a"), (), 0, n, 0.0, TaskEnded("a", "ok", output)) for n, output in enumerate(outputs)]

    async def write(file: Path) -> None:
        async with SqliteJournal(file) as journal:
            await journal.append("r", events)
            assert await journal.events("r") == events

    with tempfile.TemporaryDirectory() as folder:
        anyio.run(write, Path(folder) / "journal.db")
        stored = (Path(folder) / "journal.db").stat().st_size
    assert stored <= 1.5 * sum(len(str(output)) for output in outputs) + A_TURN * count + EMPTY


async def converse(file: Path, turns: int, manager: Answers) -> None:
    talk = {"pattern": "round_robin", "participants": ["ann", "bob"], "terminate": {"max_turns": turns}}
    given = squad({"talk": {"conversation": "talk", "description": "Talk."}}, conversations={"talk": talk})
    async with SqliteJournal(file) as journal, open_run(given, journal=journal, manager=manager) as run:
        async for _ in run:
            pass
    assert run.result.status == "done"
    assert len(manager.asked) == turns
