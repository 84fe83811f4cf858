"""The reference squad's meeting and its stories on a real engine: llama.cpp, with a tiny model that writes noise."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.e2e.command import ROOT, Ended, files_below, orchestrator
from tests.llama import Llama

pytestmark = pytest.mark.e2e

ROUTING = {
    "version": 1,
    "tiers": {"boss": ["local/*"], "worker": ["local/*"], "creative": ["local/*"]},
    "timeouts": {"first_token": "5m", "total": "10m"},
}
LONGEST = 400
"""Tokens of an answer. The squad says so, for noise hardly ever ends: it would be continued to four times the limit."""
WORD = {"type": "string", "pattern": "^[a-z]{1,8}$"}
"""Noise hardly ever closes a string by itself, and is hardly ever UTF-8; what is not, the server answers with a 500."""


def squad() -> dict[str, Any]:
    """Return the reference squad, cut down to its planning meeting and the stories that are made of it."""
    reference: dict[str, Any] = yaml.safe_load((ROOT / "examples/sprint.yaml").read_text("utf-8"))
    meeting = reference["conversations"]["planning_meeting"]
    meeting["terminate"]["any"][0]["max_turns"] = 4
    meeting["participants"] = meeting["participants"][:3]
    planning, stories = (reference["tasks"][name] for name in ("planning", "stories"))
    for task, context in ((planning, []), (stories, ["planning"])):
        task["needs"] = task["context"] = context
    stories["output_file"] = "docs/stories.json"
    made = stories["output_schema"]["properties"]["stories"]
    made.update(minItems=1, maxItems=2)
    made["items"]["properties"].update(id=WORD, title=WORD)
    made["items"]["properties"]["acceptance_criteria"].update(items=WORD, maxItems=2)
    people = [*meeting["participants"], meeting["moderator"]]
    return {
        "version": 1,
        "name": "small",
        "agents": {
            name: {"persona": reference["agents"][name]["persona"], "max_output_tokens": LONGEST} for name in people
        },
        "conversations": {"planning_meeting": meeting},
        "tasks": {"planning": planning, "stories": stories},
        "outputs": {"stories": "${{ tasks.stories.output.stories }}"},
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("engine")


@pytest.fixture(scope="module")
def ended(llama: Llama, folder: Path) -> Ended:
    """One run; the tests below look at it from all sides."""
    (folder / "squad.yaml").write_text(yaml.safe_dump(squad(), sort_keys=False), "utf-8")
    (folder / "agent_routing.yaml").write_text(yaml.safe_dump(ROUTING), "utf-8")
    environment = {"LOCAL_BASE_URL": llama.base_url}
    return orchestrator("run", "squad.yaml", "--out", "out", "--json", cwd=folder, env=environment)


def test_the_run_ends_well_on_the_catalogs_row_of_local_servers(ended: Ended):
    assert ended.code == 0, ended.err
    last = ended.events[-1]
    assert (last["type"], last["status"], last["stub"]) == ("run.finished", "done", False)
    assert last["tasks"] == {"planning": "ok", "stories": "ok"}
    assert {(e["provider"], e["outcome"]) for e in ended.of_type("attempt.ended")} == {("local", "ok")}


def test_the_stories_keep_to_their_schema(ended: Ended, folder: Path):
    schema = squad()["tasks"]["stories"]["output_schema"]
    output = ended.events[-1]["outputs"]["stories"]
    Draft202012Validator(schema).validate({"stories": output})
    assert json.loads((folder / "out/docs/stories.json").read_bytes()) == {"stories": output}


def test_the_meeting_begins_with_all_at_once_and_ends_in_its_time(ended: Ended, folder: Path):
    spoken = [(e["speaker"], e["round"]) for e in ended.of_type("message.spoken")]
    assert sorted(spoken[:3]) == [("john", 1), ("sally", 1), ("winston", 1)]
    assert len(spoken) == 4
    [over] = ended.of_type("conversation.ended")
    assert (over["reason"], over["turns"]) == ("max_turns 4", 4)
    transcript = (folder / "out/docs/planning.md").read_bytes().decode("utf-8")
    for speaker, number in spoken[:-1]:
        assert f"### {speaker}, round {number}" in transcript
    assert "### bob, round 1" not in transcript, "its words are the conclusion above"
    assert all(e["text"].strip() for e in ended.of_type("message.spoken"))


def test_what_the_engine_counted_is_counted(ended: Ended):
    turns = [event["usage"] for event in ended.of_type("turn.ended")]
    assert len(turns) >= 5
    assert all(usage["input_tokens"] > 500 and 0 < usage["output_tokens"] <= LONGEST for usage in turns)
    total = ended.events[-1]["usage"]
    assert total == {kind: sum(usage[kind] for usage in turns) for kind in total}
    assert ended.events[-1]["cost_usd"] == 0


def test_the_files_are_utf8_and_those_that_were_told(ended: Ended, folder: Path):
    written = files_below(folder / "out")
    assert sorted(written) == ["docs/planning.md", "docs/stories.json"]
    for data in written.values():
        data.decode("utf-8")
    assert ended.events[-1]["artifacts"] == {path: hashlib.sha256(data).hexdigest() for path, data in written.items()}


def test_the_run_can_be_explained(ended: Ended, folder: Path):
    told = orchestrator("explain", "stories", cwd=folder)
    assert told.code == 0
    assert "  answered by local/" in told.out


def test_a_real_server_is_found_and_named(llama: Llama, tmp_path: Path):
    variables = {"ORCHESTRATOR_LOCAL_SERVERS": llama.base_url, "ORCHESTRATOR_LOCAL_WAIT": "120s"}
    found = orchestrator("doctor", "--json", cwd=tmp_path, env=variables)
    [keys] = [each for each in json.loads(found.stdout) if each["check"] == "keys"]
    root = llama.base_url.removesuffix("/v1")
    assert keys["text"].startswith(f"found llama.cpp at {root}, model ")
    shown = orchestrator("providers", "ls", cwd=tmp_path, env=variables)
    assert f"using llama.cpp at {root}, model " in shown.err


@pytest.mark.parametrize("options", [("--json",), ("--stream",)])
def test_one_question_is_answered_too(llama: Llama, folder: Path, options: tuple[str, ...]):
    answered = orchestrator(
        "ask", "Say hello to 👩‍👩‍👧‍👦.", *options, cwd=folder, env={"LOCAL_BASE_URL": llama.base_url}
    )
    assert answered.code == 0, answered.err
    assert answered.out.strip()
