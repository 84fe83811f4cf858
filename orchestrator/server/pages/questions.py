"""The questions of runs as pages show them, and the answers that their forms send."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from orchestrator.errors import AnsweredAlready, NoQuestion, QuestionChanged
from orchestrator.events import GateOpened
from orchestrator.run.approvals import digest_of
from orchestrator.server import taking_up
from orchestrator.server.pages.page import PageRequest
from orchestrator.server.pages.words import seconds
from orchestrator.server.state import ServerState
from orchestrator.server.watching import WatchedRun
from providers.documents.unicode import visible

BY = "dashboard"
WORDS = {"approve": "Approve", "reject": "Reject", "revise": "Send back", "say": "Say it"}
LONG = 1200
"""Characters of a text from which on it is folded away."""


@dataclass(frozen=True, slots=True)
class TextShown:
    """A text to decide on. Nothing of it is left out, and what cannot be seen is told by its name."""

    title: str
    text: str

    @property
    def is_long(self) -> bool:
        return len(self.text) > LONG


@dataclass(frozen=True, slots=True)
class QuestionShown:
    """A question that awaits a person. `old` is what may be replaced where it is approved; None: nothing may be."""

    run: str
    name: str
    prompt: str
    choices: Sequence[tuple[str, str]]
    texts: Sequence[TextShown]
    digest: str
    editable: str
    old: str | None
    note: str
    may_be_for_run: bool
    timeout: str

    @property
    def may_be_revised(self) -> bool:
        """Whether it may be sent back, which needs a comment."""
        return any(value == "revise" for value, _ in self.choices)

    @property
    def wants_words(self) -> bool:
        """Whether a person is to say something, rather than to choose."""
        return [value for value, _ in self.choices] == ["say"]


def question_shown(state: ServerState, run: str, gate: GateOpened) -> QuestionShown:
    """Return a question of a run as pages show it."""
    texts = [TextShown(title, visible(state.mask(str(text)))) for title, text in gate.shown.items()]
    old, note = _replaceable(state, gate)
    left = f"after {seconds(gate.timeout)}: {gate.on_timeout}" if gate.timeout is not None else ""
    choices = [(choice, WORDS.get(choice, choice)) for choice in gate.choices]
    prompt = visible(state.mask(gate.prompt))
    return QuestionShown(
        run,
        gate.name,
        prompt,
        choices,
        [one for one in texts if not (one.title == gate.editable and old is not None)],
        digest_of(gate),
        gate.editable,
        old,
        note,
        bool(gate.grant),
        left,
    )


def _replaceable(state: ServerState, gate: GateOpened) -> tuple[str | None, str]:
    """Return what of a question may be replaced in a form, and why nothing may that could be elsewhere."""
    if not gate.editable:
        return None, ""
    text = _even(str(gate.shown.get(gate.editable, "")))
    if state.mask(text) != text:
        return None, "It holds a secret, which no page shows: it can be changed by `orchestrator approvals approve`."
    return (_indented(text) if gate.editable == "arguments" else text), ""


def _indented(arguments: str) -> str:
    """Return the JSON of a call's arguments so that it can be read."""
    try:
        return json.dumps(json.loads(arguments), ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):
        return arguments


def _even(text: str) -> str:
    """Return a text with the line ends that a form's field has, whoever sends it."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


async def questions_shown(state: ServerState, watched: WatchedRun) -> list[QuestionShown]:
    """Return the questions of a run that await a person."""
    questions = await watched.questions(state.journal)
    return [question_shown(state, watched.view.id, gate) for gate in (questions.open if questions else ())]


async def answered(asked: PageRequest, run: str) -> str:
    """Take the answer that a form sent, and return what is to be told of it; empty: nothing, the run goes on."""
    form, state = asked.form, asked.state
    choice, comment = form.get("choice", ""), _even(form.get("comment", "")).strip()
    if choice == "say" and not comment:
        return "Nothing is said yet: write what you want to say."
    if choice == "revise" and not comment:
        return "Write into the comment what to change: the tasks that run again read it."
    watched = await state.views.of(state.journal, run)
    questions = await watched.questions(state.journal)
    gate = next((one for one in (questions.open if questions else ()) if one.name == form.get("question")), None)
    edited = None if gate is None else _edited(state, gate, form)
    try:
        _, note = await taking_up.answer(
            state,
            run,
            form.get("question"),
            choice,
            comment,
            by=BY,
            edited=edited if choice == "approve" else None,
            for_run="for_run" in form and choice == "approve",
            digest=form.get("digest"),
        )
    except AnsweredAlready as error:
        return f"Your answer does not count: another came first, {error.choice} by {error.by}."
    except QuestionChanged as error:
        return f"{error}: {error.hint}."
    except (NoQuestion, ValueError) as error:
        return state.mask(str(error))
    return f"Your answer counts. The run does not go on here: {state.mask(note)}" if note else ""


def _edited(state: ServerState, gate: GateOpened, form: Mapping[str, str]) -> str | None:
    """Return what a form has in place of what is asked about; None: it was left as it is."""
    old, _ = _replaceable(state, gate)
    new = form.get("edited")
    if old is None or new is None or _even(new).rstrip("\n") == old.rstrip("\n"):
        return None
    return _even(new)
