"""Images: who is handed one, in which message, and that a record holds it once."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from orchestrator import PlanError, Squad
from orchestrator.journal.memory import MemoryJournal
from orchestrator.journal.sqlite.journal import SqliteJournal
from orchestrator.rerun.replay import read_record, replay
from orchestrator.rerun.requests import attempts_of, body_of
from orchestrator.runtime import open_run, resume_run
from providers.messages import Image, Message, Request
from tests.orchestrator.squads import Answers, run, squad
from tests.orchestrator.vendors import Vendors

pytestmark = pytest.mark.anyio

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8
SEEN = Image("image/png", PNG)
INPUTS = {"photo": {"type": "image"}, "other": {"type": "image", "default": "x.png"}, "word": {"default": "tea"}}


def images(messages: Sequence[Message]) -> list[list[Any]]:
    return [[part for part in message.parts if isinstance(part, Image)] for message in messages]


async def test_a_task_whose_words_mention_an_image_is_handed_it() -> None:
    tasks = {
        "look": "Describe ${{ inputs.photo }}.",
        "name": {"agent": "bob", "needs": ["look"], "description": "Of ${{ inputs.photo.name }}: ${{ inputs.word }}."},
        "form": {
            "needs": ["name"],
            "steps": [{"id": "a", "agent": "ann", "description": "Go.", "expected_output": "as ${{ inputs.photo }}"}],
        },
    }
    manager = Answers()
    given = squad(tasks, inputs=INPUTS)
    result, _ = await run(given, manager, inputs={"photo": PNG, "other": PNG})
    assert result.status == "done", result.errors
    asked = [request.messages for _, request in manager.asked]
    assert [images(messages)[-1] for messages in asked] == [[SEEN], [], [SEEN]]
    assert asked[0][-1].text.endswith("Describe [image: photo].")


async def test_everybody_who_talks_about_an_image_sees_it() -> None:
    talk = {"participants": ["ann", "bob"], "moderator": "ann", "terminate": {"max_turns": 2}}
    tasks = {"t": {"conversation": "talk", "description": "${{ inputs.photo }}", "output_schema": {"type": "string"}}}
    manager = Answers(lambda agent, request: '"a word"' if request.output_schema else f"{agent} speaks")
    given = squad(tasks, conversations={"talk": talk}, inputs={"photo": {"type": "image"}})
    result, _ = await run(given, manager, inputs={"photo": PNG})
    assert result.status == "done", result.errors
    assert len(manager.asked) == 4
    for _, request in manager.asked:
        assert [SEEN] in images(request.messages)


async def test_a_record_holds_an_image_once_and_needs_its_file_no_more(tmp_path: Path) -> None:
    photo = tmp_path / "x.png"
    photo.write_bytes(PNG)
    declared = {"photo": {"type": "image"}}
    given = squad({"a": "${{ inputs.photo }}", "b": "Again ${{ inputs.photo }}"}, inputs=declared)
    edited = squad({"a": "${{ inputs.photo }}", "b": "Once more ${{ inputs.photo }}"}, inputs=declared)

    def answer(agent: str, request: Request) -> str:
        if "Again" in request.messages[-1].text:
            raise RuntimeError("down")
        return "seen"

    file = tmp_path / "journal.db"
    async with SqliteJournal(file) as journal:
        kept: dict[str, Any] = {"run_id": "r", "journal": journal}
        async with open_run(given, inputs={"photo": photo}, manager=Answers(answer), **kept) as one:
            async for _ in one:
                pass
        assert one.result.status == "failed"
        photo.unlink()
        manager = Answers(answer)
        async with resume_run(edited, "r", journal=journal, manager=manager, edited=True) as two:
            async for _ in two:
                pass
        assert two.result.status == "done", two.result.errors
        assert [images(request.messages)[-1] for _, request in manager.asked] == [[SEEN]]
        assert (await replay(journal, "r")).difference is None
    stored = b"".join(path.read_bytes() for path in tmp_path.iterdir() if path.is_file())
    assert stored.count(PNG[8:108]) <= 1


def test_an_agent_that_is_handed_an_image_needs_a_model_that_sees() -> None:
    squad_of = {
        "name": "s",
        "inputs": {"photo": {"type": "image"}},
        "agents": {"ann": {"role": "Looks.", "model": "groq/openai/gpt-oss-120b"}},
        "tasks": {"t": {"agent": "ann", "description": "See ${{ inputs.photo }}"}},
    }
    with pytest.raises(PlanError, match="unanswerable") as caught:
        Squad.from_mapping(squad_of)
    assert "vision" in str(caught.value)
    squad_of["tasks"] = {"t": {"agent": "ann", "description": "See ${{ inputs.photo.name }}"}}
    assert not Squad.from_mapping(squad_of).outline().agents["ann"].sees


OUTER = """\
name: outer
inputs: {photo: {type: image}, note: {type: file}}
tasks: {look: {squad: inner.yaml, with: {pic: "${{ inputs.photo }}", doc: "${{ inputs.note }}"}}}
"""
INNER = """\
name: inner
inputs: {pic: {type: image}, doc: {type: file, default: note.txt}}
agents: {bob: {instructions: "You read ${{ inputs.doc.name }}."}}
tasks: {see: {agent: bob, description: "See ${{ inputs.pic }}, read ${{ inputs.doc }}"}}
"""


async def test_a_sub_squad_is_handed_files_and_images(tmp_path: Path) -> None:
    (tmp_path / "inner.yaml").write_text(INNER)
    (tmp_path / "outer.yaml").write_text(OUTER)
    (tmp_path / "note.txt").write_text("a note")
    given, manager, journal = Squad.from_file(tmp_path / "outer.yaml"), Answers(), MemoryJournal()
    inputs = {"photo": PNG, "note": tmp_path / "note.txt"}
    result, _ = await run(given, manager, inputs=inputs, journal=journal, run_id="r")
    assert result.status == "done", result.errors
    (request,) = (request for _, request in manager.asked)
    assert images(request.messages)[-1] == [SEEN]
    assert request.messages[0].text == "You read note.txt."
    assert "See [image: photo], read a note" in request.messages[-1].text
    assert (await replay(journal, "r")).difference is None
    (tmp_path / "outer.yaml").write_text(OUTER.replace(', doc: "${{ inputs.note }}"', ""))
    with pytest.raises(PlanError, match="needs the input 'doc'"):
        Squad.from_file(tmp_path / "outer.yaml")


KEYS = {"OAI_API_KEY": "k" * 20, "ANT_API_KEY": "k" * 20, "GEM_API_KEY": "k" * 20, "BLIND_API_KEY": "k" * 20}
DIALECTS = {"oai": "openai-chat", "ant": "anthropic-messages", "gem": "gemini", "blind": "openai-chat"}


async def test_an_image_and_the_sampling_of_an_agent_reach_every_dialect() -> None:
    with Vendors().serving() as vendors:
        providers = {
            name: {
                "dialect": dialect,
                "base_url": vendors.root,
                "models": {"m": {"context": 90_000, "max_output": 900, "vision": name != "blind"}},
            }
            for name, dialect in DIALECTS.items()
        }
        routing = {"tiers": {"worker": ["blind/m", "oai/m"]}, "last_resort": [], "providers": providers}
        who = {"instructions": "You look at ${{ inputs.photo }}.", "temperature": 0.5, "max_output_tokens": 77}
        pinned = {name: {**who, "model": f"{name}/m"} for name in ("ant", "gem")}
        works = {
            name: {"agent": name, "description": "What is on ${{ inputs.photo }}?"} for name in ("any", "ant", "gem")
        }
        squad_of = {
            "name": "s",
            "inputs": {"photo": {"type": "image"}},
            "agents": {"any": {**who, "tier": "worker"}, **pinned},
            "tasks": works,
        }
        given, journal = Squad.from_mapping(squad_of, routing=routing), MemoryJournal()
        options: dict[str, Any] = {"inputs": {"photo": PNG}, "run_id": "r", "journal": journal, "environ": KEYS}
        async with open_run(given, **options) as opened:
            async for _ in opened:
                pass
        assert opened.result.status == "done", opened.result.errors
        sent = [body for _, body in vendors.bodies]
    assert sorted(end for end, _ in vendors.bodies) == ["/chat/completions", "/messages", ":generateContent"]
    for body in sent:
        for part in (
            base64.b64encode(PNG),
            b"You look at [image: photo].",
            b"What is on [image: photo]?",
            b"0.5",
            b"77",
        ):
            assert part in body
    made = await read_record(journal, "r")
    assert sorted([await body_of(made, one) for one in attempts_of(made)]) == sorted(sent)
