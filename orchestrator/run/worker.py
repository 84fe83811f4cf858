"""What one unit does: its agent's, its conversation's or its steps' work, with repeats, retries and time limits.

Every model and tool call below is a durable step, keyed by its place (`build[S-1]/try-1/repeat-2/review/turn-1`), so a
unit that runs again after a crash is handed what it already paid for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import anyio

from agents import Agent, OutputInvalid, RunContext, ToolFault, WorkResult
from agents.agent_tool import bound_to
from agents.fences import without_fence
from agents.guardrails import Guardrails
from agents.summaries import HistoryMemo
from agents.summariser import Summariser
from agents.tools import Tool
from agents.turn import NOTHING_AROUND, Escalate, Leave, StepKey, Surroundings
from agents.untrusted import joined
from orchestrator.errors import RepeatExhausted, SquadFailed, TaskTimedOut, UntrustedInstructions
from orchestrator.events import (
    AgentChosen,
    CaseChosen,
    CutText,
    GateOpened,
    TaskRepeated,
    TaskRetried,
)
from orchestrator.run import prompts, synthesis
from orchestrator.run.accounts import AccountScope
from orchestrator.run.artifacts import Artifacts
from orchestrator.run.assignment import Assignment, UnitResult
from orchestrator.run.budget import Paid
from orchestrator.run.conversation import Conversation, Minutes, SpokenWords
from orchestrator.run.deltas import DeltaLog
from orchestrator.run.downgrading import Downgrading
from orchestrator.run.fencing import Brief, fenced_brief
from orchestrator.run.memory import RecalledParts, RunMemory, recall, with_memory
from orchestrator.run.retries import backoff_s, causes_of
from orchestrator.run.state import as_text, paragraphs
from orchestrator.run.taint import Fed, Sources
from orchestrator.run.truncation import cut_in, in_order, in_words
from orchestrator.run.unit_accounts import UnitAccounts, paid_below, with_account
from orchestrator.run.work_clock import RunClock, time_limit
from orchestrator.squad.choosing import with_agent, with_case
from orchestrator.squad.conditions import holds
from orchestrator.squad.guardrail_specs import judges_in, with_judge
from orchestrator.squad.helpers import helpers_of
from orchestrator.squad.images import images_of
from orchestrator.squad.plan import (
    HUMAN,
    AgentPlan,
    AgentWork,
    CaseSquad,
    ConversationPlan,
    ConversationWork,
    Plan,
    SingleWork,
    Steps,
    Switch,
    TaskPlan,
    local,
    scoped,
    who_concludes,
)
from orchestrator.squad.rendering import rendered_agent, rendered_work
from orchestrator.squad.untrusted_specs import names_in_schema, names_in_system
from orchestrator.units import ENDED, SAID, StepPath, Unit, path_of, step_of
from providers.budgets import BudgetRef
from providers.errors import RoutingError
from providers.events import Emit
from providers.messages import Message, with_images

if TYPE_CHECKING:
    from agents.turn import Complete


@dataclass(slots=True)
class TaskRunner:
    """The plan's agents at work for one run. `files` are those that its tasks write."""

    plan: Plan
    manager: Complete
    clock: Callable[[], float]
    emit_at: Callable[[Unit, StepPath], Emit]
    files: Artifacts = field(default_factory=Artifacts)
    paid: Sequence[Paid] = ()
    """What earlier processes of the run paid for."""
    run: str | None = None
    pause: Callable[[float], Awaitable[None]] = anyio.sleep
    """Waits so many seconds before a task is tried once more."""
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
    _agents: dict[str, Agent] = field(default_factory=dict)
    _memos: dict[str, HistoryMemo] = field(default_factory=dict)
    """The summaries of what was said in a chat, of each agent that is talked to."""
    _accounts: UnitAccounts = field(init=False)

    def __post_init__(self) -> None:
        self._accounts = UnitAccounts(self.clock, self.paid, self.work_clock)

    async def perform(self, task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
        """Do the unit's work and write its file. Raises what the work raises, after the plan's retries."""
        budgets: AccountScope = ctx.budgets  # type: ignore[assignment]  # the run hands every unit a scope of ours
        account = self._accounts.of_task(task, given, ctx.step)
        for around in self._accounts.of_squads(task.squad, self.plan.squads):
            budgets = budgets.within(around)
        ctx = self._within(ctx, given.unit).at(budgets=budgets.within(account))
        if task.output_file is None:
            return await self._with_retries(task, given, ctx)
        path = str(task.output_file.render(given.values))
        self.files.claim(path, given.unit)  # known before anything is paid for
        if not any(call.unit == given.unit for call in self.paid):  # else the file may be the unit's own, of before
            await self.files.look(path)
        try:
            done = await self._with_retries(task, given, ctx)
        except RepeatExhausted as error:
            if error.last is not None:
                await self.files.write(path, self._unfenced(error.last.text, path), ctx.emit)
                error.last = replace(error.last, output_file=path)
            raise
        await self.files.write(path, self._unfenced(done.text, path), ctx.emit)
        return replace(done, output_file=path)

    def _unfenced(self, text: str, path: str) -> str:
        return without_fence(text, path) if self.plan.edition > 1 else text

    async def _with_retries(self, task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
        attempt = given.tried + 1
        budgets: AccountScope = ctx.budgets  # type: ignore[assignment]  # as in perform
        below = budgets.without("squad")  # when the run's own time is up, the driver ends all of it
        while True:
            here = self._below(ctx, given.unit, f"try-{attempt}")
            try:
                with time_limit(task.timeout, below, f"task {task.id}", given.clock):
                    done = await self._repeat(task, given, here)
                if not done.truncated or "truncated" not in task.retry.on or attempt >= task.retry.max_attempts:
                    return done
                ctx.emit(TaskRetried(task.id, attempt, in_words(done.truncated)))
            except (OutputInvalid, ToolFault, TaskTimedOut, RoutingError) as error:
                if not causes_of(error) & task.retry.on or attempt >= task.retry.max_attempts:
                    raise
                ctx.emit(TaskRetried(task.id, attempt, str(error)))
                await self.pause(backoff_s(error, attempt, self.clock()))
            attempt += 1

    async def _repeat(self, task: TaskPlan, given: Assignment, ctx: RunContext) -> UnitResult:
        if task.repeat is None:
            return (await self._do(task, given, {}, ctx))[0]
        earlier: dict[str, Fed] = {}
        done: UnitResult | None = None
        for attempt in range(1, task.repeat.max_attempts + 1):
            done, steps = await self._do(task, given, earlier, self._below(ctx, given.unit, f"repeat-{attempt}"))
            until = task.repeat.until.render({**given.values, "steps": steps, "output": done.output})
            if holds(until, "until", self.plan.edition):
                return done
            ctx.emit(TaskRepeated(task.id, attempt))
            texts = {f"{name}, attempt {attempt}": as_text(made["output"]) for name, made in steps.items()}
            texts = texts or {f"attempt {attempt}": done.text}
            earlier = {title: Fed(text, done.untrusted) for title, text in texts.items()}
        # Where later tasks go on without it, they go on with what there is.
        last = done if task.continue_on_error and self.plan.edition > 1 else None
        raise RepeatExhausted(f"`until` of {task.id} did not hold in {task.repeat.max_attempts} attempts", last)

    async def _do(
        self, task: TaskPlan, given: Assignment, earlier: Mapping[str, Fed], ctx: RunContext
    ) -> tuple[UnitResult, dict[str, Any]]:
        """Do the work once. Returns what was made, and each step's own output."""
        context = {**self._context(task, given), **earlier}
        body = task.work
        if isinstance(body, Switch):
            cases = tuple(body.cases)
            case, chosen = with_case(body, given.values, task.id)
            ctx.emit(CaseChosen(task.id, case, cases))
            if isinstance(chosen, CaseSquad):
                inside = local(task.squad, chosen.task)
                made_there = made_by_squad(inside, given.values)
                return replace(made_there, untrusted=given.taint.of([("tasks", inside, "output")])), {}
            body = chosen
        if not isinstance(body, Steps):
            assert isinstance(body, AgentWork | ConversationWork), "a gate is no work for a unit"
            return await self._one(body, given, context, ctx), {}
        made: dict[str, Any] = {}
        cuts: list[CutText] = []
        taint, sources = given.taint, Sources()
        for step in body.steps:
            inner = replace(given, values={**given.values, "steps": made}, taint=taint)
            condition = True if step.condition is None else step.condition.render(inner.values)
            if not holds(condition, "if", self.plan.edition):
                made[step.id] = {"output": None, "status": "skipped", "transcript": None}
                continue
            with time_limit(step.timeout, None, f"step {step.id} of task {task.id}", given.clock):
                done = await self._one(step.work, inner, context, self._below(ctx, given.unit, step.id))
            made[step.id] = {"output": done.output, "status": "ok", "transcript": paragraphs(done.transcript)}
            cuts += done.truncated
            context = {**context, step.id: Fed(done.text, done.untrusted)}
            taint, sources = taint.plus(("steps", step.id), done.untrusted), joined(sources, done.untrusted)
        outputs = {name: step["output"] for name, step in made.items()}
        text = "\n\n".join(f"## {name}\n\n{as_text(output)}" for name, output in outputs.items() if output is not None)
        return UnitResult(outputs, text, truncated=tuple(cuts), untrusted=sources), made

    async def _one(
        self, work: AgentWork | ConversationWork, given: Assignment, context: Mapping[str, Fed], ctx: RunContext
    ) -> UnitResult:
        if self.plan.tasks[given.unit.task].squad and self.plan.edition > 1:
            if sources := given.taint.of(names_in_schema(work)):
                raise UntrustedInstructions(f"the output_schema of {given.unit.task}", sources)
            work = rendered_work(work, given.values["inputs"])
        description = as_text(work.description.render(given.values))
        expected = None if work.expected_output is None else as_text(work.expected_output.render(given.values))
        if self.plan.edition > 1:
            quoted = prompts.quoted(work.description, description, given.values)
            context = {name: text for name, text in context.items() if name not in quoted}
        if isinstance(work, AgentWork) and work.choice is not None:
            among = work.choice.among
            work = with_agent(work, given.values, given.unit.task)
            ctx.emit(AgentChosen(given.unit.task, work.agent, among))
        context = await self._in_budget(work, context, description, given, ctx)
        brief = Brief(work.description, work.expected_output, description, expected, context)
        brief, sources = await fenced_brief(brief, given.values, given.taint, ctx)
        ctx = ctx if not sources else ctx.at(untrusted=sources)
        if isinstance(work, ConversationWork):
            words = prompts.compose(brief.told, brief.expected, brief.fed, given.comments)
            return await self._converse(work, words, given, ctx)
        recalled = await recall(self.memory, self.plan.agents[work.agent], description, ctx)
        ctx = _having_read(ctx, recalled)
        words = prompts.compose(brief.told, brief.expected, brief.fed, given.comments, recalled.parts)
        result = await self._agent_works(work, self._with_images(work, words, given), given, ctx)
        text = result.text if work.output_schema is None else as_text(result.output)
        return UnitResult(result.output, text, truncated=cut_in(result, ctx.step), untrusted=result.untrusted)

    async def _in_budget(
        self, work: SingleWork, context: Mapping[str, Fed], description: str, given: Assignment, ctx: RunContext
    ) -> Mapping[str, Fed]:
        """Return a task's context as far as its budget of tokens goes, for the agent that does the work."""
        most = self.plan.tasks[given.unit.task].context_max_tokens
        if most is None:
            return context
        talks = self.plan.conversations
        doer = work.agent if isinstance(work, AgentWork) else who_concludes(talks[work.conversation], talks)
        bound, account = self._agent(doer, None, given.values["inputs"]), self.plan.agents[doer].budget
        who = Summariser(doer, bound.needs, bound.manager)
        here = with_account(ctx, self._accounts.of_agent(doer, account))
        texts = {title: fed.text for title, fed in context.items()}
        made = await synthesis.within(texts, most, description, who, here)
        return {title: fed._replace(text=made[title]) for title, fed in context.items()}

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
    ) -> WorkResult:
        judges = (scoped(self.plan.tasks[given.unit.task].squad, name) for name in judges_in(work.guardrails))
        self._refuse_as_system([work.agent, *judges], given)
        agent = self._agent(work.agent, work.tools, given.values["inputs"])
        if work.guardrails is not None:
            squad = self.plan.tasks[given.unit.task].squad
            agent = self._guarded(agent, work.guardrails, squad, given.values["inputs"])
        ctx = ctx.at(escalate=self._escalation(given, ctx))
        account = self._accounts.of_agent(work.agent, self.plan.agents[work.agent].budget)
        return await agent.work(words, with_account(ctx, account), output_schema=work.output_schema, history=history)

    async def reply(
        self, agent: str, words: str, history: tuple[Message, ...], unit: Unit, ctx: RunContext
    ) -> WorkResult:
        """Return an agent's answer to what a person says to it in a chat, after `history`."""
        here = self._below(self._within(ctx, unit), unit, "try-1")
        recalled = await recall(self.memory, self.plan.agents[agent], words, here)
        account = self._accounts.of_agent(agent, self.plan.agents[agent].budget)
        told, here = prompts.with_recalled(words, recalled.parts), _having_read(here, recalled)
        here = with_account(here, account).at(memo=self._memos.setdefault(agent, HistoryMemo()))
        return await self._agent(agent, None).work(told, here, history=history)

    def use(self, name: str, agent: Agent) -> None:
        """Let an agent of the caller's do the work of one of the plan's."""
        self._agents[name] = agent

    def adopt(self, plan: Plan) -> None:
        """Go on with agents that were changed: their work from now on is theirs."""
        self.plan = plan
        self._agents.clear()

    async def _converse(self, work: ConversationWork, topic: str, given: Assignment, ctx: RunContext) -> UnitResult:
        plan, cuts = self._talk(work.conversation, given), list[CutText]()
        minutes, ctx = await self._hold(plan, work, topic, given, ctx, cuts)
        read = joined(ctx.untrusted, minutes.untrusted)
        ctx = ctx if ctx.edition < 3 else ctx.at(untrusted=read)
        done = UnitResult(minutes.conclusion, minutes.document(), untrusted=ctx.untrusted)
        if work.output_schema is not None:
            done = await self._conclude(work, minutes, topic, given, self._below(ctx, given.unit, "conclusion"))
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
        account = self._accounts.open(ref, plan.budget, is_its, waited)
        ctx, memos = with_account(ctx, account), dict[str, HistoryMemo]()

        async def speak(speaker: str, prompt: str, history: tuple[Message, ...], place: str) -> SpokenWords:
            here = self._below(ctx, unit, place)
            if ctx.edition > 2:
                here = here.at(untrusted=joined(ctx.untrusted, _read_in(history)))
            if speaker == HUMAN:
                return SpokenWords(await self._person_speaks(prompt, history, given, here))
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
            result = await self._agent_works(spoken, asked, given, here, history)
            cuts.extend(cut_in(result, here.step))
            return SpokenWords(result.text, result.counted, tuple(_tools_called(result)), result.untrusted)

        own = account.ref if account else None
        images = images_of(work, given.values["inputs"])

        async def is_ended(utterances: int) -> bool:
            async def look() -> bool:
                return plan.id in self.ended_conversations

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
        told = {name: self._as_told(agent, given.values["inputs"]) for name, agent in agents.items()}
        return replace(plan, names={name: agent.persona.display_name for name, agent in told.items()})

    async def _conclude(
        self, work: ConversationWork, minutes: Minutes, topic: str, given: Assignment, ctx: RunContext
    ) -> UnitResult:
        """Ask for the result in the wanted shape: one more turn, of the moderator where there is one."""
        speaker = who_concludes(self.plan.conversations[work.conversation], self.plan.conversations)
        shaped = AgentWork(speaker, work.description, output_schema=work.output_schema)
        words = prompts.compose(topic, "The result of the conversation.", {"The conversation": minutes.document()})
        result = await self._agent_works(shaped, self._with_images(work, words, given), given, ctx)
        return UnitResult(result.output, as_text(result.output), untrusted=result.untrusted)

    async def _person_speaks(
        self, prompt: str, history: tuple[Message, ...], given: Assignment, ctx: RunContext
    ) -> str:
        gate = GateOpened(path_of(given.unit, ctx.step), prompt, ("say",), prompts.shown_to_a_person(history[-3:]), 1)

        async def ask() -> str:
            return (await given.ask(gate, ctx.step, "a person's reply")).comment

        heard = b"".join(message.digest for message in history) + prompt.encode("utf-8", "replace")
        said: str = await ctx.do(StepKey(ctx.step, 0, SAID), hashlib.sha256(heard).digest(), ask)
        return said

    def _agent(self, name: str, tools: tuple[Tool, ...] | None, inputs: Mapping[str, Any] | None = None) -> Agent:
        key = name if tools is None else f"{name} {[tool.name for tool in tools]}"
        if key in self._agents:
            return self._agents[key]
        written = self.plan.agents[name]
        plan = self._as_told(written, inputs or {})
        agent = self._made(plan, self._bound(plan.tools if tools is None else tools, inputs))
        if plan.guardrails is not None:
            agent = self._guarded(agent, plan.guardrails, plan.squad, inputs)
        if plan == written:  # what reads the inputs of a sub-squad is made anew: a revision may change them
            self._agents[key] = agent
        return agent

    def _refuse_as_system(self, agents: list[str], given: Assignment) -> None:
        """Raise `UntrustedInstructions` where the system message of an agent of a sub-squad, or of one at work for it,
        would hold what others wrote: only now is known what the sub-squad was given."""
        for name in helpers_of(self.plan.agents, agents) if given.taint.paths else ():
            plan = self.plan.agents[name]
            judges = (scoped(plan.squad, judge) for judge in judges_in(plan.guardrails))
            for one in (plan, *(self.plan.agents[judge] for judge in judges)):
                if one.squad and (sources := given.taint.of(names_in_system(one))):
                    raise UntrustedInstructions(f"the system message of {one.id}", sources)

    def _as_told(self, agent: AgentPlan, inputs: Mapping[str, Any]) -> AgentPlan:
        """Return an agent with what its texts read of the inputs, where those are known only now."""
        return rendered_agent(agent, inputs) if agent.squad and self.plan.edition > 1 else agent

    def _made(self, plan: AgentPlan, tools: tuple[Tool, ...]) -> Agent:
        return Agent(
            name=plan.id,
            persona=plan.persona,
            tools=with_memory(plan, tools, self.memory),
            manager=Downgrading(self.manager),
            max_turns=plan.max_turns,
            max_output_tokens=plan.max_output_tokens,
            instructions=plan.instructions,
            temperature=plan.temperature,
            effort=plan.effort,
            tier=plan.tier,
            model=plan.model,
            chain=plan.chain,
            history=self.plan.squads[plan.squad].history if plan.squad else self.plan.history,
            values=plan.values or {},
            run=self.run,
            risky_tools=plan.risky_tools or "ask",
        )

    def _bound(self, tools: Sequence[Tool], inputs: Mapping[str, Any] | None) -> tuple[Tool, ...]:
        """Return an agent's tools, with those at work that are agents themselves."""
        return tuple(one if one.agent is None else self._helper(one, one.agent, inputs) for one in tools)

    def _guarded(self, agent: Agent, rails: Guardrails, squad: str | None, inputs: Mapping[str, Any] | None) -> Agent:
        """Return an agent with more guardrails, bound to the agents of a sub-squad, or the squad, that judge."""
        more, own = with_judge(rails, partial(self._judge, squad, inputs)), agent.guardrails
        return replace(agent, guardrails=Guardrails((*own.input, *more.input), (*own.output, *more.output)))

    def _judge(self, squad: str | None, inputs: Mapping[str, Any] | None, name: str) -> Callable[..., Awaitable[Any]]:
        """Return the work of an agent that judges what others say, within its own budget."""
        judge = scoped(squad, name)
        account = self._accounts.of_agent(judge, self.plan.agents[judge].budget)

        async def work(brief: str, ctx: RunContext, **more: Any) -> WorkResult:
            return await self._agent(judge, None, inputs).work(brief, with_account(ctx, account), **more)

        return work

    def _escalation(self, given: Assignment, ctx: RunContext) -> Escalate:
        """Return what asks a person whether a text may pass, once, at a place of its own."""

        async def escalate(place: StepPath, question: str, text: str) -> Leave:
            here = ctx.at(step=place, emit=self.emit_at(given.unit, place))
            gate = GateOpened(path_of(given.unit, place), question, ("approve", "reject"), {"text": text}, 1)

            async def ask() -> list[str]:
                answer = await given.ask(gate, place, "a person's word on a text")
                return [answer.choice, answer.comment]

            asked = hashlib.sha256(f"{question}\0{text}".encode("utf-8", "surrogatepass")).digest()
            choice, comment = await here.do(StepKey(place, 0, SAID), asked, ask)
            return Leave(choice == "approve", comment)

        return escalate

    def _helper(self, tool: Tool, agent: str, inputs: Mapping[str, Any] | None) -> Tool:
        account = self._accounts.of_agent(agent, self.plan.agents[agent].budget)
        return bound_to(tool, self._agent(agent, None, inputs), lambda ctx: with_account(ctx, account))

    def _within(self, ctx: RunContext, unit: Unit) -> RunContext:
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

    def _below(self, ctx: RunContext, unit: Unit, place: str) -> RunContext:
        step = ctx.step + step_of(place)
        return ctx.at(step=step, emit=self.emit_at(unit, step))

    def _context(self, task: TaskPlan, given: Assignment) -> dict[str, Fed]:
        """Return the outputs that feed the task. A need that is not named in `context` only orders it."""
        ended = given.values["tasks"]
        context = [local(task.squad, name) for name in task.context]
        made = {name: ended[name]["output"] for name in context if name in ended}
        texts = {name: as_text(output) for name, output in made.items() if output is not None}
        return {name: Fed(text, given.taint.of([("tasks", name, "output")])) for name, text in texts.items()}


def _having_read(ctx: RunContext, recalled: RecalledParts) -> RunContext:
    """Return the context of work that begins with what is remembered."""
    if not recalled.untrusted or ctx.edition < 3:
        return ctx
    return ctx.at(untrusted=joined(ctx.untrusted, recalled.untrusted))


def _read_in(history: Sequence[Message]) -> Sources:
    """Return the sources of what others wrote in what was heard."""
    return joined((), (source for message in history if message.origin for source in message.origin.untrusted))


def _tools_called(result: WorkResult) -> dict[str, None]:
    """Return the tools that were called in a piece of work, each once."""
    return {call.name: None for message in result.transcript for call in message.tool_calls}


def made_by_squad(task: str, values: Mapping[str, Any]) -> UnitResult:
    """Return what the sub-squad of a case has made. Raise `SquadFailed` where it failed."""
    ended = values["tasks"][task]
    if ended["status"] != "ok":
        raise SquadFailed(task)
    return UnitResult(ended["output"], as_text(ended["output"]))
