"""What a squad would cost, who would answer it and which limits it would meet: N runs of it as a scenario. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.turns import ExpectedTurn, Outlook, expect
from orchestrator.squad.elements import is_inside, whole
from orchestrator.squad.plan import AgentPlan, Budget, Plan
from providers.catalog.model import Catalog
from providers.messages import Capability
from providers.policy.model import Policy
from providers.simulation import Behaviour, Claim, Latency, Load, Report, Scenario

LATENCY = Latency()
USUAL = Assumptions()


@dataclass(frozen=True, slots=True)
class Forecast:
    """`runs` of a plan, `per_hour` an hour, as a scenario; and what one run is expected to need."""

    plan: Plan
    runs: int
    per_hour: float
    outlook: Outlook
    scenario: Scenario
    assumptions: tuple[str, ...]

    def claims(self, report: Report) -> tuple[Claim, ...]:
        """Return whether every turn was answered, and for each budget whether a run stays within it."""
        every = Claim("every turn is answered", not report.failed, f"{report.answered:,} of {report.turns:,} turns")
        return every, *self._within(report)

    def _within(self, report: Report) -> Iterator[Claim]:
        turns = self.outlook.turns
        least = " at least" if report.unpriced else ""
        if (caps := self.plan.budget) is not None:
            yield from _caps("a run", caps, turns, report.cost / self.runs, least)
            if caps.max_time is not None:
                took = self.outlook.seconds
                yield Claim(f"a run stays within its {caps.max_time:,g} s", took <= caps.max_time, f"{took:,.0f} s")
        tasks = whole(self.plan).tasks
        for name, task in self.plan.tasks.items():
            if task.budget is not None:
                its = {one for one in tasks if one == name or is_inside(one, name)}
                cost = sum(report.phases[one].cost for one in its if one in report.phases) / self.runs
                yield from _caps(f"task {name}", task.budget, [t for t in turns if t.task in its], cost, least)
        for name, agent in self.plan.agents.items():
            if agent.budget is not None:
                cost = report.agents[name].cost / self.runs if name in report.agents else 0.0
                yield from _caps(f"agent {name}", agent.budget, [t for t in turns if t.agent == name], cost, least)


def forecast(
    plan: Plan,
    policy: Policy,
    catalog: Catalog,
    providers: Iterable[str],
    *,
    runs: int,
    per_hour: float,
    assumed: Assumptions = USUAL,
) -> Forecast:
    """Return `runs` runs of `plan` that begin evenly, `per_hour` of them an hour, over those `providers`."""
    outlook = expect(plan, assumed, lambda tokens: LATENCY.first_token + LATENCY.per_token * tokens)
    over = runs * 3600 / per_hour
    scenario = Scenario(
        name=plan.name,
        title=plan.name,
        about=plan.description,
        policy=policy,
        catalog=catalog,
        providers={name: Behaviour(LATENCY) for name in providers},
        load=tuple(_load(plan, turn, runs, over) for turn in outlook.turns),
    )
    return Forecast(plan, runs, per_hour, outlook, scenario, (*outlook.notes, *_always(assumed)))


def _load(plan: Plan, turn: ExpectedTurn, runs: int, over: float) -> Load:
    agent = plan.agents[turn.agent]
    return Load(
        count=runs,
        over=over,
        begins=turn.begins,
        agent=turn.agent,
        persona=agent.persona.name,
        tier=agent.tier or agent.persona.tier,
        model=agent.model,
        chain=agent.chain,
        capabilities=frozenset(_needed(turn, agent)),
        input_tokens=turn.input_tokens,
        output_tokens=turn.output_tokens,
        max_output_tokens=None,
        phase=turn.task,
    )


def _needed(turn: ExpectedTurn, agent: AgentPlan) -> Iterator[Capability]:
    if turn.with_tools:
        yield Capability.TOOLS
    if agent.sees:
        yield Capability.VISION


def _always(assumed: Assumptions) -> Iterator[str]:
    yield (
        f"answers: {assumed.answer_tokens} tokens (answer_tokens), {assumed.structured_tokens} where there is a schema "
        f"(structured_tokens), {assumed.utterance_tokens} in a conversation (utterance_tokens)"
    )
    yield (
        f"tools: an agent that has some calls them in {assumed.tool_turns} turns (tool_turns) of "
        f"{assumed.tool_call_tokens} tokens (tool_call_tokens), then reads {assumed.tool_result_tokens} more each "
        "time (tool_result_tokens); in conversations none is called"
    )
    yield "input: counted from the file's texts and the answers above, high rather than low; no answer is cut short"
    yield (
        f"time: {LATENCY.first_token:g} s to a first token and {LATENCY.per_token * 1000:g} ms for each, at every "
        "provider; a task begins when what it needs has ended; a turn that waits delays no later one, and a budget "
        "stops none"
    )
    yield "limits: those that the routing file states, and those of the plan that it names for a provider"


def _caps(what: str, caps: Budget, turns: Iterable[ExpectedTurn], cost: float, least: str) -> Iterator[Claim]:
    turns = list(turns)
    tokens = sum(turn.input_tokens + turn.output_tokens for turn in turns)
    if caps.max_cost is not None:
        text = f"{what} stays within its ${caps.max_cost / 1e6:,.2f}"
        yield Claim(text, cost <= caps.max_cost, f"${cost / 1e6:,.4f}{least}")
    if caps.max_tokens is not None:
        yield Claim(
            f"{what} stays within its {caps.max_tokens:,} tokens", tokens <= caps.max_tokens, f"{tokens:,} tokens"
        )
    if caps.max_turns is not None:
        yield Claim(
            f"{what} stays within its {caps.max_turns:,} turns", len(turns) <= caps.max_turns, f"{len(turns):,}"
        )
