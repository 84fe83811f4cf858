"""Conversations of a squad file: what each field comes to, and what is told of one that is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from agents.tools import Registry, Tool
from orchestrator.errors import PlanError
from orchestrator.squad.parts import who_concludes
from orchestrator.squad.plan import ConversationPlan, Plan
from orchestrator.squad.resolve import resolve
from orchestrator.squad.spec import parse_spec
from orchestrator.squad.termination import (
    AnyOf,
    HandedTo,
    MaxTokens,
    MaxTurns,
    MessageOf,
    SpokenBy,
    StopSaid,
    ToolCalled,
)
from personas import Personas, packaged
from providers.documents.problems import Problem

LIBRARY = Personas(packaged())
AGENTS = "name: s\nagents: {ann: {persona: dev}, bob: {persona: sm}, lead: {persona: pm}}\n"
TASKS = "tasks: {t: {conversation: c, description: Talk.}}\n"


def planned(talk: str, **more: Any) -> tuple[Plan, list[Problem]]:
    text = f"{AGENTS}{TASKS}conversations:\n  c: {{{talk}}}\n"
    spec, node, found = parse_spec(text, "s.yaml")
    given = {"personas": LIBRARY, "tools": Registry(()), "tiers": ("worker", "boss"), **more}
    return resolve(spec, node, found=found, **given)


def conversation(talk: str, **more: Any) -> ConversationPlan:
    return planned(talk, **more)[0].conversations["c"]


def refused(talk: str, **more: Any) -> list[tuple[str, str]]:
    with pytest.raises(PlanError) as caught:
        planned(talk, **more)
    return [(p.code, p.message) for p in caught.value.problems if p.severity == "error"]


SELECTOR = "pattern: selector, participants: [ann, bob], terminate: {max_turns: 9}"


def test_who_picks() -> None:
    assert conversation(f"{SELECTOR}, selector: lead").selector == "lead"
    assert conversation(f"{SELECTOR}, selector: {{agent: lead}}").selector == "lead"
    assert conversation(f"{SELECTOR}, selector: human").selector == "human"
    assert conversation(f"{SELECTOR}, moderator: lead").selector == "lead"
    plan = planned(SELECTOR)[0]
    assert plan.conversations["c"].selector == "c-selector"
    assert plan.agents["c-selector"].persona.tier == "worker"
    plan = planned(f"{SELECTOR}, selector: {{tier: boss}}")[0]
    assert plan.agents["c-selector"].persona.tier == "boss"


def test_what_limits_speakers() -> None:
    one = conversation(f"{SELECTOR}, max_turns_per_speaker: 2, transitions: {{ann: [bob]}}")
    assert one.turns_of == {"ann": 2, "bob": 2}
    assert one.transitions == {"ann": ("bob",)}
    assert conversation(f"{SELECTOR}, max_turns_per_speaker: {{ann: 2}}").turns_of == {"ann": 2}


@pytest.mark.parametrize(
    ("talk", "code", "said"),
    [
        (f"{SELECTOR}, selector: zoe", "unknown-agent", "no agent is called 'zoe'"),
        (f"{SELECTOR}, selector: {{tier: huge}}", "unknown-tier", "no tier is called 'huge'"),
        (f"{SELECTOR}, selector: {{agent: lead, tier: boss}}", "one-of", "an agent or a tier"),
        (f"{SELECTOR}, transitions: {{zoe: [ann]}}", "unknown-agent", "'zoe' does not take part"),
        (f"{SELECTOR}, transitions: {{ann: [lead]}}", "unknown-agent", "'lead' does not take part"),
        (f"{SELECTOR}, max_turns_per_speaker: {{zoe: 1}}", "unknown-agent", "'zoe' does not take part"),
        ("pattern: debate, participants: [ann, bob]", "missing-field", "a debate conversation has a judge"),
        ("pattern: hierarchical, participants: [ann, bob]", "missing-field", "a hierarchical conversation has a man"),
        ("pattern: hierarchical, participants: [ann, lead], manager: lead", "duplicate-name", "'lead' is the manager"),
        ("pattern: debate, participants: [ann], judge: lead, moderator: bob", "one-of", "mean the same here"),
        ("pattern: debate, participants: [ann, bob], judge: zoe", "unknown-agent", "no agent is called 'zoe'"),
        (f"{SELECTOR}, independent_first_round: true", "misplaced-field", "means nothing in the pattern selector"),
        (f"{SELECTOR}, judge: lead", "misplaced-field", "'judge' means nothing in the pattern selector"),
        (
            "pattern: group, participants: [ann], judge: lead, terminate: {max_turns: 2}",
            "invalid-value",
            "'pattern' is",
        ),
        ("participants: [ann, bob]", "missing-field", "a conversation needs 'terminate'"),
        ("participants: [ann, bob], terminate: ", "wrong-type", "'terminate' is empty"),
        ("participants: [ann], terminate: {any: [{source: [zoe]}, {max_turns: 2}]}", "unknown-agent", "'zoe' does not"),
        ("participants: [ann], terminate: {any: [{handoff: human}, {max_turns: 2}]}", "unknown-agent", "'human' does"),
        ("participants: [ann], terminate: {any: [{message: bob}, {max_turns: 2}]}", "unknown-agent", "'bob' does not"),
        ("participants: [ann], terminate: {any: [{tool: nod}, {max_turns: 2}]}", "unknown-tool", "no tool is called"),
        ("participants: [ann], terminate: {any: [{stop_message: false}, {max_turns: 2}]}", "invalid-value", "true"),
        ("participants: [ann], terminate: {source: ann}", "unbounded", "could go on forever"),
        (
            "participants: [ann, bob], max_turns_per_speaker: {ann: 2}, terminate: {text: DONE}",
            "unbounded",
            "the conversation 'c' could go on forever",
        ),
        (
            "participants: [ann, bob], selector: lead, terminate: {max_turns: 9}",
            "misplaced-field",
            "'selector' means nothing in the pattern round_robin",
        ),
    ],
)
def test_a_field_that_is_wrong_is_told(talk: str, code: str, said: str) -> None:
    problems = refused(talk)
    assert [one[0] for one in problems] == [code]
    assert said in problems[0][1]


def test_who_leads_is_called_by_the_word_of_its_pattern() -> None:
    assert conversation("pattern: debate, participants: [ann, bob], judge: lead").moderator == "lead"
    assert conversation("pattern: hierarchical, participants: [ann, bob], manager: lead").moderator == "lead"
    assert conversation("pattern: debate, participants: [ann, bob], moderator: lead").moderator == "lead"


def test_what_counts_its_rounds_needs_no_other_end() -> None:
    one = conversation("pattern: debate, participants: [ann, bob], judge: lead, rounds: 2, positions: {ann: tabs}")
    assert (one.rounds, one.terminate, one.positions) == (2, MaxTurns(4), {"ann": "tabs"})
    one = conversation("pattern: hierarchical, participants: [ann, bob], manager: lead")
    assert (one.rounds, one.terminate) == (3, MaxTurns(9))
    assert conversation("pattern: debate, participants: [ann, bob], judge: lead, terminate: {text: DONE}").rounds == 3
    one = conversation("participants: [ann, bob], max_turns_per_speaker: 2, terminate: {text: DONE}")
    assert one.turns_of == {"ann": 2, "bob": 2}


def test_what_ends_a_conversation() -> None:
    conditions = "{any: [{max_turns: 9}, {stop_message: true}, {source: [ann, bob]}, {source: ann}, {message: bob}]}"
    one = conversation(f"participants: [ann, bob], terminate: {conditions}")
    assert one.terminate == AnyOf(
        (MaxTurns(9), StopSaid(), SpokenBy(("ann", "bob")), SpokenBy(("ann",)), MessageOf("bob"))
    )
    talk = (
        "pattern: handoff, participants: [ann, human], terminate: {any: [{handoff: human}, {tool: now}, {tokens: 9}]}"
    )
    one = conversation(talk, tools=Registry((Tool("now", "", print),)))
    assert one.terminate == AnyOf((HandedTo("human"), ToolCalled("now"), MaxTokens(9)))


def test_a_manager_may_ask_a_person_alone() -> None:
    assert conversation("pattern: hierarchical, participants: [human], manager: lead").participants == ("human",)
    assert refused(f"participants: [human], {ENDS}") == [("invalid-value", "at least one participant must be an agent")]


def test_to_whom_each_may_hand_over() -> None:
    talk = "pattern: handoff, participants: [ann, bob], handoffs: {ann: [bob]}, terminate: {max_turns: 9}"
    assert conversation(talk).transitions == {"ann": ("bob",)}


def inside(*talks: str) -> str:
    """Return the conversation c with further ones behind it: d, e and so on."""
    named = zip("defgh", talks, strict=False)
    more = "".join(f"\n  {name}: {{{talk}}}" for name, talk in named)
    return f"participants: [ann, {{conversation: d}}], terminate: {{max_turns: 3}}}}{more}\n  z: {{{SELECTOR}"


ENDS = "terminate: {max_turns: 3}"


def test_a_conversation_takes_part_in_another() -> None:
    one = conversation(inside(f"participants: [bob, lead], {ENDS}"))
    assert (one.participants, one.nested) == (("ann", "d"), ("d",))
    plan = planned(f"participants: [ann, d], {ENDS}}}\n  d: {{participants: [bob], {ENDS}")[0]
    assert plan.conversations["c"].nested == ("d",)
    assert who_concludes(plan.conversations["c"], plan.conversations) == "ann"
    plan = planned(f"participants: [d], {ENDS}}}\n  d: {{participants: [human, bob], {ENDS}")[0]
    assert who_concludes(plan.conversations["c"], plan.conversations) == "bob"


def test_a_conversation_is_not_held_inside_itself_nor_too_deep() -> None:
    problems = refused(inside(f"participants: [bob, {{conversation: c}}], {ENDS}"))
    assert [code for code, _ in problems] == ["cycle", "cycle"]
    assert problems[0][1] == "a conversation is held inside itself: c -> d -> c"
    chain = [f"participants: [bob, {{conversation: {name}}}], {ENDS}" for name in "efg"]
    problems = refused(inside(*chain, f"participants: [bob], {ENDS}"))
    assert [code for code, _ in problems] == ["out-of-range"]
    assert problems[0][1].endswith("at most 4 deep: c -> d -> e -> f -> g")
    assert refused(inside())[0] == ("unknown-conversation", "no conversation is called 'd'")
    named = f"participants: [ann, {{conversation: bob}}], {ENDS}}}\n  bob: {{participants: [lead], {ENDS}"
    assert [code for code, _ in refused(named)] == ["duplicate-name"]


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("allow_repeat_speaker: true", "allow_repeated_speaker"),
        ("max_round: 9", "write terminate: {max_turns: 12}"),
        ("agents: [ann]", "participants"),
    ],
)
def test_words_of_other_frameworks_are_told_the_field_that_they_mean(written: str, hint: str) -> None:
    with pytest.raises(PlanError) as caught:
        planned(f"{SELECTOR}, {written}")
    (problem,) = [one for one in caught.value.problems if one.code == "unknown-field"]
    assert hint in problem.hint


def test_a_field_that_earlier_releases_read_in_vain_is_warned_of() -> None:
    plan, warnings = planned("participants: [ann, bob, lead], speakers_per_round: 2, terminate: {max_turns: 9}")
    assert [one.code for one in warnings] == ["misplaced-field"]
    assert plan.conversations["c"].pattern == "round_robin"
