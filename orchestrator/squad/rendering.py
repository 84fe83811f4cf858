"""What a run's inputs make of its agents and of the shapes of its outputs. Pure.

An agent's texts and an `output_schema` are the same for the whole run, so they may read inputs, and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from orchestrator.squad.parts import with_works
from orchestrator.squad.plan import (
    AgentPlan,
    Plan,
    SingleWork,
    TaskPlan,
    WorkPath,
)
from orchestrator.squad.schemas import Schemas, advice_on_schema
from orchestrator.squad.templates import PERSONA_SLOTS, reads_nothing_of_ours
from personas.errors import TemplateError
from personas.persona import Persona
from personas.sandbox import ExpressionText, Sandbox
from providers.documents.findings import Findings
from providers.documents.problems import Path

_MISSING = object()


def with_rendered(plan: Plan, findings: Findings) -> Plan:
    """Return the plan with what its agents and schemas read of the inputs; report what cannot be rendered."""
    if plan.edition == 1:
        return plan
    values = {"inputs": plan.inputs}
    # What a sub-squad is given is known when it begins: see `rendered_agent` and `rendered_work`.
    agents = {name: _agent(one, values, findings) if not one.squad else one for name, one in plan.agents.items()}
    tasks = {name: _task(one, values, findings) if not one.squad else one for name, one in plan.tasks.items()}
    called = {name: agent.persona.display_name for name, agent in agents.items()}
    conversations = {
        name: held if held.squad else replace(held, names={one: called[one] for one in held.names if one in called})
        for name, held in plan.conversations.items()
    }
    return replace(plan, agents=agents, tasks=tasks, conversations=conversations)


def rendered_agent(agent: AgentPlan, inputs: Mapping[str, Any]) -> AgentPlan:
    """Return an agent of a sub-squad with what it reads of the inputs. Raise `TemplateError`."""
    return _agent(agent, {"inputs": inputs}, None)


def rendered_work(work: SingleWork, inputs: Mapping[str, Any]) -> SingleWork:
    """Return a piece of work of a sub-squad with what its schema reads of the inputs. Raise `TemplateError`."""
    return _work(work, {"inputs": inputs}, None, ())


def input_text(source: str) -> ExpressionText:
    """Return a text that may read inputs: a `${{ }}` that reads nothing of the squad is a part of the text."""
    return Sandbox().expression_text(source, reads_nothing_of_ours)


def with_expressions_left_out(schema: Any) -> Any:
    """Return a schema without the values that are expressions as a whole: what they come to is not known yet."""
    if isinstance(schema, Mapping):
        return {key: made for key, value in schema.items() if (made := _known(value)) is not _MISSING}
    return [made for value in schema if (made := _known(value)) is not _MISSING]


def _known(value: Any) -> Any:
    if isinstance(value, Mapping | list):
        return with_expressions_left_out(value)
    is_whole = isinstance(value, str) and value.strip().startswith("${{") and value.strip().endswith("}}")
    return _MISSING if is_whole else value


def _agent(agent: AgentPlan, values: Mapping[str, Any], findings: Findings | None) -> AgentPlan:
    def render(text: str) -> str:
        return str(_text(text, values, findings, ("agents", agent.id))) if "${{" in text else text

    persona = _persona(agent.persona, render)
    if agent.instructions is not None:
        agent = replace(agent, instructions=render(agent.instructions))
    if not is_own_template(persona.template):
        return agent if persona == agent.persona else replace(agent, persona=persona)
    persona = replace(persona, template=as_template(persona.template))
    reads = "inputs" in {name[0] for name in Sandbox().template(persona.template).names}
    agent = replace(agent, persona=persona, values=values if reads else None)
    try:
        agent.told()
    except TemplateError as error:
        if findings is None:
            raise
        findings.error(("agents", agent.id), "bad-expression", f"its template: {error.message}")
    return agent


def _persona(persona: Persona, render: Callable[[str], str]) -> Persona:
    fields = {"display_name", *PERSONA_SLOTS} - {"name", "template"}
    made: dict[str, Any] = {}
    for field in fields:
        value = getattr(persona, field)
        made[field] = render(value) if isinstance(value, str) else tuple(render(text) for text in value)
    return replace(persona, **made)


def is_own_template(template: str) -> bool:
    """Return whether a persona's template is a text of its own, rather than the name of one."""
    return "{{" in template or "{%" in template


def as_template(template: str) -> str:
    """Return a persona's template, in which `${{ }}` means what `{{ }}` does."""
    return template.replace("${{", "{{")


def _task(task: TaskPlan, values: Mapping[str, Any], findings: Findings) -> TaskPlan:
    def rendered(path: WorkPath, work: SingleWork) -> SingleWork:
        return _work(work, values, findings, ("tasks", task.id, *path))

    return replace(task, work=with_works(task.work, rendered))


def _work(work: SingleWork, values: Mapping[str, Any], findings: Findings | None, path: Path) -> SingleWork:
    if work.output_schema is None:
        return work
    path = (*path, "output_schema")
    schema = _schema(work.output_schema, values, findings, path)
    if schema == work.output_schema:
        return work
    for inner, message in Schemas().faults(schema):
        if findings is None:
            raise TemplateError(f"output_schema: {message}")
        findings.error((*path, *inner), "bad-schema", message, advice_on_schema(schema, inner))
    return replace(work, output_schema=schema)


def _schema(value: Any, values: Mapping[str, Any], findings: Findings | None, path: Path) -> Any:
    if isinstance(value, str):
        return _text(value, values, findings, path) if "${{" in value else value
    if isinstance(value, Mapping):
        return {key: _schema(item, values, findings, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_schema(item, values, findings, (*path, index)) for index, item in enumerate(value)]
    return value


def _text(source: str, values: Mapping[str, Any], findings: Findings | None, path: Path) -> Any:
    try:
        return input_text(source).render(values)
    except TemplateError as error:
        if findings is None:
            raise
        findings.error(path, "bad-expression", error.message)
        return source
