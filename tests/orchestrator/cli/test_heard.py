"""Who heard what in a conversation, as `explain` shows it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from orchestrator.cli.ui.heard import heard_lines

TALKS = """\
version: 1
name: talks
agents: {lead: {role: Leads.}, ann: {role: Writes.}, bob: {role: Tests.}}
conversations:
  board: {participants: [ann, {conversation: work}], terminate: {max_turns: 2}}
  work: {pattern: hierarchical, manager: lead, participants: [bob, ann], rounds: 1}
tasks: {talk: {conversation: board, description: A shop.}}
"""


def said(text: str, **more: Any) -> dict[str, Any]:
    head = {"type": "message.spoken", "unit": "talk/try-1", "speaker": "ann", "round": 1}
    return {**head, "text": text, "conversation": "", "heard": None, "asked": [], **more}


def test_explain_shows_each_utterance_with_who_was_shown_it(call: Callable[..., Any], folder: Path) -> None:
    (folder / "talks.yaml").write_text(TALKS)
    assert call("run", "talks.yaml", "--offline", "--run-id", "r-1").code == 0
    lines = call("explain", "r-1", "talk").out.splitlines()
    outer = lines.index("talk/try-1: who heard what in board")
    inner = lines.index("talk/try-1/round-1/work: who heard what in work")
    assert lines[outer + 1].startswith('  round 1: ann: "')
    assert lines[outer + 1].endswith('", heard by work')
    assert lines[outer + 2].endswith('", heard by ann')
    assert ", heard by no one else; asks bob" in lines[inner + 1], "what a manager writes is the manager's"
    assert lines[inner + 2].endswith(", heard by lead")
    documents = [json.loads(line) for line in call("explain", "r-1", "talk", "--json").out.splitlines()]
    spoken = [one for one in documents if one["type"] == "message.spoken"]
    assert ["work"] in [one["heard"] for one in spoken]
    assert {one["conversation"] for one in spoken} == {"board", "work"}
    assert "route.chosen" in {one["type"] for one in documents}


def test_words_are_shown_in_short_and_an_older_record_tells_what_it_has() -> None:
    ended = {"type": "conversation.ended", "unit": "talk/try-1", "turns": 2, "reason": "max_turns 2"}
    events = [said("Good\nday. " + "x" * 99), said("", heard=[]), ended]
    assert list(heard_lines(events)) == [
        "talk/try-1: who heard what",
        f'  round 1: ann: "Good day. {"x" * 50}..."',
        "  round 1: ann: nothing that others hear, heard by no one else",
        "  ended after 2 utterances: max_turns 2",
    ]
    assert list(heard_lines([ended])) == []
