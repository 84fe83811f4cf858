"""The system message that a model is sent for a persona, or for an agent of a squad, as far as it is known before."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from orchestrator.cli.exits import Unusable
from orchestrator.rerun.fingerprint import doers_of
from orchestrator.run.prompts import compose
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import AgentWork, Plan, TaskPlan
from orchestrator.squad.rendering import as_template, input_text, is_own_template, rendered_agent
from orchestrator.squad.templates import PERSONA_SLOTS
from personas import Persona, Sandbox, TemplateError
from providers.documents.problems import nearest


@dataclass(frozen=True, slots=True)
class SystemPrompt:
    """A system message. `unset`: what its texts read and nothing gives; `brief`: the first message of a task."""

    persona: str
    text: str
    unset: tuple[str, ...] = ()
    agent: str | None = None
    brief: str | None = None


def of_persona(persona: Persona) -> SystemPrompt:
    """Return what a model is told of a persona without a squad. Raise `TemplateError`."""
    unset = tuple(dict.fromkeys(_read_by(persona, None)))
    return SystemPrompt(persona.name, persona.instructions(), unset)


def of_agent(squad: Squad, agent: str | None, task: str | None, given: Mapping[str, Any]) -> SystemPrompt:
    """Return what a model is told of an agent of a squad; None: the one that does the task.

    An input that is not given, and has no default, stays as it is written. Raise `Unusable` for an unknown name,
    `PlanError` for inputs that the squad does not take.
    """
    values = squad.check_inputs(given)
    plan = squad.outline()
    doing = None if task is None else _named(plan.tasks, "task", task)
    if agent is None:
        agent = _doer(plan, doing)
    told = _named(plan.agents, "agent", agent)
    if doing is not None and agent not in doers_of(plan, doing):
        raise Unusable(f"the task '{task}' is not done by {agent}", f"its agents: {_listed(plan, doing)}")
    inputs = {name: one.default for name, one in squad.spec.inputs.items() if one.default is not None} | values
    missing = {name: f"${{{{ inputs.{name} }}}}" for name in squad.spec.inputs if name not in inputs}
    read = _read_by(told.persona, told.instructions)
    unset = tuple(dict.fromkeys(name for name in read if name.partition(".")[2] in missing))
    made = rendered_agent(told, {**inputs, **missing})
    return SystemPrompt(made.persona.name, made.told(), unset, agent, _brief(doing))


def _named(known: Mapping[str, Any], what: str, name: str) -> Any:
    if name not in known:
        raise Unusable(f"the squad has no {what} '{name}'", nearest(name, known))
    return known[name]


def _doer(plan: Plan, task: TaskPlan | None) -> str:
    if task is None:
        raise Unusable("which agent is meant is not said", f"--agent A; the squad has {', '.join(plan.agents)}")
    agents = doers_of(plan, task)
    if len(agents) != 1:
        raise Unusable(f"the task '{task.id}' has no agent of its own", f"--agent A; its agents: {_listed(plan, task)}")
    return next(iter(agents))


def _listed(plan: Plan, task: TaskPlan) -> str:
    return ", ".join(sorted(doers_of(plan, task))) or "none"


def _brief(task: TaskPlan | None) -> str | None:
    """Return the first message of a task that one agent does, its expressions as they are written."""
    work = None if task is None else task.work
    if not isinstance(work, AgentWork):
        return None
    expected = None if work.expected_output is None else work.expected_output.source
    return compose(work.description.source, expected)


def _read_by(persona: Persona, own: str | None) -> Iterator[str]:
    """Yield the names that a persona's texts read, and its own template beside the persona itself."""
    texts: list[str] = [own] if own else []
    for slot in PERSONA_SLOTS:
        value = persona.display_name if slot == "name" else getattr(persona, slot)
        texts += [] if slot == "template" else [value] if isinstance(value, str) else value
    for text in texts:
        if "${{" in text:
            yield from (".".join(name) for name in sorted(_names(text)) if name[0] == "inputs")
    if is_own_template(persona.template):
        names = Sandbox().template(as_template(persona.template)).names
        yield from (".".join(name) for name in sorted(names) if name[0] not in ("persona", "instructions"))


def _names(text: str) -> frozenset[tuple[str, ...]]:
    try:
        return input_text(text).names
    except TemplateError:
        return frozenset()  # it is told where the squad is checked
