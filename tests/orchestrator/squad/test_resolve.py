"""From a squad file to a plan: what is bound, what defaults hold, and how inputs are read."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from agents.tools import Registry, Tool
from orchestrator.errors import PlanError
from orchestrator.squad.graph import ancestry, cycles, order
from orchestrator.squad.inputs import coerce_inputs
from orchestrator.squad.plan import FOR_EACH_CAP, AgentWork, Approval, Budget, Plan, Steps
from orchestrator.squad.resolve import SquadLimits, resolve
from orchestrator.squad.schemas import path_fault
from orchestrator.squad.spec import load_spec, parse_spec
from orchestrator.squad.termination import AnyOf, FunctionHolds, MaxTurns
from personas import Personas, packaged
from providers.documents.nodes import Node, tree_of
from providers.documents.problems import Problem, SpecError
from providers.documents.yaml import read_tree

ROOT = Path(__file__).parents[3]
EXAMPLE = ROOT / "examples" / "sprint.yaml"
REFERENCE = ROOT.parent / "shared" / "design" / "examples" / "sprint.yaml"
TOOLS = Registry(tuple(Tool(name, "", print) for name in ("read_file", "write_file")))
LIBRARY = Personas(packaged())
TIERS = ("boss", "worker", "creative", "fallback")
HEAD = "name: s\nagents: {a: {persona: dev}, b: {persona: sm}}\n"


def planned(text: str, **more: Any) -> tuple[Plan, list[Problem]]:
    spec, node, found = parse_spec(text, "s.yaml")
    return resolve(spec, node, found=found, **{"personas": LIBRARY, "tools": TOOLS, "tiers": TIERS, **more})


def plan_of(tasks: str, **more: Any) -> Plan:
    return planned(HEAD + "tasks:\n" + tasks, **more)[0]


def refused(text: str, **more: Any) -> list[tuple[int, str]]:
    with pytest.raises(PlanError) as caught:
        planned(text, **more)
    return [(p.line, p.code) for p in caught.value.problems if p.severity == "error"]


@pytest.mark.parametrize("file", [EXAMPLE, REFERENCE], ids=["example", "reference"])
def test_the_example_resolves(file: Path) -> None:
    if not file.exists():
        pytest.skip("the reference stands beside the project only while it is designed")
    spec, node, found = load_spec(file)
    plan, warnings = resolve(spec, node, personas=LIBRARY, tools=TOOLS, tiers=TIERS, found=found, inputs={})
    assert warnings == []
    assert list(plan.tasks) == [
        *("analysis", "prd", "architecture", "ux", "planning", "stories", "approve", "build", "test_design", "docs")
    ]
    assert plan.inputs["autopilot"] is True
    assert plan.budget == Budget(5_000_000, 2_000_000, 7200.0, None, "pause")
    build = plan.tasks["build"]
    assert build.for_each is not None
    assert (build.for_each.item, build.for_each.max_items, build.for_each.max_parallel) == ("story", 12, 3)
    assert isinstance(build.work, Steps)
    assert [step.id for step in build.work.steps] == ["code", "review"]
    gate = plan.tasks["approve"].work
    assert isinstance(gate, Approval)
    assert (gate.timeout, gate.rerun, gate.max_revisions) == (259200.0, ("stories",), 3)
    assert plan.tasks["approve"].timeout is None
    assert plan.tasks["prd"].timeout == 600
    assert plan.tasks["prd"].retry.max_attempts == 3
    amelia = plan.agents["amelia"]
    assert amelia.persona.principles[-1] == "Never touch files outside ./src and ./tests."
    assert [tool.name for tool in amelia.tools][-2:] == ["read_file", "write_file"]
    assert plan.history.keep_last == 12


@pytest.mark.parametrize(("amount", "is_taken"), [("1e308", True), ("1e400", False), (".inf", False), (".nan", False)])
def test_amounts_of_any_size_are_read_or_told(amount: str, is_taken: bool) -> None:
    tasks = f"  t: {{agent: a, description: Do., budget: {{max_cost: {amount}}}}}\n"
    if is_taken:
        caps = plan_of(tasks).tasks["t"].budget
        assert caps is not None
        assert caps.max_cost == 10**18, "no limit"
    else:
        with pytest.raises(PlanError, match="max_cost"):
            plan_of(tasks)
        with pytest.raises(PlanError, match="compact_at"):
            plan_of("  t: {agent: a, description: Do.}\n" + f"defaults: {{history: {{compact_at: {amount}}}}}\n")


def test_the_smallest_squad_has_every_default() -> None:
    plan = plan_of("  t: {agent: a, description: Do.}\n")
    task = plan.tasks["t"]
    assert isinstance(task.work, AgentWork)
    assert (task.needs, task.context, task.retry.max_attempts, task.timeout) == ((), (), 1, None)
    assert (plan.max_parallel, plan.fail_fast, plan.offline) == (16, False, "never")
    assert task.position == (4, 3)


def test_context_is_needs_where_nothing_is_said() -> None:
    work = "agent: a, description: Do."
    plan = plan_of(
        f"  z: {{{work}, needs: [y, x]}}\n  y: {{{work}, needs: [x]}}\n"
        f"  x: {{{work}}}\n  w: {{{work}, needs: [z], context: [x]}}\n"
    )
    assert list(plan.tasks) == ["x", "y", "z", "w"]
    assert plan.tasks["z"].context == ("y", "x")
    assert plan.tasks["w"].context == ("x",)


def test_defaults_hold_where_tasks_say_nothing() -> None:
    plan = planned(
        HEAD + "defaults: {timeout: 5s, retry: {max_attempts: 4, on: [tool]}, max_parallel: 2}\ntasks:\n"
        "  t: {agent: a, description: Do., for_each: '${{ [1] }}', key: '${{ item }}'}\n"
        "  u: {agent: a, description: Do., timeout: 1m, retry: {max_attempts: 1}}\n"
    )[0]
    assert plan.tasks["t"].for_each.max_parallel == 2  # type: ignore[union-attr]
    assert plan.tasks["t"].for_each.max_items == FOR_EACH_CAP  # type: ignore[union-attr]
    assert (plan.tasks["t"].timeout, plan.tasks["t"].retry.on) == (5, {"tool"})
    assert (plan.tasks["u"].timeout, plan.tasks["u"].retry.max_attempts) == (60, 1)


def test_limits_cap_what_states_no_bound() -> None:
    loop = "  t: {agent: a, description: Do., for_each: '${{ [1] }}', key: '${{ item }}'}\n"
    assert plan_of(loop, limits=SquadLimits(max_items=7)).tasks["t"].for_each.max_items == 7  # type: ignore[union-attr]


def test_choices_of_a_gate_follow_from_on_revise() -> None:
    work = "agent: a, description: Do."
    plan = plan_of(
        f"  t: {{{work}}}\n"
        "  g: {needs: [t], approval: {prompt: Good?}}\n"
        "  r: {needs: [t], approval: {prompt: Good?}, on_revise: {rerun: [t], max_attempts: 2}}\n"
    )
    assert plan.tasks["g"].work.choices == ("approve", "reject")  # type: ignore[union-attr]
    assert plan.tasks["r"].work.choices == ("approve", "revise", "reject")  # type: ignore[union-attr]


def test_until_reads_the_work_itself() -> None:
    task = (
        "  t:\n    agent: a\n    description: Do.\n    output_schema: {properties: {ok: {type: boolean}}}\n"
        "    repeat: {until: '${{ output.ok }}', max_attempts: 2}\n"
    )
    assert plan_of(task).tasks["t"].repeat.max_attempts == 2  # type: ignore[union-attr]


PERSONA = {"name": "Ann", "role": "Counts.", "tier": "boss", "principles": ["One."], "tools": ["read_file"]}


def test_an_agent_from_a_file_with_overrides() -> None:
    def read(path: str, found: list[Problem]) -> Node:
        assert path == "./people/ann.yaml"
        return tree_of(PERSONA)

    text = (
        "name: s\nagents:\n  a:\n    persona: ./people/ann.yaml\n    role: Counts twice.\n    principles: [Two.]\n"
        "    tools: [{name: read_file, approval: ask}, write_file]\n    max_turns: 3\n"
        "tasks: {t: {agent: a, description: Do.}}\n"
    )
    agent = planned(text, read_persona=read)[0].agents["a"]
    assert agent.persona.name == "ann"
    assert (agent.persona.role, agent.persona.principles) == ("Counts twice.", ("One.", "Two."))
    assert [(tool.name, tool.approval) for tool in agent.tools] == [("read_file", "ask"), ("write_file", "never")]
    assert agent.max_turns == 3
    assert TOOLS["read_file"].approval == "never"


def test_a_persona_file_that_cannot_be_used() -> None:
    def gone(path: str, found: list[Problem]) -> Node:
        raise FileNotFoundError(2, "No such file or directory")

    def broken(path: str, found: list[Problem]) -> Node:
        return read_tree("role: x\nrole: y\n", path, found)

    text = "name: s\nagents: {a: {persona: ./x.yaml}}\ntasks: {t: {agent: a, description: Do.}}\n"
    assert refused(text, read_persona=gone) == [(2, "unknown-persona")]
    assert refused(text, read_persona=broken) == [(2, "duplicate-key"), (2, "invalid-persona")]
    unsound = read_tree("\nrole: 1\n", "x.yaml")
    assert refused(text, read_persona=lambda *_: unsound) == [(2, "invalid-persona"), (2, "wrong-type")]
    assert refused(text) == [(2, "unknown-persona")]


def test_a_new_persona_in_the_squad() -> None:
    agents = "agents: {a: {persona: {extends: dev, principles: [Mine.]}}}\n"
    text = f"name: s\n{agents}tasks: {{t: {{agent: a, description: Do.}}}}\n"
    persona = planned(text)[0].agents["a"].persona
    assert persona.principles == (*LIBRARY.get("dev").principles, "Mine.")


def talk(terminate: str, *, of_talk: str = "", of_task: str = "", of_squad: str = "") -> str:
    return (
        f"name: s\n{of_squad}agents: {{a: {{persona: dev}}}}\nconversations:\n  c:\n    participants: [a, human]\n"
        f"    {of_talk}\n    terminate: {terminate}\n"
        f"tasks:\n  t:\n    conversation: c\n    description: Talk.\n    {of_task}\n"
    )


@pytest.mark.parametrize(
    ("terminate", "around", "is_bounded"),
    [
        ("{max_turns: 3}", {}, True),
        ("{tokens: 3}", {}, True),
        ("{time: 3m}", {}, True),
        ("{text: X}", {}, False),
        ("{no_progress_rounds: 1}", {}, False),
        ("{any: [{text: X}, {max_turns: 2}]}", {}, True),
        ("{all: [{text: X}, {max_turns: 2}]}", {}, False),
        ("{all: [{tokens: 9}, {max_turns: 2}]}", {}, True),
        ("{any: [{text: X}, {all: [{time: 1s}, {max_turns: 2}]}]}", {}, True),
        ("{all: [{max_turns: 2}, {any: [{text: X}]}]}", {}, False),
        ("{text: X}", {"of_talk": "budget: {max_turns: 9}"}, True),
        ("{text: X}", {"of_talk": "budget: {max_cost: 9}"}, False),
        ("{text: X}", {"of_task": "budget: {max_tokens: 9}"}, True),
        ("{text: X}", {"of_squad": "budget: {max_time: 9m}\n"}, True),
        ("{text: X}", {"of_squad": "budget: {max_cost: 9}\n"}, False),
    ],
)
def test_what_ends_a_conversation(terminate: str, around: dict[str, str], is_bounded: bool) -> None:
    text = talk(terminate, **around)
    if is_bounded:
        assert planned(text)[0].conversations["c"].participants == ("a", "human")
    else:
        assert [code for _, code in refused(text)] == ["unbounded"]


def test_functions_end_conversations() -> None:
    def enough() -> bool:
        return True

    text = talk("{any: [{function: enough}, {max_turns: 3}]}")
    plan = planned(text, functions={"enough": enough})[0]
    assert plan.conversations["c"].terminate == AnyOf((FunctionHolds(enough), MaxTurns(3)))


INPUTS = (
    HEAD + "inputs:\n  s: {}\n  i: {type: integer, default: 1}\n  n: {type: number, default: 1}\n"
    "  b: {type: boolean, default: true}\n  l: {type: list, default: []}\n  e: {enum: [x, y], default: x}\n"
    "tasks:\n  t: {agent: a, description: '${{ inputs }}'}\n"
)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("s", "12", "12"),
        ("s", "", ""),
        ("i", "12", 12),
        ("i", " -3 ", -3),
        ("i", "1.5", "1.5"),
        ("i", "true", "true"),
        ("n", "2.5", 2.5),
        ("n", "2", 2),
        ("n", "NaN", "NaN"),
        ("n", "1e999", "1e999"),
        ("b", "false", False),
        ("b", "no", "no"),
        ("b", "0", "0"),
        ("l", '["a", 1]', ["a", 1]),
        ("l", "a, b", ["a", "b"]),
        ("l", "", []),
        ("l", "[a", "[a"),
        ("zz", "1", "1"),
    ],
)
def test_text_becomes_a_value_of_the_type(name: str, text: str, value: object) -> None:
    spec = parse_spec(INPUTS, "s.yaml")[0]
    [(_, got)] = coerce_inputs(spec.inputs, [(name, text)]).items()
    assert got == value
    assert type(got) is type(value)


def test_inputs_are_checked_only_for_a_run() -> None:
    assert planned(INPUTS)[0].inputs == {"i": 1, "n": 1, "b": True, "l": [], "e": "x"}
    assert refused(INPUTS, inputs={}) == [(4, "missing-input")]
    assert planned(INPUTS, inputs={"s": "x", "n": 2})[0].inputs == {
        "s": "x",
        "i": 1,
        "n": 2,
        "b": True,
        "l": [],
        "e": "x",
    }


def test_given_values_of_wrong_types() -> None:
    given = {"s": 1, "i": True, "n": "x", "b": "no", "l": "[a", "e": "z", "idae": 1}
    codes = [code for _, code in refused(INPUTS, inputs=given)]
    assert sorted(codes) == ["invalid-input"] * 6 + ["unknown-input"]


@pytest.mark.parametrize("path", ["a.md", "docs/a.md", "docs/${{ item.id }}.md", "ä/日本.md", ".hidden", "a..b"])
def test_safe_paths(path: str) -> None:
    assert path_fault(path) == ""


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            " ",
            "/a",
            "~/a",
            "../a",
            "a/../b",
            "a/..",
            "./a",
            "a//b",
            "a/",
            "c:/a",
            "C:a",
            "a\\b",
            "a:b",
            "a?",
            "a\0b",
        ),
        *("CON", "com1.txt", "a.", "a ", "a" * 256, "${{ x }}/../a"),
    ],
)
def test_unsafe_paths(path: str) -> None:
    assert path_fault(path) != ""


def test_order_cycles_and_ancestors() -> None:
    needs = {"d": ["b", "c"], "b": ["a"], "c": ["a"], "a": [], "x": ["y"], "y": ["x", "d"], "z": ["y"], "w": ["w"]}
    ordered = order(needs)
    assert ordered == ["a", "b", "c", "d"]
    assert cycles(needs, ordered) == [["x", "y"], ["w"]]
    above = ancestry(needs, ordered)
    assert above.precedes("a", "d")
    assert not above.precedes("d", "a")
    assert not above.precedes("b", "c")
    assert not above.knows("z")


def test_a_cycle_is_printed() -> None:
    work = "agent: a, description: Do."
    text = HEAD + f"tasks:\n  x: {{{work}, needs: [y]}}\n  y: {{{work}, needs: [z]}}\n  z: {{{work}, needs: [x]}}\n"
    with pytest.raises(PlanError, match="x -> y -> z -> x"):
        planned(text)


def test_a_deep_schema_is_checked() -> None:
    schema = "{type: string}"
    for _ in range(21):
        schema = f"{{properties: {{a: {schema}}}}}"
    assert plan_of(f"  t: {{agent: a, description: Do., output_schema: {schema}}}\n").tasks


@pytest.mark.long
def test_a_thousand_tasks_are_quick() -> None:
    tasks = "".join(
        f"  t{i}:\n    agent: a\n    needs: [t{i - 1}, t{i // 2}]\n"
        f"    description: Do ${{{{ tasks.t{i - 1}.output }}}}.\n"
        for i in range(1, 1000)
    )
    began = time.process_time()
    plan = plan_of("  t0: {agent: a, description: Do.}\n" + tasks)
    assert time.process_time() - began < 6
    assert list(plan.tasks) == [f"t{i}" for i in range(1000)]


def test_the_example_is_read_at_once() -> None:
    def once() -> float:
        began = time.process_time()
        spec, node, found = load_spec(EXAMPLE)
        resolve(spec, node, personas=LIBRARY, tools=TOOLS, tiers=TIERS, found=found)
        return time.process_time() - began

    once()
    assert min(once() for _ in range(3)) < 0.3


def test_mistakes_of_the_file_and_of_the_squad_come_together() -> None:
    text = HEAD + "tasks:\n  t: {agnt: a, description: Do.}\n  u: {agent: zed, description: Do., needs: [q]}\n"
    assert refused(text) == [(4, "unknown-field"), (5, "unknown-agent"), (5, "unknown-task")]
    with pytest.raises(SpecError):
        planned("a: [")
