"""Recorded runs that go on here: by which squad, and with which answers."""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import anyio.to_thread

from orchestrator.errors import OrchestratorError, RunOver
from orchestrator.events import GateOpened
from orchestrator.journal.protocols import RunBusy, RunManifest
from orchestrator.run.approvals import answer_question, digest_of, goes_on
from orchestrator.run.history import history_of
from orchestrator.server.state import ServerState
from orchestrator.squad.load import Squad
from providers.documents.problems import ProblemsFound

LOOK_S = 0.1
"""Between two looks at a run that another process holds, and neither drives on nor lets go yet."""
MOST_LOOKS = 100


async def recorded_squad(state: ServerState, manifest: RunManifest) -> Squad:
    """Return the squad of a recorded run: as the server offers it where it is the same, else as it was recorded."""
    offered = state.squads.get(manifest.squad)
    if offered is not None and manifest.text in (offered.text, ""):
        return offered
    routing = next((squad.routing_file for squad in state.squads.values() if squad.routing_file), None)
    read = partial(Squad.from_text, manifest.text, manifest.file, routing=routing, where_gone=manifest.sources)
    return await anyio.to_thread.run_sync(read)


async def resume(state: ServerState, run: str, **more: Any) -> None:
    """Go on with a recorded run, or chat, in this process, with `more` options. Raise what `resume_run` raises."""
    manifest = await state.journal.manifest(run)
    squad = await recorded_squad(state, manifest)
    if manifest.options.get("chat"):
        await state.host.chats.go_on(squad, run)
    else:
        await state.host.resume(squad, run, **more)


async def answer(
    state: ServerState,
    run: str,
    question: str | None,
    choice: str,
    comment: str = "",
    *,
    by: str,
    edited: str | None = None,
    for_run: bool = False,
    digest: str | None = None,
) -> tuple[GateOpened, str]:
    """Answer a question of a run, and have the run go on. Return the question, and why the run does not go on here.

    Raise what `answer_question` raises, with nothing recorded. Once it is, the answer counts, whatever else fails.
    """
    how = {"by": by, "edited": edited, "for_run": for_run, "digest": digest}
    gate = await answer_question(state.journal, run, question, choice, comment, **how)  # type: ignore[arg-type]
    return gate, await taken_up(state, run, gate)


async def taken_up(state: ServerState, run: str, gate: GateOpened) -> str:
    """Have the run go on with the answer to a question; empty where it does, else why it does not.

    Where another answer comes at the same time only one of both takes the run up, and that one goes on with both.
    """
    for _ in range(MOST_LOOKS):
        if await goes_on(state.journal, run):
            return ""
        if state.host.is_full:  # who answers does not wait for runs of others to end
            state.host.later(run, partial(resume, state, run))
            return ""
        try:
            await resume(state, run)
        except RunBusy:  # it is about to go on, or to let go of the run: which of both is seen soon
            await anyio.sleep(LOOK_S)
        except RunOver as error:
            return "" if await _is_taken(state, run, gate) else str(error)
        except (OrchestratorError, ProblemsFound) as error:
            return str(error)
        else:
            return ""
    return f"another process holds the run {run}, and does not go on with it"


async def _is_taken(state: ServerState, run: str, gate: GateOpened) -> bool:
    """Return whether the run went on with the answer to a question, and came to its end."""
    past = history_of(await state.journal.events(run))
    return gate.name in past.answers and all(digest_of(one.opened) != digest_of(gate) for one in past.gates.values())
