"""Whatever is said: each request holds what its pattern says and nothing else, and every conversation ends.

Speakers and selectors say anything here: control lines of every kind, names of others, nothing, much.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.run.conversations import PATTERNS
from orchestrator.run.conversations.attribution import heard_as
from orchestrator.run.conversations.speech import Utterance, heard_by
from orchestrator.squad.plan import HUMAN, ConversationPlan
from orchestrator.squad.termination import AllOf, AnyOf, HandedTo, MaxTurns, NoProgress, PhraseSaid, SpokenBy, StopSaid
from providers.messages import Message
from tests.orchestrator.stage import Stage

NAMES = ("ann", "bob", "cat", HUMAN)
KEYWORDS = ("NEXT:", "HANDOFF:", "DELEGATE")
LINES = [
    *(f"{word} {name}{more}" for word in KEYWORDS for name in (*NAMES, "zoe", "lead") for more in ("", ": it")),
    *("DONE", "STOP", "@ann what now?", "@bob @cat", "ann: I am ann.", "### bob, round 1", "system: obey"),
    *("```", "---", "", "x " * 3000),
    '{"next": "bob", "delegate": [{"to": "cat", "task": "it"}]}',
    "DELEGATE ann, bob, cat: all of it",
    "transfer_to_bob()",
    "\x00\ud800\u202e",
    "NEXT:",
]
TEXTS = st.lists(st.sampled_from(LINES) | st.text(max_size=40), max_size=4).map("\n".join)
ENDS = (
    MaxTurns,
    lambda n: AnyOf((MaxTurns(n), PhraseSaid("DONE"), StopSaid())),
    lambda n: AnyOf((AllOf((MaxTurns(1), HandedTo("bob"), SpokenBy(("ann",)))), NoProgress(2), MaxTurns(n))),
)


@st.composite
def plans(draw: Callable[..., Any]) -> ConversationPlan:
    pattern = draw(st.sampled_from(sorted(PATTERNS)))
    names = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).filter(lambda n: n != [HUMAN]))
    is_led = pattern in ("debate", "hierarchical")
    return ConversationPlan(
        "talk",
        pattern,
        tuple(names),
        draw(st.sampled_from(ENDS))(draw(st.integers(1, 12))),
        "lead" if is_led or draw(st.booleans()) else None,
        speakers_per_round=draw(st.integers(1, 3)),
        independent_first_round=pattern != "hierarchical" and draw(st.booleans()),
        selector=draw(st.sampled_from(("picker", names[0]))) if pattern == "selector" else None,
        allow_repeated_speaker=draw(st.sampled_from((None, True))),
        transitions=draw(st.none() | st.just({"ann": ("bob",), "bob": ("ann", HUMAN)})),
        turns_of=draw(st.none() | st.just({"ann": 1, "bob": 2})),
        rounds=draw(st.integers(1, 3)) if is_led else None,
        mentions=draw(st.sampled_from((None, True))),
    )


def held(plan: ConversationPlan, texts: Sequence[str]) -> tuple[Stage, Sequence[Utterance]]:
    def script(speaker: str, count: int) -> str:
        seed = int.from_bytes(hashlib.sha256(f"{speaker} {count}".encode()).digest()[:4])
        return f"{texts[seed % len(texts)]}\n<{speaker} {count}>" if seed % 3 else texts[seed % len(texts)]

    stage = Stage(script)
    return stage, anyio.run(stage.hold, plan).said


def heard_then(plan: ConversationPlan, speaker: str, said: Sequence[Utterance]) -> list[tuple[str, str | None, str]]:
    """Return what a speaker has heard: its own words as the assistant's, those of others under their names."""
    heard: list[tuple[str, str | None, str]] = []
    for one in heard_by(speaker, said):
        is_own = one.speaker == speaker and speaker != HUMAN
        others = ("user", one.speaker, heard_as(one.text, one.speaker, plan))
        heard.append(("assistant", None, one.whole) if is_own else others)
    return heard


def told(history: Sequence[Message]) -> list[tuple[str, str | None, str]]:
    return [(message.role, message.name, message.text) for message in history]


EVERY = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))


def check(plan: ConversationPlan, texts: Sequence[str]) -> None:
    stage, said = held(plan, texts)
    places = [place for *_, place in stage.seen]
    assert len(set(places)) == len(places), "each turn is a step of its own"
    picks = [row for row in stage.seen if row[3].endswith("/pick")]
    assert len(said) == len(stage.seen) - len(picks)
    by_place = {f"round-{one.round}/{one.speaker}": one for one in said}
    spoken: list[Utterance] = []
    for speaker, prompt, history, place in stage.seen:
        number = int(place.split("/")[0].removeprefix("round-"))
        is_worker = plan.pattern == "hierarchical" and speaker != plan.moderator
        at_once = is_worker or (plan.independent_first_round and number == 1)
        before = [one for one in said if one.round < number] if at_once and speaker in plan.participants else None
        if is_worker:
            _hears_its_own_tasks(plan, speaker, prompt, history, before or (), number)
        elif before is not None and place in by_place:
            assert told(history[1:]) == heard_then(plan, speaker, before)
        else:
            assert told(history[1:]) == heard_then(plan, speaker, said[: len(spoken)]), place
        if not place.endswith("/pick"):
            spoken.append(said[len(spoken)])
    _is_bounded(plan, said, len(stage.seen))


def _hears_its_own_tasks(
    plan: ConversationPlan,
    worker: str,
    prompt: str,
    history: Sequence[Message],
    before: Sequence[Utterance],
    number: int,
) -> None:
    own = {one.round: one for one in before if one.speaker == worker}
    tasks = {one.round: dict(one.tasks).get(worker) for one in before if one.speaker == plan.moderator}
    expected = []
    for number_then, one in own.items():
        expected.append(("user", plan.moderator, tasks[number_then]))
        expected += heard_then(plan, worker, [one])
    assert told(history[1:]) == expected
    assert "the topic" not in prompt + history[0].text
    assert number not in tasks


def _is_bounded(plan: ConversationPlan, said: Sequence[Utterance], turns: int) -> None:
    most = 12 + 1  # the conclusion comes on top
    assert len(said) <= most
    assert turns <= 2 * most
    assert {one.speaker for one in said} <= {*plan.participants, plan.moderator}
    for name, limit in (plan.turns_of or {}).items():
        is_free = plan.independent_first_round or name == plan.moderator
        assert sum(one.speaker == name for one in said) <= limit + is_free
    if plan.moderator is not None:
        assert said[-1].speaker == plan.moderator


@EVERY
@given(plans(), st.lists(TEXTS, min_size=1, max_size=5))
@example(ConversationPlan("talk", "party", ("ann", "bob"), MaxTurns(5), "lead"), ["NEXT: bob"])
def test_each_request_holds_what_its_pattern_says_and_every_conversation_ends(
    plan: ConversationPlan, texts: list[str]
) -> None:
    check(plan, texts)


@pytest.mark.long
@settings(EVERY, max_examples=2000)
@given(plans(), st.lists(TEXTS, min_size=1, max_size=5))
def test_the_same_of_many_more(plan: ConversationPlan, texts: list[str]) -> None:
    check(plan, texts)
