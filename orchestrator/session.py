"""A chat that goes on over days: whoever is talked to remembers, and all of it is on record.

    async with Session("researcher", journal=journal, id="plans") as session:
        exchange = await session.say("What did we settle?")

The same id in the same journal goes on with it, in another process too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
from anyio.abc import TaskGroup

from agents import Agent
from agents.hooks import Hooks
from agents.memory.store import MemoryStore
from agents.run_context import Complete
from orchestrator.chat_opening import ChatOpening, OpenedChat, chat_squad
from orchestrator.errors import NoSuchAgent
from orchestrator.events import ChatPartner, Event
from orchestrator.journal.protocols import Journal
from orchestrator.options import RunOptions, leave_unanswered
from orchestrator.run.chat import Chat
from orchestrator.run.delta_stream import DeltaStream
from orchestrator.run.deltas import DeltaLog, RunDelta
from orchestrator.run.exchanges import Exchange
from orchestrator.run.questions import Ask
from orchestrator.squad.load import Squad
from orchestrator.subscribers import Subscriber
from providers.catalog.trust import Consent, of_the_program
from providers.emit import Emit, ignore


class Session:
    """A chat with an agent, or with the agents of a squad. Open it with `async with`.

    Nothing is recorded before something is said. A session that was killed goes on with all that was answered; an
    answer that was cut short is `pending`. Two processes cannot hold one session: the second gets `RunBusy`.
    """

    def __init__(
        self,
        who: Squad | Agent | str | None = None,
        *,
        id: str | None = None,  # noqa: A002  # what people call it
        journal: Journal | None = None,
        agent: str | None = None,
        model: str | None = None,
        inputs: Mapping[str, Any] | None = None,
        out: Path | str | None = None,
        manager: Complete | None = None,
        environ: Mapping[str, str] | None = None,
        offline: bool | None = None,
        max_cost_usd: float | None = None,
        ask: Ask = leave_unanswered,
        clock: Callable[[], float] | None = None,
        state: Path | None = None,
        notify: Emit = ignore,
        trust: Consent = of_the_program,
        memory: MemoryStore | Path | str | None = None,
        deps: Any = None,
        hooks: Sequence[Hooks] = (),
        subscribers: Sequence[Subscriber] = (),
        traceparent: str | None = None,
        on_event: Callable[[Event], None] | None = None,
    ) -> None:
        """Make a chat, which `async with` opens.

        - `who`: a squad, an `Agent`, or the name of a library persona; None: an assistant without a persona.
        - `id`: the chat's name in the record, by which it is continued; None: one is made.
        - `agent`: whom of a squad it begins with; None: its first.
        - `model`: another model than the agent's own, `provider/model`.
        - `ask`: is asked before tools that need approval. None in place of an answer leaves it open.
        - `on_event`: is called with each event.

        All else is as `open_run` takes it.
        """
        own = who if isinstance(who, Agent) else None
        if own is not None:
            manager = manager or own.manager
        squad = who if isinstance(who, Squad) else chat_squad(who if isinstance(who, str) else None, own)
        options = RunOptions(
            run_id=id,
            journal=journal,
            inputs=inputs,
            out=out,
            manager=manager,
            environ=environ,
            offline=offline,
            max_cost_usd=max_cost_usd,
            ask=ask,
            clock=clock,
            state=state,
            notify=notify,
            trust=trust,
            memory=memory,
            deps=deps,
            hooks=hooks,
            subscribers=subscribers,
            traceparent=traceparent,
        )
        self._opening = ChatOpening(squad, options, agent, model, own, on_event)
        self._stack = AsyncExitStack()
        self._opened: OpenedChat | None = None

    async def __aenter__(self) -> Self:
        self._opened = await self._stack.enter_async_context(self._opening.opened())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    # -- what it is

    @property
    def id(self) -> str:
        """The name of the chat: who opens it by this name goes on with it."""
        return self._chat.recorder.run_id

    @property
    def agent(self) -> str:
        """The agent that answers where no other is named."""
        return self._chat.partner.agent

    @property
    def agents(self) -> tuple[str, ...]:
        """All who can be talked to."""
        return tuple(self._chat.crew.plan.agents)

    @property
    def model(self) -> str | None:
        """The model that was chosen; None: as the agent's tier has it."""
        return self._chat.partner.model

    @property
    def history(self) -> tuple[Exchange, ...]:
        """The exchanges that stand, oldest first."""
        return tuple(one for one in self._chat.exchanges if one.stands)

    @property
    def exchanges(self) -> tuple[Exchange, ...]:
        """All that are on record: undone, failed and pending ones too."""
        return tuple(self._chat.exchanges)

    @property
    def pending(self) -> Exchange | None:
        """The exchange whose answer was cut short, or waits for a person: `go_on` answers it, `say` gives it up."""
        return self._chat.pending

    @property
    def cost(self) -> int | None:
        """Micro-USD of all that was answered, undone exchanges too; None where a price is unknown."""
        return self._chat.recorder.cost

    @property
    def tokens(self) -> int:
        """Tokens of all that was answered."""
        return self._chat.recorder.usage.total

    @property
    def is_stub(self) -> bool:
        """Whether the offline stub answers: no model is asked."""
        return self._live.stub

    # -- what can be done

    async def say(self, text: str, *, to: str | None = None) -> Exchange:
        """Return the exchange that this begins, with its `answer`, once it is recorded. `to` is another agent.

        Raise `ValueError` where nothing is said, and what the agent's work raises: the exchange then counts as failed,
        and the chat goes on. Cancelling it ends the answer, not the chat. Raise `AnswerSuspended` where it waits for a
        person's approval.
        """
        return await self._chat.say(_words(text), self._known(to))

    def stream(self, text: str, *, to: str | None = None) -> ReplyStream:
        """Say it, and read the answer as it comes: `async with session.stream("...") as r: async for delta in r`.

        `r.exchange` is what `say` returns, once the deltas are over.
        """
        words, agent = _words(text), self._known(to)
        return ReplyStream(self._live, lambda: self._chat.say(words, agent))

    def stream_on(self) -> ReplyStream:
        """Do as `go_on`, and read the answer as it comes."""
        return ReplyStream(self._live, self._chat.go_on)

    async def go_on(self) -> Exchange | None:
        """Return the pending exchange, answered; None where there is none. What is recorded is not paid again."""
        return await self._chat.go_on()

    async def undo(self, count: int = 1) -> list[Exchange]:
        """Take the last exchanges out of what the agents are told, and return them. The record keeps them, marked.

        What their tools did is not undone: `effects_of` says which were called.
        """
        return await self._chat.undo(count)

    def effects_of(self, exchange: Exchange) -> tuple[str, ...]:
        """Return the tools that were called in an exchange and may have changed something; those that only read are
        left out."""
        return self._chat.crew.effects_in(exchange.agent, exchange.messages)

    async def talk_to(self, agent: str | None = None, *, model: str | None = None) -> None:
        """Go on with another agent, or another `model` ("" for the agent's own). Raise `NoSuchAgent`."""
        now = self._chat.partner
        who = self._known(agent)
        chosen = (now.model if who == now.agent else None) if model is None else model or None
        await self._chat.talk_to(ChatPartner(who, chosen))
        self._live.adopt()

    def _known(self, agent: str | None) -> str:
        if agent is None:
            return self.agent
        if agent not in self.agents:
            raise NoSuchAgent(agent, self.agents)
        return agent

    @property
    def _live(self) -> OpenedChat:
        if self._opened is None:
            raise RuntimeError("the session is not open: use `async with`")
        return self._opened

    @property
    def _chat(self) -> Chat:
        return self._live.chat


def _words(text: str) -> str:
    if not text.strip():
        raise ValueError("there is nothing said")
    return text


class ReplyStream:
    """One answer of a session as it comes: its deltas, then `exchange`. Leaving the block early ends the answer."""

    def __init__(self, live: OpenedChat, work: Callable[[], Any]) -> None:
        self._live, self._work = live, work
        self._exchange: Exchange | None = None
        self._deltas: DeltaStream | None = None
        self._tasks: TaskGroup | None = None

    @property
    def exchange(self) -> Exchange:
        """What was said, and answered. Raise `RuntimeError` before the deltas are over."""
        if self._exchange is None:
            raise RuntimeError("the answer is not there: read all of its deltas first")
        return self._exchange

    async def __aenter__(self) -> Self:
        live = self._live
        log = live.chat.crew.deltas = DeltaLog(live.chat.recorder.run_id)
        self._deltas = DeltaStream.after(log, live.chat.journal, None)
        self._tasks = await anyio.create_task_group().__aenter__()
        self._tasks.start_soon(self._answer, log)
        return self

    async def _answer(self, log: DeltaLog) -> None:
        try:
            self._exchange = await self._work()
        finally:
            log.close()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._tasks is not None, "it was entered"
        self._tasks.cancel_scope.cancel()
        try:
            return await self._tasks.__aexit__(kind, error, trace)
        except BaseExceptionGroup as group:
            if len(group.exceptions) > 1:
                raise
            raise group.exceptions[0] from None
        finally:
            self._live.chat.crew.deltas = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RunDelta:
        return await self._said.__anext__()

    async def more(self) -> bool:
        """Wait until `ready` returns something, unless another task was there before. False: the answer is over."""
        return await self._said.more()

    def ready(self) -> list[RunDelta]:
        """Return what can be had without waiting."""
        return self._said.ready()

    @property
    def _said(self) -> DeltaStream:
        if self._deltas is None:
            raise RuntimeError("the answer is made while a block is open: async with session.stream(...) as reply")
        return self._deltas
