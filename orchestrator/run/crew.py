"""The agents of a run at work: on one piece of work of a task, in a conversation, in a chat.

Every model and tool call below is a durable step, keyed by its place (`build[S-1]/try-1/repeat-2/review/turn-1`), so a
unit that runs again after a crash is handed what it already paid for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

from agents import Agent, RunContext, WorkResult
from agents.exits import ExitTool
from agents.run_context import NOTHING_AROUND, StepKey, Surroundings
from agents.summaries import HistoryMemo
from agents.summariser import Summariser
from agents.tool_names import meant
from agents.untrusted import joined, read_in
from orchestrator.errors import UntrustedInstructions
from orchestrator.events import (
    AgentChosen,
    CutText,
)
from orchestrator.run import prompts, synthesis
from orchestrator.run.assignment import AskWithin, Assignment, UnitResult
from orchestrator.run.bound_agents import BoundAgents
from orchestrator.run.budget import Paid
from orchestrator.run.conversation import Conversation, Minutes, SpokenWords
from orchestrator.run.deltas import DeltaLog
from orchestrator.run.fencing import Brief, fenced_brief
from orchestrator.run.memory import RecalledParts, RunMemory, recall
from orchestrator.run.people import escalation, person_speaks
from orchestrator.run.taint import Fed, Sources
from orchestrator.run.transfers import transfer_tools
from orchestrator.run.truncation import cut_in, in_order
from orchestrator.run.unit_accounts import UnitAccounts, paid_below, with_account
from orchestrator.run.work_clock import RunClock
from orchestrator.squad.choosing import with_agent
from orchestrator.squad.elements import as_text, people_of, task_of
from orchestrator.squad.guardrail_specs import judges_in
from orchestrator.squad.images import images_of
from orchestrator.squad.parts import everyone, who_concludes
from orchestrator.squad.plan import (
    HUMAN,
    AgentWork,
    ConversationPlan,
    ConversationWork,
    Plan,
    SingleWork,
    scoped,
)
from orchestrator.squad.rendering import rendered_work
from orchestrator.squad.untrusted_specs import names_in_schema
from orchestrator.units import ENDED, StepPath, Unit, step_of
from providers.budgets import BudgetRef
from providers.emit import Emit
from providers.messages import Message, ToolResult, with_images

if TYPE_CHECKING:
    from agents.run_context import Complete


@dataclass(slots=True)
class Crew:
    """The plan's agents at work for one run."""

    plan: Plan
    manager: Complete
    clock: Callable[[], float]
    emit_at: Callable[[Unit, StepPath], Emit]
    paid: Sequence[Paid] = ()
    """What earlier processes of the run paid for."""
    run: str | None = None
    memory: RunMemory | None = None
    """What its agents remember over runs."""
    work_clock: RunClock = field(default_factory=RunClock)
    """The run's: an agent's time is its."""
    deltas: DeltaLog | None = None
    """Hears each turn as it comes, of a run that is streamed."""
    around: Surroundings = NOTHING_AROUND
    """What the program that runs the squad put around its calls."""
    ended_conversations: set[str] = field(default_factory=set)
    """Those that the program ended, where their `terminate` lets it."""
    ended_outside: Callable[[], Awaitable[Collection[str]]] | None = None
    """Returns those that were ended in the journal, by whichever process."""
    accounts: UnitAccounts = field(init=False)
    _agents: BoundAgents = field(init=False)
    _memos: dict[str, HistoryMemo] = field(default_factory=dict)
    """The summaries of what was said in a chat, of each agent that is talked to."""

    def __post_init__(self) -> None:
        self.accounts = UnitAccounts(self.clock, self.paid, self.work_clock)
        self._agents = BoundAgents(self.plan, self.manager, self.accounts, self.memory, self.run)

    def use(self, name: str, agent: Agent) -> None:
        """Let an agent of the caller's do the work of one of the plan's."""
        self._agents.use(name, agent)

    def adopt(self, plan: Plan) -> None:
        """Go on with agents that were changed: their work from now on is theirs."""
        self.plan = plan
        self._agents.adopt(plan)

    async def do(
        self, work: AgentWork | ConversationWork, given: Assignment, context: Mapping[str, Fed], ctx: RunContext
    ) -> UnitResult:
        if task_of(self.plan, given.unit.task).squad and self.plan.edition > 1:
            if sources := given.taint.of(names_in_schema(work)):
                raise UntrustedInstructions(f"the output_schema of {given.unit.task}", sources)
            work = rendered_work(work, given.values["inputs"])
        description = as_text(work.description.render(given.values))
        expected = None if work.expected_output is None else as_text(work.expected_output.render(given.values))
        if self.plan.edition > 1:
            quoted = prompts.quoted(work.description, description, given.values)
            context = {name: text for name, text in context.items() if name not in quoted}
        if isinstance(work, AgentWork) and work.choice is not None:
            among, chosen_by = work.choice.among, given.taint.of(work.choice.name.names)
            ctx = ctx.at(untrusted=joined(ctx.untrusted, chosen_by))
            work = with_agent(work, given.values, given.unit.task)
            ctx.emit(AgentChosen(given.unit.task, work.agent, among))
        context = await self._in_budget(work, context, description, given, ctx)
        brief = Brief(work.description, work.expected_output, description, expected, context)
        brief, sources = await fenced_brief(brief, given.values, given.taint, ctx)
        ctx = ctx if not sources else ctx.at(untrusted=joined(ctx.untrusted, sources))
        if isinstance(work, ConversationWork):
            words = prompts.compose(brief.told, brief.expected, brief.fed, given.review.comments)
            return await self._converse(work, words, given, ctx)
        recalled = await recall(self.memory, self.plan.agents[work.agent], description, ctx)
        ctx = _having_read(ctx, recalled)
        words = prompts.compose(brief.told, brief.expected, brief.fed, given.review.comments, recalled.parts)
        result = await self._agent_works(work, self._with_images(work, words, given), given, ctx)
        text = result.text if work.output_schema is None else as_text(result.output)
        return UnitResult(result.output, text, truncated=cut_in(result, ctx.step), untrusted=result.untrusted)

    async def reply(
        self, agent: str, words: str, history: tuple[Message, ...], unit: Unit, ctx: RunContext, ask: AskWithin
    ) -> WorkResult:
        """Return an agent's answer to what a person says to it in a chat, after `history`. `ask` asks that person."""
        here = self.below(self.within(ctx, unit), unit, "try-1")
        recalled = await recall(self.memory, self.plan.agents[agent], words, here)
        account = self.accounts.of_agent(agent, self.plan.agents[agent].budget)
        told, here = prompts.with_recalled(words, recalled.parts), _having_read(here, recalled)
        here = here.at(escalate=escalation(unit, ask, here, self.emit_at))
        here = with_account(here, account).at(memo=self._memos.setdefault(agent, HistoryMemo()))
        return await self._agents.get(agent, None).work(told, here, history=history)

    def effects_in(self, agent: str, messages: Sequence[Message]) -> tuple[str, ...]:
        """Return the tools that an agent called in these messages, and that may have changed something, each once."""
        known = self._agents.get(agent, None).tools if agent in self.plan.agents else ()
        tools = {one.name: one for one in known}
        parts = (part for message in messages for part in message.parts)
        called = [part.name for part in parts if isinstance(part, ToolResult) and not part.is_error]
        names = dict.fromkeys(meant(name, tools) or name for name in called)
        return tuple(name for name in names if name not in tools or tools[name].risk != "read_only")

    def within(self, ctx: RunContext, unit: Unit) -> RunContext:
        """Return the context of a unit's work: the run's rules, and what surrounds all of its calls."""
        return ctx.at(
            edition=self.plan.edition,
            listen=None if self.deltas is None else self.deltas.listen_to(unit),
            run=self.run,
            unit=unit.path,
            deps=self.around.deps,
            hooks=self.around.hooks,
            emit_at=partial(self.emit_at, unit),
        )

    def below(self, ctx: RunContext, unit: Unit, place: str) -> RunContext:
        step = ctx.step + step_of(place)
        return ctx.at(step=step, emit=self.emit_at(unit, step))

    async def _in_budget(
        self, work: SingleWork, context: Mapping[str, Fed], description: str, given: Assignment, ctx: RunContext
    ) -> Mapping[str, Fed]:
        """Return a task's context as far as its budget of tokens goes, else as far as those who read it take it."""
        most = task_of(self.plan, given.unit.task).context_max_tokens
        texts = {title: fed.text for title, fed in context.items()}
        if most is None and (self.plan.edition < 3 or synthesis.is_short(texts)):
            return context
        talks = self.plan.conversations
        doer = work.agent if isinstance(work, AgentWork) else who_concludes(talks[work.conversation], talks)
        bound, account = self._agents.get(doer, None, given.values["inputs"]), self.plan.agents[doer].budget
        who = Summariser(doer, bound.needs, bound.manager)
        here = with_account(ctx, self.accounts.of_agent(doer, account))
        if most is None:
            asking = [self._agents.get(name, None, given.values["inputs"]).asking for name in self._readers(work)]
            most = await synthesis.most_of(texts, description, asking, who, here)
        made = await synthesis.within(texts, most, description, who, here)
        return {title: fed._replace(text=made[title]) for title, fed in context.items()}

    def _readers(self, work: SingleWork) -> list[str]:
        """Return the agents that read what a piece of work is told."""
        if isinstance(work, AgentWork):
            return [work.agent]
        plan = self.plan.conversations[work.conversation]
        heard = (plan.moderator,) if plan.pattern == "hierarchical" else everyone(plan)
        names = [scoped(plan.squad, name) for name in heard if name is not None]
        return [name for name in names if name in self.plan.agents]

    def _with_images(self, work: SingleWork, words: str, given: Assignment) -> Message:
        """Return the words as a message, with the images that they mention."""
        return with_images(words, images_of(work, given.values["inputs"]))

    async def _agent_works(
        self,
        work: AgentWork,
        words: str | Message,
        given: Assignment,
        ctx: RunContext,
        history: tuple[Message, ...] = (),
        exits: tuple[ExitTool, ...] = (),
    ) -> WorkResult:
        squad = people_of(task_of(self.plan, given.unit.task).squad)
        judges = (scoped(squad, name) for name in judges_in(work.guardrails))
        self._agents.refuse_as_system([work.agent, *judges], given)
        agent = self._agents.get(work.agent, work.tools, given.values["inputs"])
        agent = replace(agent, tools=(*agent.tools, *exits)) if exits else agent
        if work.guardrails is not None:
            agent = self._agents.guarded(agent, work.guardrails, squad, given.values["inputs"])
        ctx = ctx.at(escalate=escalation(given.unit, given.ask, ctx, self.emit_at))
        account = self.accounts.of_agent(work.agent, self.plan.agents[work.agent].budget)
        return await agent.work(words, with_account(ctx, account), output_schema=work.output_schema, history=history)

    async def _converse(self, work: ConversationWork, topic: str, given: Assignment, ctx: RunContext) -> UnitResult:
        plan, cuts = self._talk(work.conversation, given), list[CutText]()
        minutes, ctx = await self._hold(plan, work, topic, given, ctx, cuts)
        read = joined(ctx.untrusted, minutes.untrusted)
        ctx = ctx if ctx.edition < 3 else ctx.at(untrusted=read)
        done = UnitResult(minutes.conclusion, minutes.document(), untrusted=ctx.untrusted)
        if work.output_schema is not None:
            done = await self._conclude(work, minutes, topic, given, self.below(ctx, given.unit, "conclusion"))
        transcript = minutes.transcript() if plan.edition > 1 else None
        return replace(done, truncated=in_order(cuts), transcript=transcript)

    async def _hold(
        self,
        plan: ConversationPlan,
        work: ConversationWork,
        topic: str,
        given: Assignment,
        ctx: RunContext,
        cuts: list[CutText],
    ) -> tuple[Minutes, RunContext]:
        """Hold a conversation, and those inside it. Return how it went, and where its budget is drawn on."""
        unit, waited = given.unit, given.clock.waited
        ref, is_its = BudgetRef("conversation", plan.id), paid_below(unit, ctx.step)
        account = self.accounts.open(ref, plan.budget, is_its, waited)
        ctx, memos = with_account(ctx, account), dict[str, HistoryMemo]()

        async def speak(
            speaker: str,
            prompt: str,
            history: tuple[Message, ...],
            place: str,
            untrusted: Sources,
            to: tuple[str, ...] = (),
        ) -> SpokenWords:
            here = self.below(ctx, unit, place)
            if ctx.edition > 2:
                here = here.at(untrusted=joined(ctx.untrusted, (*read_in(history), *untrusted)))
            if speaker == HUMAN:
                return SpokenWords(await person_speaks(plan, prompt, history, unit, given.ask, here))
            if speaker in (plan.nested or ()):
                inner = self._talk(scoped(plan.squad, speaker), given)
                asked = prompts.topic_inside(speaker, prompt, history)
                minutes, _ = await self._hold(inner, work, asked, given, here, cuts)
                return SpokenWords(
                    minutes.conclusion, minutes.tokens, untrusted=joined(here.untrusted, minutes.untrusted)
                )
            spoken = AgentWork(scoped(plan.squad, speaker), work.description)
            recalled = await recall(self.memory, self.plan.agents[spoken.agent], topic, here, is_apart=True)
            asked, here = prompts.with_recalled(prompt, recalled.parts), _having_read(here, recalled)
            here = here.at(memo=memos.setdefault(speaker, HistoryMemo()))
            taken = [tool.name for tool in self.plan.agents[spoken.agent].tools]
            transfers = transfer_tools(to, plan, taken) if ctx.edition > 2 else {}
            result = await self._agent_works(spoken, asked, given, here, history, tuple(transfers.values()))
            cuts.extend(cut_in(result, here.step))
            handed = {tool.name: name for name, tool in transfers.items()}
            return SpokenWords(
                result.text,
                result.counted,
                tuple(_tools_called(result)),
                result.untrusted,
                tuple(handed[name] for name in result.exits),
            )

        own = account.ref if account else None
        images = images_of(work, given.values["inputs"])

        async def is_ended(utterances: int) -> bool:
            async def look() -> bool:
                if plan.id in self.ended_conversations or self.ended_outside is None:
                    return plan.id in self.ended_conversations
                return plan.id in await self.ended_outside()

            key = StepKey((*ctx.step, f"after-{utterances}"), 0, ENDED)
            asked: bool = await ctx.do(key, hashlib.sha256(plan.id.encode()).digest(), look)
            return asked

        held = Conversation(plan, topic, speak, ctx.emit, lambda: self.clock() - waited(), own, images, is_ended)
        return await held.hold(), ctx

    def _talk(self, conversation: str, given: Assignment) -> ConversationPlan:
        plan = self.plan.conversations[conversation]
        if not plan.squad:
            return plan
        agents = {name: self.plan.agents[scoped(plan.squad, name)] for name in plan.names}
        told = {name: self._agents.as_told(agent, given.values["inputs"]) for name, agent in agents.items()}
        return replace(plan, names={name: agent.persona.display_name for name, agent in told.items()})

    async def _conclude(
        self, work: ConversationWork, minutes: Minutes, topic: str, given: Assignment, ctx: RunContext
    ) -> UnitResult:
        """Ask for the result in the wanted shape: one more turn, of the moderator where there is one."""
        speaker = who_concludes(self.plan.conversations[work.conversation], self.plan.conversations)
        shaped = AgentWork(speaker, work.description, output_schema=work.output_schema)
        words = prompts.result_of(topic, minutes.document(), self.plan.edition)
        result = await self._agent_works(shaped, self._with_images(work, words, given), given, ctx)
        return UnitResult(result.output, as_text(result.output), untrusted=result.untrusted)


def _having_read(ctx: RunContext, recalled: RecalledParts) -> RunContext:
    """Return the context of work that begins with what is remembered."""
    if not recalled.untrusted or ctx.edition < 3:
        return ctx
    return ctx.at(untrusted=joined(ctx.untrusted, recalled.untrusted))


def _tools_called(result: WorkResult) -> dict[str, None]:
    """Return the tools that were called in a piece of work, each once."""
    return {call.name: None for message in result.transcript for call in message.tool_calls}
