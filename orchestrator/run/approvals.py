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

from orchestrator.errors import AnsweredAlready, CommentMissing, NoQuestion, QuestionChanged, RunCancelled, RunOver
from orchestrator.events import GateAnswered, GateOpened
from orchestrator.journal.protocols import EventLog, Runs, Signals
from orchestrator.run.history import RunHistory, history_of
from orchestrator.units import names_of, place_of
from providers.documents.json_schema import SchemaTooCostly, validator_of
from providers.documents.unicode import clean, cut

SIGNAL = "gate"
GRANTED = "approval for the run"
"""Who answers a question that an earlier answer covers."""
MOST_EDITED = 1 << 20
"""Characters of what a person writes in place of a text or of arguments."""
MOST_TOLD = 300


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
    told = [place, gate.attempt, gate.prompt, list(gate.choices), shown, *filter(None, [gate.tool])]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


async def decide(journal: Signals, run: str, gate: GateOpened, given: GateAnswered) -> Decided:
    """Enter an answer. The first one to a question stands, whoever gave it and in whichever process."""
    digest = digest_of(gate)
    value: dict[str, Any] = {"gate": digest, "choice": given.choice, "comment": given.comment, "by": given.by}
    value |= {} if given.edited is None else {"edited": given.edited}
    value |= {"grant": given.grant} if given.grant else {}
    stands = await journal.signal(run, SIGNAL, value, f"{SIGNAL}/{digest}")
    return Decided(_answer(gate, stands), stands is value)


async def recorded_answer(journal: Signals, run: str, gate: GateOpened) -> GateAnswered | None:
    """Return the answer that was entered to the very same question, or that covers it, None where none was."""
    signals = await journal.signals(run)
    if (value := answers_in(signals).get(digest_of(gate))) is not None:
        return _answer(gate, value)
    return await _covered(journal, run, gate) if gate.grant in granted_in(signals) else None


async def _covered(journal: Signals, run: str, gate: GateOpened) -> GateAnswered:
    """Enter that an earlier answer covers a question, and return the answer that stands."""
    return (await decide(journal, run, gate, GateAnswered(gate.name, "approve", "", GRANTED))).answer


def answers_in(signals: Iterable[tuple[str, Any]]) -> Mapping[str, Mapping[str, Any]]:
    """Return the answers among signals, by the digest of their question."""
    return {value["gate"]: value for name, value in signals if name == SIGNAL}


def granted_in(signals: Iterable[tuple[str, Any]]) -> frozenset[str]:
    """Return what leave was given for, for the rest of the run."""
    given = (value for name, value in signals if name == SIGNAL and value["choice"] == "approve")
    return frozenset(value["grant"] for value in given if value.get("grant"))


def _answer(gate: GateOpened, value: Mapping[str, Any]) -> GateAnswered:
    # Earlier releases did not record who gave it.
    said = value["choice"], value["comment"], value.get("by", "api")
    return GateAnswered(gate.name, *said, value.get("edited"), value.get("grant", ""), gate.tool)


async def hear(journal: Signals, run: str, gate: GateOpened) -> GateAnswered:
    """Wait until an answer to the question is entered, by whichever process, or one that covers it."""
    digest = digest_of(gate)
    async with aclosing(journal.watch_signals(run)) as signals:
        async for signal in signals:
            if (value := answers_in([signal]).get(digest)) is not None:
                return _answer(gate, value)
            if gate.grant in granted_in([signal]):
                return await _covered(journal, run, gate)
    raise AssertionError("a watch never ends by itself")


class Questions(NamedTuple):
    """The questions of a run: those that await an answer, oldest first, and by name the answers that stand."""

    run: str
    past: RunHistory
    open: Sequence[GateOpened]
    answered: Mapping[str, GateAnswered]

    @property
    def is_run_to_go_on(self) -> bool:
        """Whether the run ended as waiting, and an answer came that is not recorded yet: it is taken up for that."""
        return self.past.status == "waiting" and any(name in self.answered for name in self.past.gates)

    def named(self, name: str | None) -> GateOpened:
        """Return the open question of this name, or the only one whose task, place or beginning is `name`.

        None: the only one that there is. Raise `AnsweredAlready` where none is left that is meant, and `NoQuestion`
        where there was none, or several are meant.
        """
        ways: Sequence[Callable[[str], bool]] = (
            lambda one: name in (None, one),
            lambda one: name in _names(one),
            lambda one: one.startswith(name or ""),
        )
        found = next(filter(None, ([gate for gate in self.open if is_it(gate.name)] for is_it in ways)), [])
        if len(found) == 1:
            return found[0]
        for one, answer in () if found else reversed([*self.answered.items()]):
            if name in (None, one) or name in _names(one):
                raise AnsweredAlready(one, answer.choice, answer.by)
        raise NoQuestion(self.run, name, [gate.name for gate in found], [gate.name for gate in self.open])


def _names(question: str) -> set[str]:
    unit, step = place_of(question)
    return set() if unit is None else set(names_of(unit, step))


async def questions_of(journal: Answerable, run: str) -> Questions:
    """Return a run's questions. One that is over or cancelled has none that can be answered. Raise `RunNotFound`."""
    await journal.manifest(run)
    past = history_of(await journal.events(run))
    signals = await journal.signals(run)
    given = answers_in(signals)
    gates = [gate.opened for gate in past.gates.values()]
    answered = {name: answers[-1] for name, answers in past.answers.items()}
    answered |= {gate.name: _answer(gate, given[digest_of(gate)]) for gate in gates if digest_of(gate) in given}
    ended = past.is_over or await journal.cancel_requested(run)
    granted = granted_in(signals)
    left = {gate.name: gate for gate in gates if digest_of(gate) not in given and gate.grant not in granted}
    # One that is asked again has an answer to what was asked before.
    answered = {name: answer for name, answer in answered.items() if name not in left}
    return Questions(run, past, [] if ended else list(left.values()), answered)


async def answer_question(
    journal: Answerable,
    run: str,
    name: str | None,
    choice: str,
    comment: str = "",
    *,
    by: str = "api",
    edited: str | None = None,
    for_run: bool = False,
    digest: str | None = None,
) -> GateOpened:
    """Answer an open question of a run, by its name, and return it: the answer counts, now or when the run goes on.

    `edited` is what a call's arguments (JSON), or the text that is asked about, are replaced by where it is approved;
    `for_run`: so are all further calls of this tool, as it is, by this agent, until the run ends. `digest` (as
    `digest_of` has it) is of the question that the person was shown: `QuestionChanged` is raised where it is another.
    Raises `NoQuestion`, `RunOver`, `RunCancelled`, `AnsweredAlready` where another answer came first, `RunNotFound`,
    and `ValueError` for what is no choice, or cannot be approved so; `CommentMissing` for `revise` without a comment.
    """
    found = await questions_of(journal, run)
    if digest is not None and (value := answers_in(await journal.signals(run)).get(digest)) is not None:
        raise AnsweredAlready(name or "the question", value["choice"], value.get("by", "api"))
    if found.past.is_over:
        raise RunOver(run, str(found.past.status))
    if await journal.cancel_requested(run):
        raise RunCancelled(run)
    gate = found.named(name)
    if digest not in (None, digest_of(gate)):
        raise QuestionChanged(gate.name)
    stands, is_own = await answer_gate(journal, run, gate, choice, comment, by=by, edited=edited, for_run=for_run)
    if not is_own:
        raise AnsweredAlready(gate.name, stands.choice, stands.by)
    return gate


async def answer_gate(
    journal: Signals,
    run: str,
    gate: GateOpened,
    choice: str,
    comment: str = "",
    *,
    by: str = "api",
    edited: str | None = None,
    for_run: bool = False,
) -> Decided:
    """Record a person's answer to a question, and return the one that stands: the first counts.

    `edited` and `for_run`: see `answer_question`. Raise `ValueError` for what is no choice, or cannot be approved so,
    `CommentMissing` for `revise` without a comment.
    """
    if choice not in gate.choices:
        wanted = f"takes one of: {', '.join(gate.choices)}"
        if gate.choices == ("say",):
            wanted = f"awaits words: `say` them: orchestrator approvals say {run} 'your words'"
        why = f"; {gate.is_used_up}" if choice == "revise" and gate.is_used_up else ""
        raise ValueError(f"{gate.name} {wanted}{why}")
    refuse_without_comment(gate, choice, comment)
    if (edited is not None or for_run) and choice != "approve":
        raise ValueError(f"{gate.name}: only what is approved can be changed, or allowed for the run")
    if for_run and not gate.grant:
        raise ValueError(f"{gate.name} can be allowed this once only")
    if edited is not None:
        edited = clean(edited)
        if why := edit_fault(gate, edited):
            raise ValueError(f"{gate.name}: {why}")
    grant = gate.grant if for_run else ""
    return await decide(journal, run, gate, GateAnswered(gate.name, choice, comment, by, edited, grant))


def refuse_without_comment(gate: GateOpened, choice: str, comment: str) -> None:
    """Raise `CommentMissing` where an answer asks for changes, and does not say which."""
    if choice == "revise" and not comment.strip():
        raise CommentMissing(gate.name)


def edit_fault(gate: GateOpened, edited: str) -> str:
    """Return why a question cannot be approved with this in place of what it shows, empty where it can."""
    if not gate.editable:
        return "nothing of it can be changed: approve it, or do not"
    if not edited.strip():
        return f"the new {gate.editable} cannot be empty"
    if len(edited) > MOST_EDITED:
        return f"the new {gate.editable} may have {MOST_EDITED:,} characters; these are {len(edited):,}"
    if gate.schema is None:
        return ""
    try:
        broken = validator_of(gate.schema, check=False).first_error(json.loads(edited))
    except SchemaTooCostly as error:
        return f"whether the new {gate.editable} can be taken is not found in time: {error}"
    except (ValueError, RecursionError) as error:
        said = f"the new {gate.editable} are " if gate.editable == "arguments" else ""
        return f"{said}not JSON: {error}"
    return "" if broken is None else f"{broken.json_path}: {cut(broken.message, MOST_TOLD)}"


async def goes_on(journal: Answerable, run: str) -> bool:
    """Return whether a process is at work on the run that takes what has been entered by now.

    One that has recorded how the run ended takes only what was entered before.
    """
    return await journal.is_driven(run) and history_of(await journal.events(run)).status is None
