"""Answers that reach a gate from outside: another process, days later. Each is bound to what the person was shown."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import anyio

from orchestrator.events import GateAnswered, GateOpened
from orchestrator.journal.protocols import JournalError, Signals

if TYPE_CHECKING:
    from orchestrator.run.worker import Ask

SIGNAL = "gate"


def digest_of(gate: GateOpened) -> str:
    """Return what an answer is bound to: the gate, its question and all that it shows."""
    told = [gate.task, gate.attempt, gate.prompt, list(gate.choices), dict(gate.shown)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


async def answer_gate(journal: Signals, run: str, gate: GateOpened, choice: str, comment: str = "") -> None:
    """Record a person's answer to an open gate; the first one counts. Raise `ValueError` for what is no choice."""
    if choice not in gate.choices:
        raise ValueError(f"{gate.task} takes one of: {', '.join(gate.choices)}")
    digest = digest_of(gate)
    await journal.signal(run, SIGNAL, {"gate": digest, "choice": choice, "comment": comment}, f"{SIGNAL}/{digest}")


async def recorded_answer(journal: Signals, run: str, gate: GateOpened) -> GateAnswered | None:
    """Return what was answered from outside to the very same gate, None where nothing was."""
    said = (answer_in(signal, gate) for signal in await journal.signals(run))
    return next((answer for answer in said if answer is not None), None)


def answer_in(signal: tuple[str, Any], gate: GateOpened) -> GateAnswered | None:
    """Return the answer to the gate that a signal is, None where it is another one."""
    name, value = signal
    if name != SIGNAL or value["gate"] != digest_of(gate):
        return None
    return GateAnswered(gate.task, value["choice"], value["comment"], "api")


async def hear(journal: Signals, run: str, gate: GateOpened) -> GateAnswered:
    """Wait until the gate is answered from another process."""
    async with aclosing(journal.watch_signals(run)) as signals:
        async for signal in signals:
            if (answer := answer_in(signal, gate)) is not None:
                return answer
    raise AssertionError("a watch never ends by itself")


def asking_outside_too(journal: Signals, run: str, ask: Ask, flush: Callable[[], Awaitable[None]]) -> Ask:
    """Return an `Ask` that takes what comes first: an answer from outside, or that of `ask`, which may be none.

    `flush` lets the journal have the question: others can answer only what is recorded.
    """

    async def answer(gate: GateOpened) -> GateAnswered | None:
        await flush()
        heard = await recorded_answer(journal, run, gate)
        if heard is not None:
            return heard
        answers: list[GateAnswered | None] = []
        failures: list[JournalError] = []

        async def listen() -> None:
            try:
                answers.append(await hear(journal, run, gate))
            except JournalError as error:
                failures.append(error)
            tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(listen)
            answers.append(await ask(gate))
            tasks.cancel_scope.cancel()
        if failures:
            raise failures[0]
        return answers[0]

    return answer
