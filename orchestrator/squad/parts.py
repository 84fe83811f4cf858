"""What the tasks and conversations of a plan consist of: the pieces of work, who does them, where one begins. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import assert_never

from orchestrator.squad.elements import template_of
from orchestrator.squad.plan import (
    HUMAN,
    INPUTS,
    AgentWork,
    Approval,
    CaseSquad,
    ConversationPlan,
    ConversationWork,
    Plan,
    SingleWork,
    SquadEntry,
    SquadFanOut,
    SquadGather,
    SquadResult,
    Steps,
    Switch,
    TaskBody,
    WorkPath,
    scoped,
)


def everyone(conversation: ConversationPlan) -> tuple[str, ...]:
    """Return all who are asked for a turn in a conversation, each once: those who speak, moderate and pick."""
    leading = filter(None, (conversation.moderator, conversation.selector))
    return tuple(dict.fromkeys((*conversation.participants, *leading)))


def nested_in(conversation: ConversationPlan) -> list[str]:
    """Return the ids of the conversations that take part in one."""
    return [scoped(conversation.squad, name) for name in conversation.nested or ()]


def who_concludes(conversation: ConversationPlan, conversations: Mapping[str, ConversationPlan]) -> str:
    """Return the agent that is asked for a result in the wanted shape: the moderator, else the first agent that takes
    part, be it in a conversation inside.
    """
    if conversation.moderator is not None:
        return scoped(conversation.squad, conversation.moderator)
    first = next(name for name in conversation.participants if name != HUMAN)
    inner = scoped(conversation.squad, first)
    return who_concludes(conversations[inner], conversations) if first in (conversation.nested or ()) else inner


def placed_works(body: TaskBody) -> Iterator[tuple[WorkPath, SingleWork]]:
    """Yield every piece of work in a task that an agent or a conversation may do, with its place."""
    match body:
        case AgentWork() | ConversationWork():
            yield (), body
        case Steps(steps):
            yield from ((("steps", index), step.work) for index, step in enumerate(steps))
        case Switch(cases=cases):
            for name, case in cases.items():
                if not isinstance(case, CaseSquad):
                    yield from ((("switch", "cases", name, *path), work) for path, work in placed_works(case))
        case Approval() | SquadEntry() | SquadFanOut() | SquadGather() | SquadResult():
            return
        case _:
            assert_never(body)


def works_of(body: TaskBody) -> tuple[SingleWork, ...]:
    """Return every piece of work in a task that an agent or a conversation may do."""
    return tuple(work for _, work in placed_works(body))


def with_works(body: TaskBody, change: Callable[[WorkPath, SingleWork], SingleWork], path: WorkPath = ()) -> TaskBody:
    """Return a task's body with each piece of its work changed by what is told the place of it, and the work."""
    match body:
        case AgentWork() | ConversationWork():
            return change(path, body)
        case Steps(steps):
            places = ((*path, "steps", index) for index in range(len(steps)))
            changed_steps = (replace(s, work=change(place, s.work)) for s, place in zip(steps, places, strict=True))
            return replace(body, steps=tuple(changed_steps))
        case Switch(on, cases):
            made: dict[str, SingleWork | Steps | CaseSquad] = {}
            for name, case in cases.items():
                here = (*path, "switch", "cases", name)
                changed = case if isinstance(case, CaseSquad) else with_works(case, change, here)
                if isinstance(changed, SingleWork | Steps | CaseSquad):  # it is: the work in a case stays of its kind
                    made[name] = changed
            return Switch(on, made)
        case Approval() | SquadEntry() | SquadFanOut() | SquadGather() | SquadResult():
            return body
        case _:
            assert_never(body)


def possible_agents(body: TaskBody) -> tuple[str, ...]:
    """Return the agents that a task names, or may choose; those of its conversations are left out."""
    agents = (agent for work in works_of(body) if isinstance(work, AgentWork) for agent in work.possible)
    return tuple(dict.fromkeys(agents))


def squads_of(body: TaskBody) -> tuple[str, ...]:
    """Return the tasks that are the sub-squads of a switch's cases."""
    cases = body.cases.values() if isinstance(body, Switch) else ()
    return tuple(case.task for case in cases if isinstance(case, CaseSquad))


def beginnings(task: str, plan: Plan) -> tuple[str, ...]:
    """Return the tasks with which a task begins, sub-squads and all: it is done anew from there."""
    if template_of(task) in plan.squads:
        return (scoped(task, INPUTS),)
    return (*(scoped(one, INPUTS) for one in squads_of(plan.tasks[task].work)), task)


def who(work: TaskBody) -> str:
    """Return who does the work: an agent, a conversation, the agents of the steps, or a person."""
    match work:
        case AgentWork():
            return " or ".join(work.possible)
        case ConversationWork(conversation):
            return conversation
        case Approval():
            return "a person"
        case Steps(steps):
            return ", ".join(dict.fromkeys(who(step.work) for step in steps))
        case Switch(cases=cases):
            return " or ".join(
                dict.fromkeys(case.task if isinstance(case, CaseSquad) else who(case) for case in cases.values())
            )
        case SquadEntry(source):
            return f"the inputs of {source}"
        case SquadFanOut(source):
            return f"the elements for {source}"
        case SquadResult(source) | SquadGather(source):
            return source
        case _:
            assert_never(work)
