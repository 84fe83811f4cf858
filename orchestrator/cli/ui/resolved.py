"""A squad as a file says it, with every name resolved and every default filled in, for `config`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from agents.memory.tools import tools_of
from agents.toolbox import builtin
from agents.tools import Tool
from orchestrator.cli.ui.masking import masked
from orchestrator.squad.agent_spec import AgentSpec
from orchestrator.squad.given_values import InputFile, InputImage
from orchestrator.squad.load import Squad
from orchestrator.squad.plan import AgentPlan, AgentWork, Approval, Steps, Switch, TaskPlan
from orchestrator.squad.spec import SquadSpec
from orchestrator.squad.task_specs import TaskSpec
from orchestrator.squad.who import overrides_the_library
from personas.persona import Persona, PersonaSpec
from providers.documents.models import StrictModel
from providers.documents.scalars import scalar

Fields = dict[str, Any]


def resolved_document(squad: Squad, environ: Mapping[str, str], inputs: Mapping[str, Any] | None = None) -> Fields:
    """Return a squad as a mapping that `validate` takes and `run` runs as it would run the file.

    Personas stand in it, with no file beside it. Durations are seconds, money is USD, the secrets of `environ` are
    masked. `inputs` become the defaults of the inputs.
    """
    spec, plan = squad.spec, squad.outline()
    found: Fields = {"version": spec.version, **_given(spec), "offline": spec.offline, "fail_fast": spec.fail_fast}
    found.pop("include", None)  # what it brings stands in the document itself
    found["max_parallel"] = plan.max_parallel
    found["inputs"] = {name: {"type": one.type, **_given(one)} for name, one in spec.inputs.items()}
    for name, value in (inputs or {}).items():
        if not isinstance(value, InputFile | InputImage):  # their defaults are paths
            found["inputs"][name]["default"] = value
    found["agents"] = {
        name: _agent(spec.agents[name], agent) for name, agent in plan.agents.items() if name in spec.agents
    }
    found["conversations"] = {name: {"pattern": one.pattern, **_given(one)} for name, one in spec.conversations.items()}
    found["tasks"] = {
        name: _task(spec, spec.tasks[name], task) for name, task in plan.tasks.items() if name in spec.tasks
    }
    order = [*(name for name in SquadSpec.model_fields if name in found)]
    shown: Fields = masked({name: found[name] for name in order if found[name] not in ({}, "")}, environ)
    return shown


def notes_on(squad: Squad, inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the document does not show: what agents leave behind of the personas that they override,
    and `inputs` that are no defaults."""
    for name, declared in squad.spec.inputs.items():
        if declared.type in ("file", "image") and name in inputs:
            yield f"the default of '{name}' stays: that of a file is a path below the squad's folder"
    for name, spec in squad.spec.agents.items():
        if overrides_the_library(spec, squad.own_personas()):
            said, kept = (
                ("role", "tier, tools and template") if spec.role else ("title", "role, tier, tools and template")
            )
            yield f"{name} has a {said} of its own, so of the persona '{spec.persona}' it has only the {kept}"


def to_yaml(document: Fields) -> str:
    """Return a YAML text that reads back as the document, by YAML 1.2 and by 1.1."""
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, width=100).rstrip()


class _Dumper(yaml.SafeDumper):
    """Writes each value where it stands, and quotes what only YAML 1.2 takes for a number."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  # PyYAML's signature
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if isinstance(scalar(text), str) else '"'
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _agent(spec: AgentSpec, plan: AgentPlan) -> Fields:
    own = {name: value for name, value in _given(spec).items() if name not in PersonaSpec.model_fields}
    given = {tool.name for tool in tools_of(plan.memory, plan.knowledge)}
    tools = [_tool(tool) for tool in plan.tools if tool.name not in given]
    made: Fields = {**own, "max_turns": plan.max_turns}
    if spec.persona is not None:
        made["persona"] = _persona(plan.persona)
    elif not plan.persona.is_blank:
        made |= _persona(plan.persona)
    made |= {} if plan.instructions is None else {"instructions": plan.instructions}
    made |= {"tier": plan.tier} if plan.tier is not None else {}
    made |= {"tools": tools} if tools else {}
    return _ordered(made, AgentSpec)


def _persona(persona: Persona) -> Fields:
    made: Fields = {"name": persona.display_name}
    for name in ("title", "role", "goal", "identity", "style", "principles", "tier", "template", "produces"):
        if value := getattr(persona, name):
            made[name] = list(value) if isinstance(value, tuple) else value
    return made | ({"instructions": persona.prompt} if persona.prompt else {})


def _tool(tool: Tool) -> str | Fields:
    if tool.agent is not None:
        named = {} if tool.name == tool.agent else {"name": tool.name}
        asks = {} if tool.approval == "never" else {"approval": tool.approval}
        return {"agent": tool.agent, **named, "description": tool.description, **asks}
    usual = builtin(None).get(tool.name)
    as_usual = usual is None or usual.approval == tool.approval
    return tool.name if as_usual else {"name": tool.name, "approval": tool.approval}


def _task(squad: SquadSpec, spec: TaskSpec, plan: TaskPlan) -> Fields:
    """Return a task with its defaults, its fields in the order of the format."""
    return _ordered(_filled(squad, spec, plan), TaskSpec)


def _filled(squad: SquadSpec, spec: TaskSpec, plan: TaskPlan) -> Fields:
    made = _given(spec)
    if isinstance(plan.work, Approval):
        made["approval"] = {**made["approval"], "choices": list(plan.work.choices)}
    elif plan.needs and spec.context is None and spec.squad is None:
        made["context"] = list(plan.context)
    if isinstance(plan.work, AgentWork | Steps | Switch) and spec.retry is None and squad.defaults.retry is not None:
        made["retry"] = _given(squad.defaults.retry)
    if plan.context_max_tokens is not None:
        made["context_max_tokens"] = plan.context_max_tokens
    if plan.for_each is not None:
        made["as"] = plan.for_each.item
    return made


def _ordered(made: Fields, model: type[StrictModel]) -> Fields:
    """Return the fields in the order of the format."""
    names = (info.alias or name for name, info in model.model_fields.items())
    return {name: made[name] for name in names if name in made}


def _given(model: StrictModel) -> Fields:
    """Return the fields that were written, by the names that a file has for them."""
    written = model.given()
    known = type(model).model_fields.items()
    return {field.alias or name: _plain(written[name]) for name, field in known if name in written}


def _plain(value: Any) -> Any:
    match value:
        case StrictModel():
            return _given(value)
        case dict():
            return {name: _plain(inner) for name, inner in value.items()}
        case list():
            return [_plain(inner) for inner in value]
    return value
