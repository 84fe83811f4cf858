"""`memory` at the command line: a person adds, lists, searches and forgets; an agent's run sees it."""

from __future__ import annotations

import json

import pytest

from orchestrator.cli.exits import Exit
from tests.agents.memory.test_meaning import written
from tests.components import imported

SQUAD = """\
name: pair
offline: always
memory: true
agents:
  mary: {persona: analyst}
tasks:
  plan: {agent: mary, description: Plan the deploys.}
"""


@pytest.fixture
def added(call):
    """Remember two things, and return their ids."""
    made = [
        call("memory", "add", "pair", "Deploys go out on Tuesdays.", "--tag", "ops"),
        call("memory", "add", "pair/mary", "The zebra is striped.", "--ttl", "90d"),
    ]
    assert [one.code for one in made] == [0, 0]
    return [one.out.strip() for one in made]


def test_without_a_memory_nothing_is_selected_and_no_file_is_made(call, folder):
    for words in (("ls",), ("search", "x"), ("forget", "m-1")):
        done = call("memory", *words)
        assert (done.code, done.out) == (Exit.NOTHING, "")
        assert "nothing is remembered here" in done.err
    assert not (folder / ".orchestrator").exists()


def test_records_are_listed_searched_and_forgotten_by_id_or_its_beginning(call, added):
    listed = call("memory", "ls", "--json")
    records = {one["id"]: one for one in map(json.loads, listed.out.splitlines())}
    assert sorted(records) == sorted(added)
    first = records[added[0]]
    assert (first["scope"], first["trust"], first["tags"], first["expires"]) == ("pair", "user", ["ops"], None)
    assert first["source"] == {"origin": "person", "agent": "", "run": "", "unit": ""}
    assert "in 90 d" in call("memory", "ls").out
    assert added[1] in call("memory", "search", "ZEBRAS").out
    assert call("memory", "forget", added[1][:8]).code == 0
    assert call("memory", "search", "zebra").code == Exit.NOTHING
    assert call("memory", "forget", "m-none").code == Exit.NOTHING
    assert added[0] in call("memory", "ls").out


def test_a_scope_means_its_agents_too_and_all_of_one_can_be_forgotten(call, added):
    call("memory", "add", "other", "Something else.")
    assert len(call("memory", "ls", "--scope", "pair", "--json").out.splitlines()) == 2
    assert len(call("memory", "ls", "--scope", "pair/mary", "--json").out.splitlines()) == 1
    for wrong in ((), ("--scope", "pair"), (added[0], "--all")):
        assert call("memory", "forget", *wrong).code == Exit.USAGE
    assert call("memory", "forget", "--all", "--scope", "pair").code == 0
    assert [json.loads(line)["scope"] for line in call("memory", "ls", "--json").out.splitlines()] == ["other"]


@pytest.mark.parametrize("query", ['"', "NEAR(", "a:b", "-x", "*", "'; DROP TABLE records; --", "🎉", " "])
def test_what_is_searched_is_a_text(call, added, query):
    done = call("memory", "search", "--", query)
    assert done.code in (0, Exit.NOTHING), done.err
    assert len(call("memory", "ls", "--json").out.splitlines()) == 2


def test_an_unusable_text_and_a_damaged_file_are_told(call, folder, added):
    assert call("memory", "add", "pair", " ").code == Exit.USAGE
    assert "4,000" in call("memory", "add", "pair", "x" * 5000).err
    masked = call("memory", "add", "pair", "api_key: sk-abcdefghijklmnop1234")
    assert "left out" in masked.err
    assert "abcdefghijkl" not in call("memory", "ls", "--json").out
    for end in ("-wal", "-shm"):
        (folder / ".orchestrator" / f"memory.db{end}").unlink(missing_ok=True)
    (folder / ".orchestrator" / "memory.db").write_bytes(b"not a database" * 200)
    done = call("memory", "ls")
    assert done.code == Exit.USAGE
    assert "hint: move the file away" in done.err


def test_text_of_others_does_nothing_to_the_terminal(call, added):
    call("memory", "add", "pair", "red \x1b[31m alert \u202e txt")
    assert "\x1b" not in call("memory", "ls").out
    assert "\u202e" not in call("memory", "ls").out


def test_a_run_tells_its_agent_what_a_person_added(call, folder, added):
    (folder / "squad.yaml").write_text(SQUAD)
    done = call("run", "squad.yaml", "--json")
    [recalled] = [one for one in map(json.loads, done.out.splitlines()) if one["type"] == "memory.recalled"]
    assert (recalled["agent"], recalled["records"], recalled["passages"]) == ("mary", [added[0]], [])
    assert call("runs", "replay", "latest").code == 0


def test_the_config_of_a_squad_that_remembers_reads_back(call, folder):
    (folder / "docs").mkdir()
    text = SQUAD.replace("memory: true", "memory: {ttl: 90d}\nknowledge: [docs, {path: docs, include: ['*.md']}]")
    (folder / "squad.yaml").write_text(text)
    (folder / "again.yaml").write_text(call("config", "squad.yaml").out)
    assert call("validate", "again.yaml").code == 0
    assert call("config", "again.yaml").out == (folder / "again.yaml").read_text()


def test_records_are_found_by_meaning_with_the_model_of_a_folder(call, folder):
    imported("numpy", "embeddings")
    call("memory", "add", "sprint", "The zebra!")
    refused = call("memory", "search", "cafe", "--embeddings", "nowhere")
    assert refused.code not in (0, Exit.NOTHING)
    assert "the embeddings folder nowhere cannot be used" in refused.err
    assert call("memory", "search", "unheard").code == Exit.NOTHING
    assert "zebra" in call("memory", "search", "unheard", "--embeddings", str(written(folder / "model"))).out


def test_validate_tells_of_a_folder_that_is_none_and_of_a_missing_key(call, folder):
    text = "name: a\nagents: {ann: {persona: analyst, memory: {embeddings: %s}}}\n"
    text += "tasks: {a: {agent: ann, description: b}}\n"
    (folder / "squad.yaml").write_text(text % "nowhere")
    told = call("validate", "squad.yaml")
    assert (told.code, "bad-embeddings" in told.out) == (1, True)
    (folder / "squad.yaml").write_text(text % "{model: openai/text-embedding-3-small}")
    told = call("validate", "squad.yaml")
    assert (told.code, "unreachable-embeddings" in told.out) == (0, True)
    assert "set OPENAI_API_KEY" in told.out
