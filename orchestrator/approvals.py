"""Answers that reach a gate from outside: another process, days later. Each is bound to what the person was shown."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from orchestrator.events import GateAnswered, GateOpened

if TYPE_CHECKING:
    from orchestrator.journal import Journal
    from orchestrator.work import Ask

SIGNAL = "gate"


def digest_of(gate: GateOpened) -> str:
    """Return what an answer is bound to: the gate, its question and all that it shows."""
    told = [gate.task, gate.attempt, gate.prompt, list(gate.choices), dict(gate.shown)]
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()


async def answer_gate(journal: Journal, run: str, gate: GateOpened, choice: str, comment: str = "") -> None:
    """Record a person's answer to an open gate; the first one counts. Raise `ValueError` for what is no choice."""
    if choice not in gate.choices:
        raise ValueError(f"{gate.task} takes one of: {', '.join(gate.choices)}")
    digest = digest_of(gate)
    await journal.signal(run, SIGNAL, {"gate": digest, "choice": choice, "comment": comment}, f"{SIGNAL}/{digest}")


def asking_the_journal_first(journal: Journal, run: str, ask: Ask) -> Ask:
    """Return an `Ask` that takes a recorded answer to the very same gate, and asks on where there is none."""

    async def answer(gate: GateOpened) -> GateAnswered | None:
        digest = digest_of(gate)
        for name, value in await journal.signals(run):
            if name == SIGNAL and value["gate"] == digest:
                return GateAnswered(gate.task, value["choice"], value["comment"], "api")
        return await ask(gate)

    return answer
