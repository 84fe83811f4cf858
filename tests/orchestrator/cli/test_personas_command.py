"""`personas`: yours beside those of the library, written, listed and rendered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli.ui.persona_starter import starter
from personas import Personas, packaged
from personas.markdown import persona_in

SQUAD = """version: 1
name: t
offline: always
inputs: {topic: {type: string}, tone: {type: string, default: dry}}
agents:
  ann: {persona: rae, style: "Be ${{ inputs.tone }}.", instructions: "On ${{ inputs.topic }}."}
  bob: {persona: analyst}
tasks:
  review: {agent: ann, description: "Review ${{ inputs.topic }}."}
  talk: {conversation: chat, description: Talk.}
conversations:
  chat: {pattern: round_robin, participants: [ann, bob], terminate: {max_turns: 2}}
"""
RAE = "---\nname: Rae\nrole: Reviews.\n---\nBody."


@pytest.fixture
def own(folder):
    (folder / "personas").mkdir()
    (folder / "personas" / "rae.md").write_text(RAE, "utf-8")
    (folder / "squad.yaml").write_text(SQUAD, "utf-8")
    return folder


@pytest.mark.parametrize("markdown", [False, True])
@pytest.mark.parametrize("base", [None, *Personas(packaged()).names()])
@pytest.mark.parametrize(("title", "tier"), [(None, None), ('Lead: "it"\n# x', "boss")])
def test_what_is_written_is_sound(markdown, base, title, tier) -> None:
    library = Personas(packaged())
    built_on = None if base is None else library.get(base)
    text = starter("sec-lead", title, tier, built_on, markdown=markdown)
    made = library.build(persona_in(text, "x.md" if markdown else "x.yaml"), "sec-lead")
    assert made.title == (title or ("Specialist" if built_on is None else built_on.title))
    assert made.tier == (tier or ("worker" if built_on is None else built_on.tier))
    assert made.display_name == ("Sec Lead" if built_on is None else built_on.display_name)
    uncommented = text.replace("\n# ", "\n").replace("\n#   ", "\n  ")
    assert uncommented != text


def test_a_new_persona_is_found_by_its_name(call) -> None:
    done = call("personas", "new", "kim", "--markdown", "--title", "Chief", "--from", "analyst")
    assert (done.code, done.out) == (0, f"wrote {Path('personas/kim.md')}\n")
    assert "agents: {kim: {persona: kim}}" in done.err
    assert call("validate", "personas").code == 0
    assert "Mary, Chief." in call("personas", "render", "kim").out


def test_a_persona_in_another_folder_is_named_by_its_file(call, folder) -> None:
    assert "{persona: ./other/kim.yaml}" in call("personas", "new", "kim", "--dir", "other").err
    (folder / "squad.yaml").write_text(SQUAD.replace("persona: rae", "persona: ./other/kim.yaml"), "utf-8")
    assert call("validate", "squad.yaml").code == 0


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["rae"], "is there already"),
        (["rae", "--markdown"], "is there already"),
        (["a b/../c"], "write a-b-c"),
        (["../x"], "write x"),
        (["kim", "--tier", "bos"], "did you mean 'boss'"),
        (["kim", "--from", "anlyst"], "did you mean 'analyst'"),
        (["kim", "--from", "kim"], "cannot be built on itself"),
        (["kim", "--dir", "squad.yaml"], "is a file"),
        (["README", "--markdown"], "would be no persona"),
    ],
)
def test_nothing_is_written_where_it_cannot_be(call, own, arguments, told) -> None:
    done = call("personas", "new", *arguments)
    assert done.code == 2
    assert told in done.err
    assert [file.name for file in (own / "personas").iterdir()] == ["rae.md"]
    assert (own / "personas" / "rae.md").read_text("utf-8") == RAE


def test_a_title_that_no_persona_may_have_is_refused(call, own) -> None:
    done = call("personas", "new", "kim", "--title", "x" * 201)
    assert (done.code, [file.name for file in (own / "personas").iterdir()]) == (1, ["rae.md"])
    assert "'title' should have at most 200 characters" in done.err


@pytest.mark.parametrize("name", ["123", "null", "true", "1e3"])
def test_the_line_for_the_squad_can_be_pasted(call, own, name) -> None:
    told = call("personas", "new", name).err
    [line] = [line for line in told.splitlines() if line.startswith("in the squad: ")]
    tasks = f'tasks: {{a: {{agent: "{name}", description: D.}}}}'
    squad = f"version: 1\nname: t\n{line.removeprefix('in the squad: ')}\n{tasks}\n"
    (own / "squad.yaml").write_text(squad, "utf-8")
    done = call("validate", "squad.yaml")
    assert done.code == 0, done.out


def test_mistakes_of_a_persona_have_its_file(call, own) -> None:
    (own / "personas" / "rae.md").write_text("---\n---\n", "utf-8")
    assert "personas/rae.md: role: error[missing-field]" in call("personas", "render", "rae").err


def test_what_is_shown_has_no_secrets(call, own, monkeypatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "hush-hush-hush")
    (own / "personas" / "rae.md").write_text(f"{RAE} hush-hush-hush", "utf-8")
    for arguments in (["show", "rae"], ["show", "rae", "--json"], ["render", "rae"], ["render", "rae", "--json"]):
        done = call("personas", *arguments)
        assert done.code == 0
        assert "hush" not in done.out
        assert "Body. ***" in done.out


def test_the_list_has_those_of_the_folder_and_broken_ones(call, own) -> None:
    (own / "personas" / "bad.yaml").write_text("rle: x", "utf-8")
    done = call("personas", "ls")
    assert done.code == 0
    assert "personas/rae.md" in done.out
    assert "analyst" in done.out
    assert "personas/bad.yaml has mistakes" in done.err
    listed = {one["name"]: one for one in json.loads(call("personas", "ls", "--json").out)}
    assert listed["rae"] == {
        "name": "rae", "display_name": "Rae", "title": "", "tier": "worker", "file": "personas/rae.md"
    }  # fmt: skip
    assert listed["analyst"]["file"] is None
    assert listed["bad"]["has_mistakes"]


def test_an_agent_is_rendered_with_what_it_overrides(call, own) -> None:
    done = call("personas", "render", "--squad", "squad.yaml", "--agent", "ann", "-i", "topic=tea")
    assert done.code == 0
    sections = ["You are Rae.", "## Your role", "Reviews.", "## How you speak", "Be dry.", "## Your instructions"]
    assert done.out == "\n\n".join([*sections, "Body.", "On tea.\n"])
    assert "tokens" in done.err
    assert "not given" not in done.err


def test_what_is_not_given_is_named(call, own) -> None:
    done = call("personas", "render", "--squad", "squad.yaml", "--task", "review", "--json")
    document = json.loads(done.out)
    assert document["unset"] == ["inputs.topic"]
    assert document["system"].endswith("On ${{ inputs.topic }}.\n")
    assert document["brief"] == "# Task\n\nReview ${{ inputs.topic }}."
    assert "not given here: inputs.topic" in done.err


@pytest.mark.parametrize(
    ("pair", "told"),
    [("topc=tea", "did you mean 'topic'?"), ("n=much", "'n' is of type integer")],
)
def test_inputs_that_the_squad_does_not_take_are_refused(call, own, pair, told) -> None:
    (own / "squad.yaml").write_text(SQUAD.replace("inputs: {", "inputs: {n: {type: integer, default: 1}, "), "utf-8")
    done = call("personas", "render", "--squad", "squad.yaml", "--agent", "ann", "-i", pair)
    assert (done.code, done.out) == (1, "")
    assert told in done.err


def test_a_template_that_reads_what_is_not_there_is_told(call, own) -> None:
    (own / "t.yaml").write_text('role: R.\ntemplate: "{{ persona.role }} {{ season }}"', "utf-8")
    done = call("personas", "render", "t.yaml")
    assert done.code == 1
    assert "season" in done.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "name a persona"),
        (["rae", "--squad", "squad.yaml"], "name a persona"),
        (["rae", "--agent", "ann"], "add --squad"),
        (["rea"], "did you mean 'rae'"),
        (["./x.md"], "no persona file"),
        (["--squad", "squad.yaml"], "the squad has ann, bob"),
        (["--squad", "squad.yaml", "--agent", "an"], "did you mean 'ann'"),
        (["--squad", "squad.yaml", "--task", "reviw"], "did you mean 'review'"),
        (["--squad", "squad.yaml", "--task", "talk"], "its agents: ann, bob"),
        (["--squad", "squad.yaml", "--task", "review", "--agent", "bob"], "its agents: ann"),
    ],
)
def test_what_cannot_be_rendered_is_told(call, own, arguments, told) -> None:
    done = call("personas", "render", *arguments)
    assert done.code == 2
    assert told in done.err


def test_secrets_are_masked(call, own, monkeypatch) -> None:
    monkeypatch.setenv("MY_SECRET", "hunter-2-hunter")
    (own / "personas" / "rae.md").write_text("The password is hunter-2-hunter.", "utf-8")
    assert "hunter" not in call("personas", "render", "rae").out


def test_ask_and_validate_take_files(call, own) -> None:
    assert call("validate", "personas", "personas/rae.md").code == 0
    assert "personas/rae.md is Markdown" in call("run", "personas/rae.md").err
