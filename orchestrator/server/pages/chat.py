"""The pages of chats: those that there are, and one of them, in which messages are said and questions are answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from orchestrator.chat_opening import chat_squad
from orchestrator.errors import OrchestratorError, RunNotFound
from orchestrator.journal.protocols import RunBusy
from orchestrator.run.standing import state_in
from orchestrator.run_opening import new_run_id
from orchestrator.server.pages.page import PageMissing, PageRequest
from orchestrator.server.pages.questions import answered, questions_shown
from orchestrator.server.pages.run_parts import SaidShown, Shown
from orchestrator.server.state import ServerState
from orchestrator.server.taking_up import recorded_squad
from orchestrator.server.watching import WatchedRun
from orchestrator.squad.load import Squad
from providers.documents.problems import ProblemsFound
from providers.documents.unicode import cut

MOST_LISTED = 50
MOST_LOOKED_AT = 1000
MOST_SAID = 100
MOST_NEWS = 1000
"""Characters of an answer that are read out when it comes."""
PERSONA, OF_SQUAD = "persona/", "squad/"


class ChatRow(NamedTuple):
    """A chat in the list."""

    id: str
    who: str
    said: int
    began: float
    cost: int
    unknown: int


async def chats_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return the chats that there are, and whom a new one may be with."""
    state = asked.state
    partners = [
        (f"{OF_SQUAD}{squad.name}/{agent}", f"{agent} of {squad.name}")
        for squad in state.squads.values()
        for agent in squad.outline().agents
    ]
    partners += [(f"{PERSONA}{name}", name) for name in state.personas]
    return {
        "chats": await _chats(state),
        "partners": partners,
        "chosen": asked.form.get("with") or asked.query.get("with", ""),
        "typed": asked.form.get("text", ""),
        "chat_id": new_run_id("chat", state.clock()),
        "told": "",
    }


async def _chats(state: ServerState) -> list[ChatRow]:
    rows: list[ChatRow] = []
    for line in await state.journal.runs(MOST_LOOKED_AT, statuses=("waiting", "running", "cancelled")):
        try:
            if not (await state.journal.manifest(line.run)).options.get("chat"):
                continue
            view = (await state.views.of(state.journal, line.run)).view
        except RunNotFound:
            continue
        said = [exchange[0] for exchange in view.talks.chat.values()]
        spent, who = view.spent, said[-1].to if said else ""
        rows.append(ChatRow(line.run, who, len(said), line.created_at, spent.cost, spent.unknown))
        if len(rows) == MOST_LISTED:
            break
    return rows


async def chats_act(asked: PageRequest) -> str | Mapping[str, Any]:
    """Begin a chat with what is said first. The same form sent twice begins one."""
    state, text, chat = asked.state, asked.form.get("text", "").strip(), asked.form.get("chat_id", "")
    if not text:
        return {"told": "Say something to begin with."}
    if not chat.startswith("chat-") or "/" in chat:
        return {"told": "The form was not whole: send it again."}
    squad, agent = _partner(state, asked.form.get("with", ""))
    try:
        await state.journal.manifest(chat)
    except RunNotFound:
        try:
            await state.host.chats.say(squad, chat, text, agent, is_new=True)
        except RunBusy:
            pass  # the other one of two at once began it
        except (OrchestratorError, ProblemsFound) as error:
            return {"told": _told(state, error)}
    return _path(chat)


def _partner(state: ServerState, chosen: str) -> tuple[Squad, str]:
    """Return the squad and the agent that a choice names. Raise `PageMissing`."""
    if chosen.startswith(OF_SQUAD):
        name, _, agent = chosen.removeprefix(OF_SQUAD).rpartition("/")
        if (squad := state.squads.get(name)) is not None and agent in squad.outline().agents:
            return squad, agent
    elif (name := chosen.removeprefix(PERSONA)) in state.personas:
        routing = next((squad.routing_file for squad in state.squads.values() if squad.routing_file), None)
        return chat_squad(name, routing=routing), name
    raise PageMissing("There is no agent or persona of that name.")


async def _watched(asked: PageRequest) -> WatchedRun:
    chat = asked.path["chat"]
    try:
        watched = await asked.state.views.of(asked.state.journal, chat)
    except RunNotFound as error:
        raise PageMissing(f"There is no chat {chat}.") from error
    if not watched.manifest.options.get("chat"):
        raise PageMissing(f"{chat} is a run of tasks, and no chat.")
    return watched


async def chat_values(asked: PageRequest) -> Mapping[str, Any]:
    """Return one chat: what was said, what it is at, who may be talked to."""
    state, watched = asked.state, await _watched(asked)
    view, shown = watched.view, Shown(asked.state.mask)
    is_driven = await state.journal.is_driven(view.id)
    exchanges = list(view.talks.chat.values())
    last = exchanges[-1] if exchanges else []
    is_open = len(last) == 1
    standing = await state_in(state.journal, view.id, view.status)
    questions = await questions_shown(state, watched)
    said_last = shown.transcript(last)[-1:]
    said = exchanges if asked.query.get("all") else exchanges[-MOST_SAID:]
    agents = list((await recorded_squad(state, watched.manifest)).outline().agents)
    calls = [shown.call(one) for one in view.calls.all if one.task == f"say-{max(view.talks.chat, default=0)}"]
    return {
        "chat": view.id,
        "path": _path(view.id),
        "partner": last[0].to if last else agents[0],
        "agents": agents,
        "said": shown.transcript([one for exchange in said for one in exchange]),
        "left_out": len(exchanges) - len(said),
        "news": _news(view.id, said_last, is_open and is_driven, len(questions)),
        "is_answering": is_open and is_driven and not questions,
        "is_cut_short": is_open and not is_driven and not questions,
        "is_stopped": standing == "cancelled",
        "calls": calls if is_open else [],
        "questions": questions,
        "spent": view.spent.cost,
        "tokens": view.spent.tokens,
        "unknown": view.spent.unknown,
        "error": "" if is_open or (last and last[-1].error) else shown.text(state.host.chats.failed.get(view.id, "")),
        "typed": asked.form.get("text", ""),
        "told": "",
        "draft": {},
    }


def _news(chat: str, said_last: Sequence[SaidShown], is_answering: bool, questions: int) -> str:
    """Return what is told to who hears the page rather than sees it, when it changes."""
    if questions:
        return "A question awaits you."
    if not said_last:
        return f"Nothing was said yet in {chat}."
    (one,) = said_last
    return (
        f"Answered: {cut(one.text or one.error, MOST_NEWS)}"
        if not one.is_person
        else ("An answer is being made." if is_answering else "")
    )


async def chat_act(asked: PageRequest) -> str | Mapping[str, Any]:
    """Say something, go on with an answer that was cut short, stop one, answer a question."""
    state, form, chat = asked.state, asked.form, (await _watched(asked)).view.id
    what = form.get("do")
    if what == "answer":
        told = await answered(asked, chat)
        return {"told": told, "draft": dict(form)} if told else _path(chat)
    if what == "stop":
        return _path(chat) if state.host.chats.stop(chat) else {"told": "No answer is being made here."}
    squad = await recorded_squad(state, await state.journal.manifest(chat))
    try:
        if what == "go_on":
            await state.host.chats.go_on(squad, chat)
        elif text := form.get("text", "").replace("\r\n", "\n").strip():
            await state.host.chats.say(squad, chat, text, form.get("agent") or None)
        else:
            return {"told": "Nothing is said yet: write what you want to say."}
    except RunBusy:
        return {"told": "An answer is being made, or the chat is open elsewhere: wait for it, then send it again."}
    except (OrchestratorError, ProblemsFound) as error:
        return {"told": _told(state, error)}
    return _path(chat)


def _told(state: ServerState, error: Exception) -> str:
    hint = getattr(error, "hint", "")
    return state.mask(f"{error}{f' ({hint})' if hint else ''}")


def _path(chat: str) -> str:
    return f"/chat/{quote(chat, safe='')}"
