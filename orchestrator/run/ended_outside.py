"""Ending a conversation of a run from outside, in whichever process that is at work: a signal in the journal."""

from __future__ import annotations

from orchestrator.errors import NoConversation, RunCancelled, RunOver
from orchestrator.journal.protocols import Signals
from orchestrator.run.approvals import Answerable
from orchestrator.run.history import history_of

SIGNAL = "conversation ended"
_PART = "conversation "
"""How the parts of a manifest that are conversations begin."""


async def end_conversation(journal: Answerable, run: str, name: str) -> None:
    """Let a conversation of a run end after the utterance at work, where its `terminate` has `external: true`.

    It is recorded, so it counts whichever process drives the run, now or when the run is resumed. A moderator still
    concludes. One that is held later in the run ends after its first utterance. Doing it twice changes nothing.
    Raises `NoConversation` for a name that the squad does not have, `RunNotFound`, `RunOver`, `RunCancelled`.
    """
    manifest = await journal.manifest(run)
    past = history_of(await journal.events(run))
    if past.is_over:
        raise RunOver(run, str(past.status))
    if await journal.cancel_requested(run):
        raise RunCancelled(run)
    known = [part.removeprefix(_PART) for part in manifest.parts if part.startswith(_PART)]
    if name not in known:
        raise NoConversation(name, known)
    await journal.signal(run, SIGNAL, name, f"{SIGNAL}/{name}")


async def ended_outside(journal: Signals, run: str) -> frozenset[str]:
    """Return the conversations of a run that were ended so."""
    return frozenset(value for name, value in await journal.signals(run) if name == SIGNAL)
