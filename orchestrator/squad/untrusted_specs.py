"""Text that others wrote, in a squad file: which inputs hold some, what becomes of risky tools after it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import ClassVar

from pydantic import Field

from agents.tools import Tool
from agents.untrusted import RiskyTools
from orchestrator.squad.parts import placed_works
from orchestrator.squad.plan import AgentPlan, SingleWork, TaskPlan
from orchestrator.squad.rendering import as_template, input_text, is_own_template
from orchestrator.squad.templates import PERSONA_SLOTS, strings_in
from personas.errors import TemplateError
from personas.persona import Persona
from personas.sandbox import Sandbox
from providers.documents.findings import Findings
from providers.documents.models import StrictModel


class UntrustedSpec(StrictModel):
    """What happens once an agent has read text that others wrote: a web page, a mail, what a stranger's server says."""

    noun: ClassVar[str] = "an untrusted"
    risky_tools: RiskyTools | None = Field(
        default=None,
        description="What happens to calls of risky tools after that: `ask` a person, `deny` them, or `allow` them. "
        "Default: `ask`.",
        examples=["deny"],
    )


def risky_tools(squad: UntrustedSpec | None, agent: UntrustedSpec | None) -> RiskyTools | None:
    """Return what becomes of an agent's risky tools: its own word, then the squad's; None: the default."""
    said = (one.risky_tools for one in (agent, squad) if one is not None)
    return next((one for one in said if one is not None), None)


def refuse_in_instructions(agents: Mapping[str, AgentPlan], untrusted: tuple[str, ...], findings: Findings) -> None:
    """Report agents whose system message would hold an input that others wrote."""
    for name, agent in agents.items():
        for field, reads in _read(agent):
            for one in untrusted:
                if any(read[:2] in (("inputs",), ("inputs", one)) for read in reads):
                    message = f"the input '{one}' is untrusted, and would become part of the system message of '{name}'"
                    hint = "read it in the description of a task: there it is fenced"
                    findings.error(("agents", name, field), "untrusted-instructions", message, hint)


def refuse_in_schemas(tasks: Mapping[str, TaskPlan], untrusted: tuple[str, ...], findings: Findings) -> None:
    """Report schemas of outputs that read an input that others wrote: models may be told them as the system."""
    for name, task in tasks.items():
        for path, work in placed_works(task.work):
            reads = names_in_schema(work)
            for one in untrusted:
                if any(read[:2] in (("inputs",), ("inputs", one)) for read in reads):
                    message = f"the input '{one}' is untrusted, and would become part of a schema that a model reads"
                    findings.error(("tasks", name, *path, "output_schema"), "untrusted-instructions", message)


def names_in_system(agent: AgentPlan) -> set[tuple[str, ...]]:
    """Return the paths that an agent's system message reads."""
    return {name for _, names in _read(agent) for name in names}


def names_in_schema(work: SingleWork) -> set[tuple[str, ...]]:
    """Return the paths that the schema of a piece of work reads."""
    return {name for _, text in strings_in(work.output_schema) if "${{" in text for name in _names(text)}


def warn_of_both(name: str, tools: tuple[Tool, ...], policy: RiskyTools | None, findings: Findings) -> None:
    """Warn of an agent that reads what others wrote, and has risky tools that are called without a person's word."""
    risky = [tool.name for tool in tools if tool.risk == "risky" and tool.approval == "never"]
    reads = [tool.name for tool in tools if tool.untrusted]
    if policy == "allow" and risky and reads:
        message = (
            f"the agent '{name}' reads untrusted text ({', '.join(reads[:3])}) and may call {', '.join(risky[:3])} "
            "without approval"
        )
        hint = "leave out `risky_tools: allow`, or give the tools to another agent"
        findings.warn(("agents", name), "risky-after-untrusted", message, hint)


def _read(agent: AgentPlan) -> Iterator[tuple[str, frozenset[tuple[str, ...]]]]:
    """Yield each field of an agent that comes to its system message, with the paths that it reads."""
    if agent.instructions is not None:
        yield "instructions", _names(agent.instructions)
    yield from ((field, names) for field, names in _read_by(agent.persona))


def _read_by(persona: Persona) -> Iterator[tuple[str, frozenset[tuple[str, ...]]]]:
    for field in PERSONA_SLOTS:
        value = getattr(persona, field, None)
        texts = [value] if isinstance(value, str) else list(value or ())
        for text in texts:
            if field == "template" and is_own_template(text):
                yield field, _template_names(as_template(text))
            elif "${{" in text:
                yield field, _names(text)


def _names(text: str) -> frozenset[tuple[str, ...]]:
    try:
        return input_text(text).names
    except TemplateError:
        return frozenset()  # it is told elsewhere


def _template_names(text: str) -> frozenset[tuple[str, ...]]:
    try:
        return Sandbox().template(text).names
    except TemplateError:
        return frozenset()
