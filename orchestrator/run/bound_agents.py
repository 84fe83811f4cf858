"""The agents of a plan, ready to work: bound to their tools, helpers, memory, guardrails and judges."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from agents import Agent, RunContext, WorkResult
from agents.agent_tool import bound_to
from agents.guardrails import Guardrails
from agents.tools import Tool
from orchestrator.errors import UntrustedInstructions
from orchestrator.run.assignment import Assignment
from orchestrator.run.downgrading import Downgrading
from orchestrator.run.memory import RunMemory, with_memory
from orchestrator.run.unit_accounts import UnitAccounts, with_account
from orchestrator.squad.approval_specs import with_approvals
from orchestrator.squad.guardrail_specs import judges_in, with_judge
from orchestrator.squad.helpers import helpers_of
from orchestrator.squad.plan import (
    AgentPlan,
    Plan,
    scoped,
)
from orchestrator.squad.rendering import rendered_agent
from orchestrator.squad.untrusted_specs import names_in_system

if TYPE_CHECKING:
    from agents.run_context import Complete


@dataclass(slots=True)
class BoundAgents:
    """`manager` answers their turns; `accounts` are what agents are paid from that work for others."""

    plan: Plan
    manager: Complete
    accounts: UnitAccounts
    memory: RunMemory | None = None
    run: str | None = None
    _ready: dict[str, Agent] = field(default_factory=dict)

    def use(self, name: str, agent: Agent) -> None:
        """Let an agent of the caller's do the work of one of the plan's."""
        self._ready[name] = agent

    def adopt(self, plan: Plan) -> None:
        """Go on with agents that were changed: their work from now on is theirs."""
        self.plan = plan
        self._ready.clear()

    def get(self, name: str, tools: tuple[Tool, ...] | None, inputs: Mapping[str, Any] | None = None) -> Agent:
        key = name if tools is None else f"{name} {[tool.name for tool in tools]}"
        if key in self._ready:
            return self._ready[key]
        written = self.plan.agents[name]
        plan = self.as_told(written, inputs or {})
        agent = self._made(plan, self._bound(plan.tools if tools is None else tools, inputs))
        if plan.guardrails is not None:
            agent = self.guarded(agent, plan.guardrails, plan.squad, inputs)
        if plan == written:  # what reads the inputs of a sub-squad is made anew: a revision may change them
            self._ready[key] = agent
        return agent

    def guarded(self, agent: Agent, rails: Guardrails, squad: str | None, inputs: Mapping[str, Any] | None) -> Agent:
        """Return an agent with more guardrails, bound to the agents of a sub-squad, or the squad, that judge."""
        more, own = with_judge(rails, partial(self._judge, squad, inputs)), agent.guardrails
        return replace(agent, guardrails=Guardrails((*own.input, *more.input), (*own.output, *more.output)))

    def refuse_as_system(self, agents: list[str], given: Assignment) -> None:
        """Raise `UntrustedInstructions` where the system message of an agent of a sub-squad, or of one at work for it,
        would hold what others wrote: only now is known what the sub-squad was given."""
        for name in helpers_of(self.plan.agents, agents) if given.taint.paths else ():
            plan = self.plan.agents[name]
            judges = (scoped(plan.squad, judge) for judge in judges_in(plan.guardrails))
            for one in (plan, *(self.plan.agents[judge] for judge in judges)):
                if one.squad and (sources := given.taint.of(names_in_system(one))):
                    raise UntrustedInstructions(f"the system message of {one.id}", sources)

    def as_told(self, agent: AgentPlan, inputs: Mapping[str, Any]) -> AgentPlan:
        """Return an agent with what its texts read of the inputs, where those are known only now."""
        return rendered_agent(agent, inputs) if agent.squad and self.plan.edition > 1 else agent

    def _made(self, plan: AgentPlan, tools: tuple[Tool, ...]) -> Agent:
        return Agent(
            name=plan.id,
            persona=plan.persona,
            tools=with_approvals(with_memory(plan, tools, self.memory), plan.approvals),
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

    def _judge(self, squad: str | None, inputs: Mapping[str, Any] | None, name: str) -> Callable[..., Awaitable[Any]]:
        """Return the work of an agent that judges what others say, within its own budget."""
        judge = scoped(squad, name)
        account = self.accounts.of_agent(judge, self.plan.agents[judge].budget)

        async def work(brief: str, ctx: RunContext, **more: Any) -> WorkResult:
            return await self.get(judge, None, inputs).work(brief, with_account(ctx, account), **more)

        return work

    def _helper(self, tool: Tool, agent: str, inputs: Mapping[str, Any] | None) -> Tool:
        account = self.accounts.of_agent(agent, self.plan.agents[agent].budget)
        return bound_to(tool, self.get(agent, None, inputs), lambda ctx: with_account(ctx, account))
