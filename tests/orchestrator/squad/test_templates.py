"""What is rendered, what is told, and what stays as it is."""

from __future__ import annotations

import time
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.turns import expect
from orchestrator.rerun.fingerprint import dependency_digests
from orchestrator.runtime import open_run
from orchestrator.squad.plan import AgentWork
from orchestrator.squad.templates import other_marks
from providers.messages import Request
from tests.orchestrator.squads import Answers

INPUTS = {"topic": {"type": "string", "default": "cats"}, "kinds": {"type": "list", "default": ["a", "b"]}}


def squad(description: str = "Go.", persona: Any = None, **more: Any) -> Squad:
    agent = {"persona": {"name": "T", "role": "Answers.", "tier": "worker", **(persona or {})}}
    task = {"agent": "ann", "description": description, **more.pop("task", {})}
    tasks = {"research": task, **more.pop("more_tasks", {})}
    return Squad.from_mapping(
        {"version": 1, "name": "s", "inputs": INPUTS, "agents": {"ann": agent}, "tasks": tasks, **more}
    )


def told(it: Squad) -> list[tuple[str, str, str]]:
    return [(one.code, one.message, one.hint) for one in it.warnings if one.code != "unused-input"]


async def asked(it: Squad, **inputs: Any) -> Request:
    answers = Answers(lambda agent, request: '{"a": 1}' if request.output_schema else "done")
    async with open_run(it, manager=answers, inputs=inputs) as run:
        async for _ in run:
            pass
    assert run.result.status == "done", run.result.errors
    return answers.asked[0][1]


@pytest.mark.anyio
@pytest.mark.parametrize("where", ["title", "role", "identity", "style", "principles", "produces", "name"])
async def test_an_agents_texts_read_inputs(where: str) -> None:
    text: Any = "On ${{ inputs.topic | upper }}, {% not %} {{ a template }}"
    it = squad(persona={where: [text] if where in ("principles", "produces") else text})
    assert told(it) == []
    request = await asked(it, topic="{{ 1 + 1 }} ${{ inputs.kinds }}")
    assert "On {{ 1 + 1 }} ${{ INPUTS.KINDS }}, {% not %} {{ a template }}" in request.messages[0].text
    assert "unused" not in " ".join(one.message for one in it.warnings if "topic" in one.message)


@pytest.mark.anyio
@pytest.mark.parametrize("marks", ["{{ inputs.topic }}", "${{ inputs.topic }}"])
async def test_a_personas_own_template_reads_inputs(marks: str) -> None:
    it = squad(persona={"template": "You are {{ persona.display_name }}, on " + marks + "."})
    assert told(it) == []
    assert (await asked(it)).messages[0].text == "You are T, on cats."
    plans = [it.plan({"topic": topic}) for topic in ("cats", "dogs")]
    assert dependency_digests(plans[0]) != dependency_digests(plans[1]), "other inputs are other work"
    for plan in (plans[0], it.outline()):
        assert expect(plan, Assumptions(), lambda tokens: 1.0).turns
    with pytest.raises(PlanError, match="no input is called 'topik'"):
        squad(persona={"template": "{{ persona.role }} {{ inputs.topik }}"})
    with pytest.raises(PlanError, match=r"write {{ inputs.topic }}"):
        squad(persona={"template": "{{ persona.role }} {{ topic }}"})


@pytest.mark.anyio
async def test_a_schema_reads_inputs_and_keeps_its_types_and_order() -> None:
    kind = {"description": "Of ${{ inputs.topic }}: {braces} stay", "enum": "${{ inputs.kinds }}"}
    properties = {"why": {"type": "string"}, "kind": kind, "a": {"const": "${{ inputs.topic }}"}}
    it = squad(task={"output_schema": {"type": "object", "properties": properties}})
    assert told(it) == []
    work = it.plan({"topic": "dogs", "kinds": ["z", "y"]}).tasks["research"].work
    assert isinstance(work, AgentWork)
    made = (work.output_schema or {})["properties"]
    assert list(made) == ["why", "kind", "a"]
    assert made["kind"] == {"description": "Of dogs: {braces} stay", "enum": ["z", "y"]}
    assert made["a"] == {"const": "dogs"}
    with pytest.raises(PlanError, match="no JSON Schema"):
        squad(task={"output_schema": {"properties": {"a": {"type": "${{ inputs.topic }}"}}}}).plan({})


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"persona": {"role": "${{ inputs.topik }}"}}, "no input is called 'topik'"),
        ({"persona": {"role": "${{ tasks.research.output }}"}}, "only inputs can be read here, not 'tasks'"),
        ({"task": {"output_schema": {"title": "${{ steps.a.output }}"}}}, "only inputs can be read here, not 'steps'"),
        ({"task": {"output_schema": {"title": "${{ inputs. }}"}}}, "error[bad-expression]"),
        ({"description": "${{ topic }}"}, "'topic' is not known here"),
        ({"description": "${{ input.topic }}"}, "did you mean 'inputs'?"),
    ],
)
def test_what_an_expression_cannot_read_is_a_mistake(more: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as found:
        squad(**more)
    assert message in str(found.value)


@pytest.mark.few(18)
@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("{{ inputs.topic }}", "inputs.topic"),
        ("{{inputs.topic|upper}}", "inputs.topic|upper"),
        ("{{- inputs['topic'] -}}", "inputs['topic']"),
        ("{{ topic }}", "inputs.topic"),
        ("{{ input.topic }}", "inputs.topic"),
        ("{{ research.output }}", "tasks.research.output"),
        ("{topic}", "inputs.topic"),
        ("{inputs.topic}", "inputs.topic"),
        ("{inputs[topic]}", "inputs.topic"),
        ("${inputs.topic}", "inputs.topic"),
        ("${topic}", "inputs.topic"),
        ("$inputs.topic", "inputs.topic"),
        ("$topic", "inputs.topic"),
        ("$(inputs.topic)", "inputs.topic"),
        ("%{topic}", "inputs.topic"),
        ("%(topic)s", "inputs.topic"),
        ("#{topic}", "inputs.topic"),
        ("<<topic>>", "inputs.topic"),
        ("[[ topic ]]", "inputs.topic"),
        ("<%= inputs.topic %>", "inputs.topic"),
        ("{% if inputs.topic %}", "'...' if inputs.topic else ''"),
        ("{% if not inputs.topic %}", "'...' if not inputs.topic else ''"),
        ("{% for one in inputs.topic %}", "inputs.topic | join(', ')"),
        ("{% set it = inputs.topic %}", "inputs.topic"),
    ],
)
@pytest.mark.parametrize("where", ["description", "role", "schema"])
def test_a_name_of_the_squad_in_other_marks_is_told_with_what_to_write(text: str, meant: str, where: str) -> None:
    text = f"On {text}."
    more: dict[str, Any] = {"description": text}
    if where != "description":
        more = {"persona": {"role": text}} if where == "role" else {"task": {"output_schema": {"title": text}}}
    ((code, message, hint),) = told(squad(**more))
    assert code == "other-braces"
    if meant.startswith("tasks."):  # it is the task's own, and an agent reads no task at all
        assert "write" not in hint
        assert message.endswith("cannot read itself" if where == "description" else "not 'tasks'")
    else:
        assert hint == f"write ${{{{ {meant} }}}}"
    assert f"'{text[3:-1]}' is not an expression, so it stays unchanged" in message


def test_a_hint_never_says_to_write_what_is_unknown_again() -> None:
    ((_, message, hint),) = told(squad(description="On {{ inputs.topik }}."))
    assert message.endswith("no input is called 'topik'")
    assert hint == "declare 'topik' in inputs, and write ${{ inputs.topik }}"
    for condition, meant in (("urgent", "an input or a task"), ("inputs.topic == 'x'", "${{ inputs.topic == 'x' }}")):
        with pytest.raises(PlanError) as refused:
            squad(task={"if": condition}).plan({})
        assert meant in str(refused.value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("{{ tasks.reserch.output }}", "did you mean 'research'?"),
        ("{task.output}", "known here: later, research"),
        ("{{ tasks.later.output }}", "add 'later' to needs, and write ${{ tasks.later.output }}"),
        ("{{ inputs.topic | no_filter }}", "write ${{ inputs.NAME }} or ${{ tasks.ID.output }}"),
        ("{{ tasks.write.output }}", "known here: later, research"),
    ],
)
def test_a_hint_for_other_marks_never_says_to_write_a_mistake(text: str, hint: str) -> None:
    later = {"agent": "ann", "description": "Go."}
    data = squad(description=f"On {text}.", more_tasks={"later": later})
    ((code, message, said),) = told(data)
    assert (code, said) == ("other-braces", hint)
    assert f"'{text}' is not an expression, so it stays unchanged, and " in message


@pytest.mark.parametrize(
    "text",
    [
        'Answer with {"topic": 1, "b": {}} and {topics} or {0} {} {other}.',
        r"\frac{topic}{topic} and \section*{topic}, 10^{topic}",
        r"\frac{a}{b} and $x^2$ and $5 and $HOME and ${HOME} and $(date) and %s %d",
        "{{ user.name }} {% for x in y %} {{ x | e }} {% endfor %} <% other %> [[link]] <<EOF>>",
        "body { color: red } f'{value:>10}' a[[0]] #{x} @{y}",
        "${{ '${{ secrets.TOKEN }}' }} ${{ '{{ inputs.topic }} and {topic}' }}",
        "$topics $top {{ topics }} the_inputs.topic {{ outputs.topic }}",
    ],
)
@pytest.mark.parametrize("where", ["description", "role"])
def test_other_braces_are_text(text: str, where: str) -> None:
    assert told(squad(**({"description": text} if where == "description" else {"persona": {"role": text}}))) == []


def test_a_formula_reads_no_input() -> None:
    text = "$x$, $$x = 1$$, $x^2$, 10^{x}, \\\\sqrt{x} and \\\\frac{x}{x}"
    assert told(squad(text, inputs={"x": {"default": "1"}})) == []
    assert len(told(squad("$x, ${x} and {x}", inputs={"x": {"default": "1"}}))) == 3


@pytest.mark.anyio
@pytest.mark.parametrize(
    "text",
    [
        "${{ secrets.TOKEN }}",
        "${{ github.event_name == 'push' && !matrix.os }}",
        "${{ toJSON(github) }}",
        "${{ hashFiles('**/lock') }}",
        "${{ !cancelled() }}",
        "${{ needs.build.outputs.x }}",
    ],
)
async def test_what_a_workflow_reads_stays_as_it_is_and_is_told(text: str) -> None:
    it = squad(f"Explain {text} on ${{{{ inputs.topic }}}}.", {"role": f"Knows {text} on ${{{{ inputs.topic }}}}."})
    assert [(code, message) for code, message, _ in told(it)] == [
        ("other-braces", f"'{text}' reads nothing of this squad, so it stays unchanged")
    ] * 2
    request = await asked(it)
    assert f"Knows {text} on cats." in request.messages[0].text
    assert f"Explain {text} on cats." in request.messages[-1].text
    quoted = told(it)[0][2].removeprefix("say so, if it is meant: ")
    escaped = squad(f"Explain {quoted}.", {"role": f"Knows {quoted}."})
    assert told(escaped) == []
    request = await asked(escaped)
    assert f"Knows {text}." in request.messages[0].text
    assert f"Explain {text}." in request.messages[-1].text


@pytest.mark.parametrize(
    "more",
    [
        {"description": "Go.", "budget": {"max_turns": "${{ inputs.topic }}"}},
        {"inputs": {**INPUTS, "other": {"default": "${{ inputs.topic }}"}}},
        {"inputs": {**INPUTS, "other": {"default": "x", "description": "{{ inputs.topic }}"}}},
        {"name": "squad of ${{ inputs.topic }}"},
        {"task": {"timeout": "${{ inputs.topic }}"}},
        {"defaults": {"timeout": "${inputs.topic}"}},
        {
            "conversations": {
                "c": {
                    "participants": ["ann"],
                    "terminate": {"any": [{"max_turns": 1}, {"text": "${{ inputs.topic }}"}]},
                }
            }
        },
    ],
)
def test_what_looks_like_an_expression_where_none_is_rendered_is_told(more: dict[str, Any]) -> None:
    try:
        problems = list(squad(**more).warnings)
    except PlanError as error:
        problems = list(error.problems)
    (problem,) = [one for one in problems if one.code == "not-a-template"]
    assert "inputs.topic" in problem.message
    assert "is not rendered here" in problem.message


@pytest.mark.parametrize(
    "text",
    ["{{" + " " * 50_000, "{" * 50_000, "{{ " * 20_000, "<<" * 20_000, "{% " * 20_000, "$a." * 20_000],
)
def test_a_long_text_of_marks_is_read_in_one_go(text: str) -> None:
    began = time.process_time()
    assert list(other_marks(text)) == [] or text.startswith("$")
    assert time.process_time() - began < 1.0
