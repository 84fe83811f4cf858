"""Opening a chat: its record, its agents, their tools and servers, and who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from agents import Agent
from agents.run_context import Complete
from agents.run_folder import RunFolder, origins_of
from orchestrator.errors import NoSuchAgent, NotAChat, OutElsewhere, RunCancelled, RunNotFound
from orchestrator.events import ChatPartner, Event, FileWritten, RunResumed, RunStarted
from orchestrator.execution import in_doubt
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.protocols import InFlightStep, Journal, RunManifest
from orchestrator.manifest import manifest_of, moved_folder, names_our_folder
from orchestrator.mcp_tools import mcp_opened
from orchestrator.options import RunOptions, capped, raised, recorded_options, steady
from orchestrator.out_folder import builtin_tools, held, run_folder
from orchestrator.run.accounts import AccountScope, CallsOfRun
from orchestrator.run.budget import open_account
from orchestrator.run.chat import Chat
from orchestrator.run.crew import Crew
from orchestrator.run.exchanges import EXCHANGE, ChatRecord, chat_of
from orchestrator.run.history import RunHistory, history_of
from orchestrator.run.memory import MemorySetting, RunMemory, open_memory
from orchestrator.run.questions import Asker
from orchestrator.run.recorder import Recorder
from orchestrator.run.work_clock import RunClock
from orchestrator.run_opening import check_tools, new_run_id, open_providers
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import Plan
from orchestrator.subscribers import subject_of, subscribed
from orchestrator.units import Unit
from providers.budgets import BudgetRef
from providers.messages import Message

PLAIN = "You are a helpful assistant. Answer in the language that you are asked in."


def chat_squad(
    persona: str | None = None,
    own: Agent | None = None,
    *,
    tier: str | None = None,
    routing: Path | str | None = None,
) -> Squad:
    """Return a squad of one persona of the library, of an agent of the caller's, or of a plain assistant."""
    name = own.name if own is not None else persona or "assistant"
    agent = {"persona": persona} if persona else {"instructions": PLAIN}
    agent |= {"tier": tier} if tier else {}
    task = {"agent": name, "description": "A chat."}
    shape = {"version": 1, "name": "chat", "agents": {name: agent}, "tasks": {"chat": task}}
    return Squad.from_mapping(shape, "<chat>", routing=routing)


@dataclass(frozen=True, slots=True)
class _Past:
    """What is recorded of a chat; of a new one nothing."""

    manifest: RunManifest | None = None
    history: RunHistory = field(default_factory=RunHistory)
    chat: ChatRecord = field(default_factory=ChatRecord)
    in_flight: tuple[InFlightStep, ...] = ()


async def _past_of(journal: Journal, run: str) -> _Past:
    """Raise `NotAChat` for a run of tasks, and `RunCancelled` for what was cancelled for good."""
    try:
        manifest = await journal.manifest(run)
    except RunNotFound:
        return _Past()
    if not manifest.options.get("chat"):
        raise NotAChat(run)
    if await journal.cancel_requested(run):
        raise RunCancelled(run)
    history = history_of(await journal.events(run))
    steps = await journal.steps(run)
    said: dict[Unit, tuple[Message, ...]] = {s.unit: s.result for s in steps if s.key == EXCHANGE and s.done}
    chat = chat_of(history.events, lambda unit: said.get(unit, ()))
    return _Past(manifest, history, chat, tuple(in_doubt(await journal.cut_short(run), history)))


@dataclass(frozen=True, slots=True)
class ChatOpening:
    """What a chat is opened with. `agent` and `model`: whom it is with, instead of what is on record."""

    squad: Squad
    options: RunOptions
    agent: str | None = None
    model: str | None = None
    own: Agent | None = None
    on_event: Callable[[Event], None] | None = None

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[OpenedChat]:
        """Open all that the chat needs, and close it after the block. Raise `RunBusy` where another process has it."""
        options, clock = self.options, self.options.clock or steady()
        journal = options.journal or MemoryJournal()
        run = options.run_id or new_run_id("chat", clock())
        async with journal.driving(run), AsyncExitStack() as opened:
            past = await _past_of(journal, run)
            recorded = self._recorded(journal, run, past.manifest)
            folder = None if recorded.get("out") is None else Path(recorded["out"])
            files = run_folder(folder, self.squad, options, overwrite=True, own=past.history.written)
            squad = await self.squad.loaded(options.trust, options.variables)
            squad, remote = await opened.enter_async_context(mcp_opened(squad, options))
            inputs = options.inputs if past.manifest is None or options.inputs else past.manifest.inputs
            origins = origins_of(files)
            for (where, path), untrusted in past.history.origins.items():
                origins.note(where, path, untrusted)
            tools = builtin_tools(squad, files, options, origins).plus(*remote)
            uncapped = replace(squad.plan(inputs, tools), tasks={})
            check_tools(uncapped, options.deps)
            offline = bool(recorded.get("stub")) if past.manifest is not None else options.offline
            complete, stub = await opened.enter_async_context(open_providers(squad, uncapped, options, offline))
            opened.enter_context(held(uncapped, files, run, is_new=past.manifest is None))
            beside = Path(squad.file).parent
            place_of_memory = MemorySetting(run, clock, beside, options.memory, options.state, complete)
            memory = await opened.enter_async_context(open_memory(uncapped, place_of_memory))
            plan = _without_time(capped(uncapped, recorded))
            lasting = options.journal is not None
            at = clock() if past.manifest is None else past.manifest.created_at
            recorded = {**recorded, "stub": stub, "chat": True}
            manifest = manifest_of(squad, uncapped, recorded, at, lasting=lasting)
            subject = subject_of(run, options.traceparent, name=squad.name)
            told = await opened.enter_async_context(subscribed(options.subscribers, subject, options.notify, clock))

            def heard(event: Event) -> None:
                told.tell(event)
                if self.on_event is not None:
                    self.on_event(event)

            place = _Place(journal, run, clock, manifest, past, heard)
            listening = replace(options, hooks=(*told.hooks, *options.hooks))
            chat = place.chat(plan, complete, stub, listening, files, memory)
            chat.trace = told.trace
            chat.partner = self._partner(plan, past)
            live = OpenedChat(chat, plan, stub, self.own)
            try:
                yield live
            finally:
                await chat.close(stub=stub)

    def _recorded(self, journal: Journal, run: str, manifest: RunManifest | None) -> dict[str, Any]:
        """Return the options that hold, with those that are given now. Raise `OutElsewhere`."""
        options = self.options
        if manifest is None:
            return recorded_options(options, bool(options.offline))
        recorded = raised(manifest.options, options.caps)
        if options.folder is not None:
            recorded["out"] = str(options.folder.absolute())
        elif not names_our_folder(journal, run, manifest):
            raise OutElsewhere(run, str(recorded["out"]), moved_folder(run, manifest))
        return recorded

    def _partner(self, plan: Plan, past: _Past) -> ChatPartner:
        """Return whom the chat is with: as is asked now, else as it was last, else the first that the squad names."""
        was = past.chat.partner
        if was is not None and was.agent not in plan.agents:
            was = None
        agent = self.agent or (was.agent if was is not None else next(iter(plan.agents)))
        if agent not in plan.agents:
            raise NoSuchAgent(agent, plan.agents)
        model = was.model if was is not None and was.agent == agent else None
        return ChatPartner(agent, self.model or model)


def _without_time(plan: Plan) -> Plan:
    """Return a plan that lasts as long as a person likes."""
    return plan if plan.budget is None else replace(plan, budget=replace(plan.budget, max_time=None))


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a chat is recorded."""

    journal: Journal
    run: str
    clock: Callable[[], float]
    manifest: RunManifest
    past: _Past
    on_event: Callable[[Event], None]

    def chat(
        self,
        plan: Plan,
        complete: Complete,
        stub: bool,
        options: RunOptions,
        folder: RunFolder | None,
        memory: RunMemory | None,
    ) -> Chat:
        journal, clock, past = self.journal, self.clock, self.past.history
        recorder, work_clock = Recorder(self.run, self.on_event, clock, past), RunClock()
        if folder is not None:
            folder.tell = lambda *written: recorder.record(FileWritten(*written))
            for path, versions in past.written.items():
                folder.wrote(path, versions)
        crew = Crew(plan, complete, clock, recorder.at, past.paid, self.run, memory, work_clock, around=options.around)

        async def flush() -> None:
            await journal.append(self.run, recorder.take())

        asker = Asker(journal, recorder, options.ask, past, work_clock, options.notify, flush=flush)
        work_clock.on_change = asker.release  # who cannot be asked here is not waited for
        account = open_account(BudgetRef("squad"), plan.budget, clock(), past.paid, work_clock.waited)

        async def open_record() -> None:
            out = None if folder is None else str(folder.root)
            if self.past.manifest is None:
                await journal.create(self.run, self.manifest)
                recorder.record(RunStarted(plan.name, (), stub, out))
            else:
                if replace(self.manifest, since=0) != replace(self.past.manifest, since=0):
                    await journal.edit(self.run, replace(self.manifest, since=len(past.events)), ())
                recorder.record(RunResumed((), tuple(step.path for step in self.past.in_flight)))
            await flush()

        budgets = AccountScope((), clock, CallsOfRun(flush, past.sizes)).within(account)
        first = ChatPartner(next(iter(plan.agents)))
        chat = Chat(crew, recorder, journal, asker, budgets, work_clock, open_record, first)
        chat.exchanges, chat.in_flight = list(self.past.chat.exchanges), self.past.in_flight
        return chat


class OpenedChat:
    """A chat, and the plan that its agents are of."""

    def __init__(self, chat: Chat, plan: Plan, stub: bool, own: Agent | None) -> None:
        self.chat, self.stub = chat, stub
        self._plan, self._own = plan, own
        self.adopt()

    def adopt(self) -> None:
        """Let the partner ask the model that was chosen."""
        partner, plan = self.chat.partner, self._plan
        if partner.model is not None:
            changed = replace(plan.agents[partner.agent], model=partner.model)
            plan = replace(plan, agents={**plan.agents, partner.agent: changed})
        self.chat.crew.adopt(plan)
        if self._own is not None:
            own = self._own if partner.model is None else replace(self._own, model=partner.model)
            self.chat.crew.use(partner.agent, own)
