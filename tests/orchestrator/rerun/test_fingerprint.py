"""Digests of a plan: recorded ones must stay what they are."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator import Squad
from orchestrator.rerun.fingerprint import parts_of
from orchestrator.run.conversations.speech import Utterance

TALKS = """\
name: s
agents: {a: {persona: dev}, b: {persona: dev}}
conversations:
  one: {participants: [a, b], terminate: {max_turns: 3}}
  two:
    pattern: party
    participants: [a, b]
    moderator: a
    independent_first_round: true
    budget: {max_turns: 4}
    terminate:
      any: [{text: X, from: a}, {all: [{time: 1s}, {no_progress_rounds: 2}]}, {tokens: 9}, {function: enough}]
tasks:
  t: {steps: [{id: x, conversation: one, description: T.}, {id: y, conversation: two, description: T.}]}
"""


def enough(said: Sequence[Utterance]) -> bool:
    return len(said) > 1


def test_conversations_keep_the_digests_under_which_earlier_releases_recorded_them() -> None:
    parts = parts_of(Squad.from_text(TALKS, functions={"enough": enough}).outline())
    recorded = {"conversation one": "641d2b642e161f48", "conversation two": "f71fddf334ec2545"}
    assert {name: digest for name, digest in parts.items() if name in recorded} == recorded
