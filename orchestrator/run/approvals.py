"""People's answers to a run's questions: which count, and how they reach it from another process, days later.

Every answer is entered in the journal's signals, whoever gives it: a person at the run's terminal, another process,
`--approve`, or a gate's timeout. The first one entered stands, over all processes, and the run goes on with no other.
Each is bound to what the person was shown.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, NamedTuple, Protocol

from orchestrator.errors import AnsweredAlready, NoQuestion, RunCancelled, RunOver
from orchestrator.events import GateAnswered, GateOpened
from orchestrator.journal.protocols import EventLog, Runs, Signals
from orchestrator.run.history import RunHistory, history_of
from orchestrator.units import names_of, place_of

SIGNAL = "gate"


class Answerable(Runs, EventLog, Signals, Protocol):
    """The parts of a journal that answering takes."""


class Decided(NamedTuple):
    """The answer that stands, and whether it is the one that was given."""

    answer: GateAnswered
    is_own: bool


def digest_of(gate: GateOpened) -> str:
    """Return what an answer is bound to: its place as it was first asked, its words and all that it shows."""
    place, shown = gate.first_asked_as or gate.name, dict(gate.shown)
    # Of a call the unit stands first, as in records of earlier releases; its place is among what is shown.
    if shown.get("call") == gate.name:
        unit, _ = place_of(place)
        place, shown = (place if unit is None else unit.path), {**shown, "call": place}
    told = [place, gate.attempt, gate.prompt, list(gate.choices), shown]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


async def decide(journal: Signals, run: str, gate: GateOpened, given: GateAnswered) -> Decided:
    """Enter an answer. The first one to a question stands, whoever gave it and in whichever process."""
    digest = digest_of(gate)
    value = {"gate": digest, "choice": given.choice, "comment": given.comment, "by": given.by}
    stands = await journal.signal(run, SIGNAL, value, f"{SIGNAL}/{digest}")
    return Decided(_answer(gate, stands), stands is value)


async def recorded_answer(journal: Signals, run: str, gate: GateOpened) -> GateAnswered | None:
    """Return the answer that was entered to the very same question, None where none was."""
    value = answers_in(await journal.signals(run)).get(digest_of(gate))
    return None if value is None else _answer(gate, value)


def answers_in(signals: Iterable[tuple[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return the answers among signals, by the digest of their question."""
    return {value["gate"]: value for name, value in signals if name == SIGNAL}


def _answer(gate: GateOpened, value: Mapping[str, Any]) -> GateAnswered:
    # Earlier releases did not record who gave it.
    return GateAnswered(gate.name, value["choice"], value["comment"], value.get("by", "api"))


async def hear(journal: Signals, run: str, gate: GateOpened) -> GateAnswered:
    """Wait until an answer to the question is entered, by whichever process."""
    digest = digest_of(gate)
    async with aclosing(journal.watch_signals(run)) as signals:
        async for signal in signals:
            if (value := answers_in([signal]).get(digest)) is not None:
                return _answer(gate, value)
    raise AssertionError("a watch never ends by itself")


class Questions(NamedTuple):
    """The questions of a run: those that await an answer, oldest first, and by name the answers that stand."""

    run: str
    past: RunHistory
    open: Sequence[GateOpened]
    answered: Mapping[str, GateAnswered]

    def named(self, name: str | None) -> GateOpened:
        """Return the open question of this name, or the only one whose task, place or beginning is `name`.

        None: the only one that there is. Raise `AnsweredAlready`, and `NoQuestion` where none or several are meant.
        """
        ways: Sequence[Callable[[str], bool]] = (
            lambda one: name in (None, one),
            lambda one: name in _names(one),
            lambda one: one.startswith(name or ""),
        )
        found = next(filter(None, ([gate for gate in self.open if is_it(gate.name)] for is_it in ways)), [])
        if len(found) == 1:
            return found[0]
        if not found and name is not None:
            for one, answer in self.answered.items():
                if name == one or name in _names(one):
                    raise AnsweredAlready(one, answer.choice, answer.by)
        raise NoQuestion(self.run, name, [gate.name for gate in found], [gate.name for gate in self.open])


def _names(question: str) -> set[str]:
    unit, step = place_of(question)
    return set() if unit is None else set(names_of(unit, step))


async def questions_of(journal: Answerable, run: str) -> Questions:
    """Return a run's questions. One that is over or cancelled has none that can be answered. Raise `RunNotFound`."""
    await journal.manifest(run)
    past = history_of(await journal.events(run))
    given = answers_in(await journal.signals(run))
    gates = [gate.opened for gate in past.gates.values()]
    answered = {name: answers[-1] for name, answers in past.answers.items()}
    answered |= {gate.name: _answer(gate, given[digest_of(gate)]) for gate in gates if digest_of(gate) in given}
    ended = past.is_over or await journal.cancel_requested(run)
    return Questions(run, past, [] if ended else [gate for gate in gates if digest_of(gate) not in given], answered)


async def answer_question(
    journal: Answerable, run: str, name: str | None, choice: str, comment: str = "", *, by: str = "api"
) -> GateOpened:
    """Answer an open question of a run, by its name, and return it: the answer counts, now or when the run goes on.

    Raises `NoQuestion`, `RunOver`, `RunCancelled`, `AnsweredAlready` where another answer came first, `RunNotFound`,
    and `ValueError` for what is no choice.
    """
    found = await questions_of(journal, run)
    if found.past.is_over:
        raise RunOver(run, str(found.past.status))
    if await journal.cancel_requested(run):
        raise RunCancelled(f"the run {run} was cancelled: it takes no answer")
    gate = found.named(name)
    stands, is_own = await answer_gate(journal, run, gate, choice, comment, by=by)
    if not is_own:
        raise AnsweredAlready(gate.name, stands.choice, stands.by)
    return gate


async def answer_gate(
    journal: Signals, run: str, gate: GateOpened, choice: str, comment: str = "", *, by: str = "api"
) -> Decided:
    """Record a person's answer to a question, and return the one that stands: the first counts.

    Raise `ValueError` for what is no choice.
    """
    if choice not in gate.choices:
        wanted = "awaits words: `say` them" if gate.choices == ("say",) else f"takes one of: {', '.join(gate.choices)}"
        raise ValueError(f"{gate.name} {wanted}")
    return await decide(journal, run, gate, GateAnswered(gate.name, choice, comment, by))


async def goes_on(journal: Answerable, run: str) -> bool:
    """Return whether a process is at work on the run that takes what has been entered by now.

    One that has recorded how the run ended takes only what was entered before.
    """
    return await journal.is_driven(run) and history_of(await journal.events(run)).status is None
