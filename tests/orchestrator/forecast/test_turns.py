"""The turns that a squad is expected to take, beside those that it takes."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest

from orchestrator import Squad, run_squad
from orchestrator.forecast.assumptions import Assumptions
from orchestrator.forecast.scenario import forecast
from orchestrator.forecast.turns import Outlook, expect
from providers.messages import Capability

SQUAD = """\
name: crew
offline: always
inputs:
  parts: {type: list, default: [one, two, three]}
  wanted: {type: boolean, default: false}
agents:
  mary: {persona: analyst}
  amelia: {persona: dev}
  bob: {persona: sm}
conversations:
  talk:
    pattern: round_robin
    participants: [mary, amelia, bob]
    terminate: {max_turns: 7}
  party:
    pattern: party
    participants: [mary, amelia]
    moderator: bob
    speakers_per_round: 1
    independent_first_round: true
    terminate: {max_turns: 5}
tasks:
  research: {agent: mary, description: Look at it.}
  build:
    needs: [research]
    for_each: ${{ inputs.parts }}
    as: part
    key: ${{ part }}
    max_parallel: 2
    steps:
      - {id: code, agent: amelia, description: "Make ${{ part }}."}
      - {id: check, agent: bob, description: Look at it again.}
  extra: {agent: mary, needs: [research], if: "${{ inputs.wanted }}", description: More.}
  discuss: {conversation: talk, needs: [build], description: Talk.}
  decide:
    conversation: party
    needs: [discuss]
    description: Decide.
    output_schema: {type: object, required: [go], properties: {go: {type: boolean}}}
"""


def seconds(tokens: int) -> float:
    return tokens / 100


def outlook(text: str, **assumed: int) -> Outlook:
    return expect(Squad.from_text(text).outline(), Assumptions(**assumed), seconds)


@pytest.mark.anyio
async def test_what_is_expected_is_what_a_run_takes():
    squad, taken = Squad.from_text(SQUAD), []
    result = await run_squad(squad, on_event=lambda event: taken.append(event) if event.type == "turn.ended" else None)
    assert result.status == "done"
    expected = expect(squad.outline(), Assumptions(), seconds).turns
    by_task = Counter((event.unit.task, event.data.agent) for event in taken)
    assert Counter((turn.task, turn.agent) for turn in expected) == by_task
    assert expected[0].input_tokens == pytest.approx(taken[0].data.usage.input, rel=0.05)


def test_a_turn_begins_when_what_it_waits_for_has_ended_and_reads_what_that_made():
    turns = outlook(SQUAD, answer_tokens=100, utterance_tokens=100).turns
    code = [turn for turn in turns if turn.task == "build" and turn.agent == "amelia"]
    assert [turn.begins for turn in code] == [1.0, 1.0, 3.0]  # two at once, each a step of 1 s and its check
    check = next(turn for turn in turns if turn.task == "build" and turn.agent == "bob")
    assert check.input_tokens > 200  # the research, and the code
    party = [turn for turn in turns if turn.task == "decide"]
    assert [turn.begins - party[0].begins for turn in party[:4]] == [0.0, 0.0, 1.0, 2.0]  # the first round as one


def test_a_conversation_reads_more_with_each_utterance():
    turns = [turn for turn in outlook(SQUAD).turns if turn.task == "discuss"]
    marys = [turn.input_tokens for turn in turns if turn.agent == "mary"]
    assert [later - earlier for earlier, later in itertools.pairwise(marys)] == [900, 900]


UNKNOWN = """\
name: x
agents:
  amelia: {persona: dev, tools: [read_file]}
tasks:
  plan:
    agent: amelia
    description: Cut it.
    output_schema: {type: object, properties: {parts: {type: array, maxItems: 3, items: {type: string}}}}
  build:
    agent: amelia
    needs: [plan]
    for_each: ${{ tasks.plan.output.parts }}
    key: ${{ item }}
    repeat: {until: "${{ output }}", max_attempts: 9}
    description: Build it.
"""


def test_what_only_a_run_can_tell_is_assumed_within_its_bounds_and_said():
    found = outlook(UNKNOWN, elements=50, repeats=2, tool_turns=1)
    assert Counter(turn.task for turn in found.turns) == {"plan": 2, "build": 3 * 2 * 2}
    assert found.notes == (
        "build: 3 elements of its for_each (elements), at most 3",
        "build: 2 of at most 9 attempts of its repeat (repeats)",
    )
    assert all(turn.with_tools for turn in found.turns)


@pytest.mark.parametrize(
    ("bound", "utterances"),
    [
        ("{any: [{max_turns: 9}, {max_turns: 2}]}", 2),
        ("{all: [{max_turns: 9}, {max_turns: 2}]}", 9),
        ("{all: [{max_turns: 5}, {text: DONE}]}", 5),  # what nobody can count is taken to hold by then
        ("{any: [{max_turns: 5}, {text: DONE}]}", 5),
        ("{text: DONE}", 12),
        ("{tokens: 1000000000}", 1000),
    ],
)
def test_a_conversation_goes_on_to_its_bounds(bound, utterances):
    bounded = SQUAD.replace("{max_turns: 7}", bound) + "budget: {max_turns: 1000000}\n"
    assert sum(turn.task == "discuss" for turn in outlook(bounded).turns) == utterances


def test_a_conversation_ends_by_the_tokens_that_it_took():
    talk = [
        turn for turn in outlook(SQUAD.replace("{max_turns: 7}", "{tokens: 20000}")).turns if turn.task == "discuss"
    ]
    took = [turn.input_tokens + turn.output_tokens for turn in talk]
    assert sum(took[:-1]) < 20_000 <= sum(took)


def test_an_image_is_read_where_it_is_mentioned_and_takes_a_model_that_sees():
    text = (
        "name: s\ninputs: {p: {type: image}}\nagents: {a: {role: Looks.}, b: {role: Reads.}}\n"
        "tasks: {t: {agent: a, description: '${{ inputs.p }}'}, u: {agent: b, description: '[image: p]'}}\n"
    )
    given = Squad.from_text(text)
    made = forecast(
        given.plan({"p": b"\x89PNG\r\n\x1a\n"}), given.policy, given.catalog, ["openai"], runs=1, per_hour=1.0
    )
    look, read = made.outlook.turns
    assert 1000 < look.input_tokens - read.input_tokens < 1100
    assert [Capability.VISION in load.capabilities for load in made.scenario.load] == [True, False]


def test_agents_that_are_tools_are_expected_to_work_too():
    text = """\
name: desk
agents:
  ann: {role: Write., tools: [{agent: bob}, {agent: cat}]}
  bob: {role: Look., tools: [{agent: cat}]}
  cat: {role: Check.}
tasks: {note: {agent: ann, description: Write.}}
"""
    turns = outlook(text, tool_turns=2).turns
    assert " ".join(turn.agent for turn in turns) == "ann bob cat bob cat bob ann cat ann"


LONG = """\
name: long
offline: always
defaults: {history: {summarise_over_tokens: 1200}}
agents:
  mary: {persona: analyst}
  bob: {persona: sm}
conversations:
  talk: {pattern: round_robin, participants: [mary, bob], terminate: {max_turns: 14}}
tasks:
  one: {agent: mary, description: Look at it.}
  two: {agent: mary, description: Look at it.}
  discuss: {conversation: talk, description: Talk.}
  plan: {agent: bob, needs: [one, two], description: Plan., context_max_tokens: 600}
"""


def test_summaries_and_contexts_that_are_shortened_are_turns_that_count() -> None:
    long = Squad.from_text(LONG)
    plain = Squad.from_text(LONG.replace("defaults: {history: {summarise_over_tokens: 1200}}\n", ""))
    made, usual = (expect(one.plan({}), Assumptions(), seconds) for one in (long, plain))
    talk, before = (Counter(turn.agent for turn in each.turns if turn.task == "discuss") for each in (made, usual))
    assert before == {"mary": 7, "bob": 7}
    assert talk["mary"] > 8
    assert talk["bob"] > 8
    spoken = [turn.input_tokens for turn in made.turns if turn.task == "discuss" and turn.output_tokens == 300]
    assert max(spoken) < max(turn.input_tokens for turn in usual.turns if turn.task == "discuss")
    shortened, works = (turn for turn in made.turns if turn.task == "plan")
    assert shortened.input_tokens > 1600
    assert shortened.output_tokens == 600
    whole = expect(Squad.from_text(LONG.replace(", context_max_tokens: 600", "")).plan({}), Assumptions(), seconds)
    assert works.input_tokens == whole.turns[-1].input_tokens - 1000
    assert works.begins > shortened.begins
    assert "plan: its context of 1600 tokens is shortened to 600" in made.notes
