"""The same mistakes in each kind of file: one reader and one translator tell all of them alike, each in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from orchestrator.cli.file_kind import is_ours, kind_of
from orchestrator.squad.load import Squad
from orchestrator.squad.routing import load_routing
from personas import Personas, packaged
from providers.documents.problems import Problem, ProblemsFound, to_text
from providers.documents.yaml import MAX_BYTES, read_mapping
from providers.simulation import load_scenario

LAB = "{dialect: openai-chat, base_url: 'http://127.0.0.1:9/v1', models: {m: {context: 8, max_output: 4}}}"
SOUND = {
    "squad": "name: s\nagents: {a: {persona: dev}}\ntasks: {t: {agent: a, description: Do.}}\n",
    "routing": "tiers: {worker: [groq/openai/gpt-oss-20b]}\nstrategy: tier\n",
    "catalog": f"providers:\n  lab: {LAB}\n",
    "scenario": "title: t\nproviders: {groq: {}}\nload: [{count: 1}]\n",
    "persona": "role: Counts.\nidentity: Exact.\n",
}


def persona(file: Path) -> object:
    read: list[Problem] = []
    return Personas(packaged()).build(read_mapping(file, read), read=read)


READERS: dict[str, Callable[[Path], object]] = {
    "squad": Squad.from_file,
    "routing": load_routing,
    "catalog": load_routing,
    "scenario": load_scenario,
    "persona": persona,
}
each_kind = pytest.mark.parametrize("kind", READERS)


def problems(kind: str, file: Path) -> tuple[Problem, ...]:
    try:
        READERS[kind](file)
    except ProblemsFound as found:
        return found.problems
    return ()


def told(kind: str, text: str | bytes, folder: Path) -> list[tuple[int, int, str]]:
    file = folder / f"{kind}.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = problems(kind, file)
    assert all(p.file == str(file) for p in found)
    return [(p.line, p.column, p.code) for p in found]


@pytest.mark.few(10)
@each_kind
@pytest.mark.parametrize("around", ["{}", "\ufeff{}", "%YAML 1.2\n---\n{}...\n", "# größe 😀\n{}"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sound_files_are_sound(tmp_path, kind, around, end):
    assert told(kind, around.replace("{}", SOUND[kind]).replace("\n", end), tmp_path) == []
    expected = "routing" if kind == "catalog" else kind
    assert kind_of(read_mapping(tmp_path / f"{kind}.yaml").value) == expected


@pytest.mark.few(16)
@each_kind
@pytest.mark.parametrize(
    ("more", "column", "code"),
    [
        ("nosuch: 1", 1, "unknown-field"),
        ("'語😀': {x: 1}", 1, "unknown-field"),
        ("1: x", 1, "bad-key"),
        ("~: x", 1, "bad-key"),
        ("? [a]\n: x", 3, "bad-key"),
        ("<<: {a: 1}", 1, "merge-key"),
        ("nosuch: !tag x", 1, "unknown-field"),
        ("nosuch: *gone", 9, "unknown-alias"),
        ("nosuch: [", 1, "bad-yaml"),
        ("\tx: 1", 1, "bad-yaml"),
        ("x: a: b", 5, "bad-yaml"),
        ("---\nx: 1", 1, "several-documents"),
        ("api_key: sk-1", 1, "secret-in-file"),
    ],
)
def test_a_mistake_at_the_top_is_told_alike(tmp_path, kind, more, column, code):
    line = SOUND[kind].count("\n") + 1
    found = told(kind, SOUND[kind] + more + "\n", tmp_path)
    expected = (line + 1, 1, code) if more == "nosuch: [" else (line, column, code)
    assert expected in found, found


@each_kind
def test_mistakes_of_the_reader_and_of_the_fields_come_together(tmp_path, kind):
    line = SOUND[kind].count("\n") + 1
    found = told(kind, SOUND[kind] + "nosuch: 1\nnosuch: 2\n", tmp_path)
    assert {(line, 1, "unknown-field"), (line + 1, 1, "duplicate-key")} <= set(found)


@pytest.mark.few(14)
@each_kind
@pytest.mark.parametrize(
    ("text", "code"),
    [
        (b"", "empty-file"),
        (b"\xef\xbb\xbf", "empty-file"),
        (b"# nothing\n", "empty-file"),
        (b"null\n", "wrong-type"),
        (b"- a\n", "wrong-type"),
        (b"word\n", "wrong-type"),
        (b"a: \xff\n", "not-utf8"),
        (b"a: \x00\n", "control-character"),
        (b"a: " + b"[" * 2000, "too-large"),
        (b"#" * (2 * MAX_BYTES), "too-large"),
        ("a: 1".encode("utf-16"), "not-utf8"),
    ],
)
def test_what_is_no_such_file_is_told_alike(tmp_path, kind, text, code):
    assert [code for _, _, code in told(kind, text, tmp_path)] == [code]


@each_kind
def test_what_cannot_be_read_is_told_alike(tmp_path, kind):
    for file in (tmp_path, tmp_path / "gone.yaml"):
        assert [(p.line, p.code) for p in problems(kind, file)] == [(1, "unreadable-file")]


WORKER = "tiers: {worker: [groq/openai/gpt-oss-20b]}"
DEEP = {
    "squad": ("agents: {a: {persona: dev, tools: [x, {name: [y]}]}}", "agents: {a: {persona: dev}}", 46, "text"),
    "routing": (
        "tiers: {worker: [groq/openai/gpt-oss-20b, 7]}",
        "tiers: {worker: [groq/openai/gpt-oss-20b]}",
        43,
        "text",
    ),
    "catalog": ("max_output: 4, price: {input: x, output: 1}", "max_output: 4", 121, "a number"),
    "scenario": ("load: [{count: 1, abilities: [tools, {}]}]", "load: [{count: 1}]", 38, "text"),
    "persona": ("identity: Exact.\ntools: [a, {name: b}, [c]]", "identity: Exact.", 23, "text"),
}


@each_kind
def test_a_wrong_type_deep_inside_is_told_in_its_place(tmp_path, kind):
    written, sound, column, meant = DEEP[kind]
    file = tmp_path / "deep.yaml"
    file.write_text(SOUND[kind].replace(sound, written))
    wrong = [p for p in problems(kind, file) if p.code == "wrong-type"]
    assert [(p.column, meant in p.message) for p in wrong] == [(column, True)], to_text(problems(kind, file))


@pytest.mark.parametrize(
    ("of", "column", "message"),
    [
        ("{a: 1}", 27, "'of' takes text or a list, not a mapping"),
        ("7", 27, "'of' takes text or a list, not the number 7"),
        ("[providers, {}]", 39, "'of' takes text or a whole number, not a mapping"),
    ],
)
def test_a_value_that_fits_no_member_of_a_union_is_told_once(tmp_path, of, column, message):
    file = tmp_path / "union.yaml"
    file.write_text(SOUND["scenario"] + f"claims: [{{text: xyz,  of: {of}, exactly: 1}}]\n")
    (problem,) = problems("scenario", file)
    assert (problem.column, problem.message) == (column, message)


YAML_1_1 = ["yes", "no", "on", "off", "1_000", "012", "12:30", "2026-11-21", "0x1G", "1e", "=", "y"]


@pytest.mark.parametrize("word", YAML_1_1)
@pytest.mark.few(4)
def test_what_only_yaml_1_1_knew_is_text_in_every_kind(tmp_path, word):
    assert told("persona", f"role: {word}\n", tmp_path) == []
    assert told("scenario", SOUND["scenario"].replace("title: t", f"title: {word}"), tmp_path) == []
    assert told("squad", SOUND["squad"].replace("name: s", f"name: {word}"), tmp_path) == []
    assert told("routing", SOUND["routing"] + f"ledger: {word}\n", tmp_path) == [(3, 9, "bad-address")]
    assert told("catalog", SOUND["catalog"].replace("{dialect", f"{{plan: {word}, dialect"), tmp_path) == []


def test_the_caret_stands_under_wide_characters(tmp_path):
    file = tmp_path / "wide.yaml"
    file.write_text("role: Counts.\n'語😀é': x\n", "utf-8")
    text = to_text(problems("persona", file))
    assert "   2 | '語😀é': x\n      | ^^^^^^^" in text
    file.write_text("{role: '語😀', nosuch: 1}\n", "utf-8")
    assert "1 | {role: '語😀', nosuch: 1}\n      |                ^^^^^^" in to_text(problems("persona", file))


@pytest.mark.parametrize(
    ("file", "kind"),
    [("agent_routing.yaml", "routing"), ("deep/agent_routing.yml", "routing"), ("squad.yaml", "squad"), ("", "squad")],
)
def test_the_name_of_a_file_counts_where_its_keys_say_nothing(file, kind):
    assert kind_of(["version"], file) == kind
    assert kind_of(["version", "agents", "tasks"], file) == "squad"


OTHERS = {
    "compose.yaml": "name: squads\nservices: {}\nvolumes: {}\n",
    "action.yml": "name: n\ndescription: d\nauthor: a\ninputs: {}\nruns: {}\n",
    "Chart.yaml": "apiVersion: v2\nname: n\ndescription: d\nversion: 1\ntype: application\n",
    "Taskfile.yml": "version: '3'\ntasks: {}\n",
    ".pre-commit-config.yaml": "repos: []\n",
    "pods.yaml": "apiVersion: v1\nkind: Pod\n---\napiVersion: v1\nkind: Pod\n",
    "playbook.yml": "- hosts: all\n  tasks: []\n",
    "team.yaml": "agents: {a: {persona: dev}}\n",
}


@pytest.mark.parametrize("kind", SOUND)
def test_each_kind_of_ours_is_told_from_files_of_other_programs(kind: str) -> None:
    assert is_ours(SOUND[kind], "one.yaml")


@pytest.mark.parametrize("file", OTHERS)
def test_files_of_other_programs_are_told_from_ours(file: str) -> None:
    assert not is_ours(OTHERS[file], file)


def test_a_file_of_our_name_and_a_broken_squad_are_ours() -> None:
    assert is_ours("taks: {}\n", "x/squad.yaml")
    assert is_ours("version: 1\nagents: {a: [}\ntasks:\n  t: {\n", "one.yaml")
