"""Whatever is answered by whomever, killed and resumed in whatever order: every answer that was confirmed counts,
nothing is asked that was answered, and nothing runs that was denied."""

from __future__ import annotations

import json
import random
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from orchestrator import RunResult
from orchestrator.errors import AnsweredAlready
from orchestrator.events import GateOpened
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.run.approvals import answer_question, questions_of
from orchestrator.run.history import RunHistory, history_of
from orchestrator.runtime import open_run, resume_run
from tests import processes
from tests.orchestrator import answering
from tests.orchestrator.answering import drive, effects
from tests.orchestrator.squads import Answers, squad

OVER = ("done", "rejected")
COUNTED, TOLD = 0, 5
"""Exit codes of an answer that counts, and of one that does not."""
Question = tuple[str, int]
"""A question's name and which of this name it is."""


class Office:
    """A run, the people who answer it, and what they were told."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.random = random.Random(seed)
        self.on_timeout = self.random.choice(["approve", "reject", "pause"])
        self.hours = 0.0
        self.confirmed: dict[Question, str] = {}
        self.status = ""

    def read(self) -> tuple[RunHistory, list[GateOpened]]:
        """Return the run's history, and the questions that are open."""

        async def read() -> tuple[RunHistory, list[GateOpened]]:
            async with SqliteJournal(self.folder / "journal.db") as journal:
                found = await questions_of(journal, "r")
                return history_of(await journal.events("r")), list(found.open)

        return anyio.run(read)

    def command(self, gate: GateOpened) -> tuple[str, tuple[str, ...]]:
        """Return an answer to a question, and the command that gives it."""
        if gate.choices == ("say",):
            return "say", ("say", "r", gate.name, f"words {self.random.random()}")
        # An approval that is rejected ends the run: seldom, so that the others have their time.
        deny = self.random.random() < (0.1 if gate.name == "gate" else 0.4)
        return ("reject", ("deny", "r", gate.name)) if deny else ("approve", ("approve", "r", gate.name))

    def confirm(self, gate: GateOpened, choice: str) -> None:
        question = gate.name, gate.attempt
        assert question not in self.confirmed, f"{question} was asked again"
        self.confirmed[question] = choice

    def answer_one(self) -> None:
        _, waiting = self.read()
        if waiting:
            gate = self.random.choice(waiting)
            choice, command = self.command(gate)
            assert answering.answer(str(self.folder), command) == COUNTED
            self.confirm(gate, choice)
            assert answering.answer(str(self.folder), self.command(gate)[1]) == TOLD, "it is answered"

    def pass_time(self) -> None:
        self.hours += self.random.choice([0.5, 2])

    def go_on(self, last: int | None) -> None:
        """Drive the run to its end, or until its process is gone at event number `last`."""
        if self.status not in OVER:
            ended: RunResult | None = anyio.run(
                drive, self.folder, self.on_timeout, self.hours, lambda number, _: number == last
            )
            self.status = self.recorded() if ended is None else ended.status

    def recorded(self) -> str:
        """Return how the run is over by its record: a process may be killed right after that. Empty where it is not."""
        past = self.read()[0]
        return str(past.status) if past.is_over else ""

    def check(self) -> None:
        """Compare what happened with what was confirmed."""
        past, _ = self.read()
        opened: Counter[Question] = Counter()
        for event in past.events:
            if isinstance(event.data, GateOpened):
                opened[event.data.name, event.data.attempt] += 1
        assert not [question for question, times in opened.items() if times > 1], "a question is asked once"
        assert not [gate for gate in self.read()[1] if (gate.name, gate.attempt) in self.confirmed]
        for name, answers in past.answers.items():
            for attempt, given in enumerate(answers, 1):
                if given.by == "timeout":
                    assert (name, attempt) not in self.confirmed, "a confirmed answer was discarded"
                else:
                    assert self.confirmed[name, attempt] == given.choice
        ran = Counter(effects(self.folder))
        for what, place in PLACES.items():
            allowed = [choice for (name, _), choice in self.confirmed.items() if name == place and choice == "approve"]
            assert ran[what] <= len(allowed), f"{what} ran {ran[what]} times"
        if self.status == "done":
            assert {name for name, _ in self.confirmed} >= {*PLACES.values()}
            taken = {(name, i) for name, answers in past.answers.items() for i, _ in enumerate(answers, 1)}
            assert self.confirmed.keys() <= taken, "a confirmed answer did not count"

    def finish(self) -> None:
        """Answer all that is asked, until the run is over."""
        for _ in range(12):
            self.go_on(None)
            if self.status in OVER:
                return
            while self.read()[1]:
                self.answer_one()
        raise AssertionError(f"the run does not end: {self.status}")


PLACES = {
    "one": "both/try-1/turn-1/tool-1",
    "two": "both/try-1/turn-1/tool-2",
    "x": "each[x]/try-1/turn-1/tool-1",
    "y": "each[y]/try-1/turn-1/tool-1",
}
"""What an asking call does -> the name of its question."""


def seeds(few: int, many: int) -> list[Any]:
    return [*range(few), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(few, many))]


@pytest.mark.parametrize("seed", seeds(1, 30))
def test_every_confirmed_answer_counts(seed: int, tmp_path: Path) -> None:
    office = Office(tmp_path, seed)
    office.go_on(office.random.randint(2, 40))
    for _ in range(office.random.randint(2, 6)):
        act = office.random.choice(["answer", "answer", "time", "kill", "resume"])
        if act == "answer":
            office.answer_one()
        elif act == "time":
            office.pass_time()
        else:
            office.go_on(office.random.randint(1, 30) if act == "kill" else None)
        office.check()
    office.finish()
    office.check()


@pytest.mark.long
@pytest.mark.parametrize("seed", range(5))
def test_every_confirmed_answer_counts_among_processes(seed: int, tmp_path: Path) -> None:
    """One process drives the run and is killed at any event, while others answer, two of them at the same time."""
    office = Office(tmp_path, seed)
    office.go_on(office.random.randint(10, 40))
    for _ in range(6):
        if office.read()[0].is_over:
            break
        last = office.random.choice([10_000, office.random.randint(1, 40)])
        driver = processes.start(answering.drive_and_die, str(tmp_path), office.on_timeout, office.hours, last)
        for gate in office.random.sample(waiting := office.read()[1], k=min(2, len(waiting))):
            rivals = [office.command(gate) for _ in range(2)]
            started = [processes.start(answering.answer_and_exit, str(tmp_path), command) for _, command in rivals]
            codes = [processes.end(process) for process in started]
            counted = [choice for (choice, _), code in zip(rivals, codes, strict=True) if code == COUNTED]
            assert len(counted) <= 1, "two answers to one question were confirmed"
            assert counted or office.read()[0].is_over or _taken(office, gate), codes
            for choice in counted:
                office.confirm(gate, choice)
        assert processes.end(driver) in (0, 9)
        office.check()
        office.pass_time()
    office.status = office.recorded()
    office.finish()
    office.check()


def _taken(office: Office, gate: GateOpened) -> bool:
    """Return whether the question's time was up before, or its unit ended."""
    past = office.read()[0]
    return any(given.by == "timeout" for given in past.answers.get(gate.name, ())) or gate.name not in past.gates


def test_what_is_open_is_listed_and_answered_by_any_name_that_means_one(tmp_path: Path, capsys: Any) -> None:
    office = Office(tmp_path, 0)
    office.go_on(None)
    db = ("--db", f"sqlite:///{tmp_path}/journal.db")
    assert answering.main(["approvals", "ls", "--json", *db]) == 0
    listed = [one["task"] for one in json.loads(capsys.readouterr().out)]
    assert sorted(listed) == sorted(["gate", "talk/try-1/round-1/human", *PLACES.values()])
    assert answering.answer(str(tmp_path), ("approve", "r", "each")) == TOLD
    assert "each[x]/try-1/turn-1/tool-1, each[y]/try-1/turn-1/tool-1" in capsys.readouterr().err
    for command in (
        ("approve", "r", "each[x]"),
        ("deny", "r", "both/try-1/turn-1/tool-2"),
        ("approve", "r", "both"),
        ("approve", "r", "ea"),
        ("say", "r", "talk", "hello"),
        ("approve", "r"),
    ):
        assert answering.answer(str(tmp_path), command) == COUNTED, command
    office.go_on(None)
    assert sorted(effects(tmp_path)) == ["one", "three", "x", "y"]


GATED = {"gate": {"approval": {"prompt": "Go?"}}}
RIVALS = {"approve": "approve", "deny": "reject"}
"""Command -> its choice."""


async def _to_its_end(journal: SqliteJournal, run_id: str, *, resumed: bool = False) -> str:
    given, options = squad(GATED), {"journal": journal, "manager": Answers()}
    opening = resume_run(given, run_id, **options) if resumed else open_run(given, run_id=run_id, **options)
    async with opening as run:
        async for _ in run:
            pass
    return run.result.status


@pytest.mark.long
@pytest.mark.parametrize("round_", range(6))
def test_of_two_processes_that_answer_at_once_one_counts_and_the_other_is_told(round_: int, tmp_path: Path) -> None:
    async def to_its_end(*, resumed: bool = False) -> str:
        async with SqliteJournal(tmp_path / "journal.db") as journal:
            return await _to_its_end(journal, "r", resumed=resumed)

    assert anyio.run(to_its_end) == "waiting"
    together = processes.WORLD.Barrier(2)
    order = list(RIVALS) if round_ % 2 else list(reversed(RIVALS))
    started = {
        command: processes.start(
            answering.answer_at_once, str(tmp_path), (command, "r", "gate"), together, str(tmp_path / command)
        )
        for command in order
    }
    codes = {command: processes.end(process) for command, process in started.items()}
    assert sorted(codes.values()) == [COUNTED, TOLD]
    counted, told = sorted(codes, key=codes.__getitem__)
    assert f"gate is answered already: {RIVALS[counted]} by cli" in (tmp_path / told).read_text()
    assert anyio.run(partial(to_its_end, resumed=True)) == ("done" if counted == "approve" else "rejected")


@pytest.mark.anyio
async def test_of_two_who_answer_over_connections_of_their_own_one_counts(tmp_path: Path) -> None:
    async with SqliteJournal(tmp_path / "journal.db") as one, SqliteJournal(tmp_path / "journal.db") as other:
        for round_ in range(4):
            run = f"r{round_}"
            assert await _to_its_end(one, run) == "waiting"
            counted: list[str] = []
            told: list[AnsweredAlready] = []

            async def give(journal: SqliteJournal, choice: str) -> None:
                try:
                    await answer_question(journal, run, "gate", choice)  # noqa: B023  # awaited within the round
                    counted.append(choice)  # noqa: B023
                except AnsweredAlready as error:
                    told.append(error)  # noqa: B023

            async with anyio.create_task_group() as tasks:
                for journal, choice in ((one, "approve"), (other, "reject")):
                    tasks.start_soon(give, journal, choice)
            assert (len(counted), len(told)) == (1, 1)
            assert f"gate is answered already: {counted[0]} by api" in str(told[0])
            assert await _to_its_end(other, run, resumed=True) == ("done" if counted == ["approve"] else "rejected")
