"""The commands that run nothing: ask, validate, schema, graph, config, personas, providers, doctor, init."""

from __future__ import annotations

import io
import json
import os
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from jsonschema_specifications import REGISTRY

from orchestrator.cli.app import Settings
from orchestrator.cli.commands import doctor
from orchestrator.cli.commands.providers.test import cheapest_of_each, exit_of_trials
from orchestrator.cli.commands.schema import SCHEMAS
from orchestrator.cli.extras import EXTRAS, Extra
from orchestrator.cli.ui.columns import columns
from orchestrator.cli.ui.spoken import StreamPrinter
from providers.catalog.file import load_catalog
from providers.documents.unicode import printable
from providers.errors import AllAttemptsFailed, AuthFailed, NoRoute, Unreachable

ROOT = Path(__file__).parents[3]

# -- ask


def test_ask_prints_the_answer(call, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("ok"))
    done = call("ask", "hello", "--model", "local/default")
    assert done.code == 0
    assert done.out == "Hello from loopback 🛒 é.\n"
    assert "local/default" in done.err


def test_ask_takes_any_model_of_a_local_server_as_a_squad_does(call, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("ok"))
    done = call("ask", "hello", "--model", "local/tiny")
    assert done.code == 0, done.err
    assert loopback.requests[0].body["model"] == "tiny"


def test_ask_streams_the_same_text(call, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("ok"))
    assert call("ask", "hello", "--stream").out == "Hello from loopback 🛒 é.\n"
    assert loopback.requests[0].body["stream"] is True


def test_ask_json_is_the_documented_document(call, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("500", "ok"))
    document = json.loads(call("ask", "hello", "--json").out)
    assert document.keys() == {
        "schema_version",
        "text",
        "provider",
        "model",
        "finish_reason",
        "tool_calls",
        "usage",
        "cost_usd",
        "attempts",
        "latency_ms",
        "truncated",
    }
    assert (document["provider"], document["model"], document["finish_reason"]) == ("local", "default", "stop")
    assert set(document["usage"]) == {"input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"}
    assert [attempt["outcome"] for attempt in document["attempts"]] == ["failed", "ok"]
    failed = document["attempts"][0]
    assert failed.keys() == {"provider", "model", "outcome", "status", "error", "ms"}
    assert (failed["status"], failed["error"]) == (500, "ServerFault")


def test_ask_sends_the_persona_and_the_system_text(call, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("ok"))
    assert call("ask", "hello", "--agent", "dev", "--system", "Be brief.").code == 0
    first = loopback.requests[0].body["messages"][0]
    assert first["role"] == "system"
    assert "Amelia" in first["content"]
    assert first["content"].endswith("Be brief.")


def test_ask_logs_what_happens_where_that_is_wanted(call, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("500", "ok"))
    done = call("ask", "hello", "--log-format", "json")
    events = [json.loads(line) for line in done.err.splitlines() if line.startswith("{")]
    assert [event["event"] for event in events].count("attempt.ended") == 2
    assert done.out == "Hello from loopback 🛒 é.\n"


@pytest.mark.long
def test_ask_reads_stdin(spawn):
    done = spawn("ask", "-", "--offline", stdin="日本語".encode(), PYTHONIOENCODING="utf-8")
    assert done.returncode == 0
    assert "日本語" in done.stdout.decode()


@pytest.mark.parametrize(
    ("mode", "code"),
    [
        ("401", 4),
        pytest.param("500", 8, marks=pytest.mark.long),
        pytest.param("empty", 8, marks=pytest.mark.long),
        pytest.param("html", 8, marks=pytest.mark.long),
    ],
)
def test_ask_that_nobody_answers(call, loopback, monkeypatch, mode, code):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url(mode))
    done = call("ask", "hello")
    assert done.code == code
    assert done.out == ""


def test_ask_without_a_key(call):
    done = call("ask", "hello")
    assert done.code == 4
    assert "GROQ_API_KEY" in done.err


@pytest.mark.parametrize("arguments", [["  "], ["x", "--stream", "--json"], ["x", "--agent", "nobody"]])
def test_ask_that_makes_no_sense(call, arguments):
    assert call("ask", *arguments, "--offline").code == 2


PIECES = st.lists(
    st.sampled_from(["a", "\n", "\x1b", "[", "31", "m", "]0;", "\x07", "\x9b", "é", "\ud83d", "\uded2", "\r"])
)


@given(PIECES, st.data())
def test_a_stream_prints_what_the_whole_would_however_it_is_cut(pieces, data):
    text, out, at = "".join(pieces), io.StringIO(), 0
    stdout, sys.stdout = sys.stdout, out
    try:
        printer = StreamPrinter()
        while at < len(text):
            size = data.draw(st.integers(1, 4))
            printer.add(text[at : at + size])
            at += size
        printer.end()
    finally:
        sys.stdout = stdout
    assert out.getvalue() == printable(text) + "\n"


# -- validate, schema, graph, config

BROKEN = "name: x\nagents:\n  mary: {persona: analyst}\ntasks:\n  a: {agnt: mary, description: do}\n"


def test_validate(call, folder):
    assert call("validate", "squad.yaml").code == 0
    (folder / "broken.yaml").write_text(BROKEN)
    done = call("validate", "squad.yaml", "broken.yaml")
    assert done.code == 1
    assert "broken.yaml:5:7: error[unknown-field]" in done.out
    assert "did you mean 'agent'?" in done.out
    assert "2 files: " in done.err


def test_validate_for_machines(call, folder):
    (folder / "broken.yaml").write_text(BROKEN)
    problems = json.loads(call("validate", "broken.yaml", "--format", "json").out)
    assert problems[0].keys() == {"file", "line", "column", "code", "severity", "message", "hint"}
    assert call("validate", "broken.yaml", "--format", "github").out.startswith("::error file=broken.yaml,line=5")
    assert json.loads(call("validate", "broken.yaml", "--format", "sarif").out)["version"] == "2.1.0"
    assert json.loads(call("validate", "squad.yaml", "--format", "json").out) == []


def test_validate_reads_a_routing_file_as_one_and_says_so(call, folder):
    (folder / "agent_routing.yaml").write_text(
        "tiers: {worker: [groq/openai/gpt-oss-20b, nobody/x]}\nagents: {dev: {teir: worker}}\n"
    )
    done = call("validate", "agent_routing.yaml", "--format", "json")
    assert done.code == 1
    found = [(p["line"], p["column"], p["code"]) for p in json.loads(done.out)]
    assert found == [(1, 43, "unknown-provider"), (2, 16, "unknown-field")]
    assert "agent_routing.yaml: read as a routing file" in done.err
    (folder / "agent_routing.yaml").write_text("agents: {dev: {tier: worker}}\nproviders: {groq: {plan: free}}\n")
    assert call("validate", "agent_routing.yaml").code == 0


def test_a_routing_file_is_no_squad_to_any_command(call, folder):
    (folder / "who.yaml").write_text("tiers: {worker: [groq/openai/gpt-oss-20b]}\n")
    for command in ("run", "graph", "config"):
        done = call(command, "who.yaml")
        assert done.code == 2
        assert "who.yaml is a routing file, not a squad" in done.err


def test_validate_takes_folders_and_patterns(call, folder):
    (folder / "more").mkdir()
    assert call("validate", "more").code == 5
    (folder / "more" / "one.yml").write_text((folder / "squad.yaml").read_text())
    assert call("validate", "more").code == 0
    assert call("validate", "m*/*.yml").code == 0
    assert call("validate", "z*.yaml").code == 5
    assert call("validate").code == 5
    assert call("validate", "none.yaml").code == 1


def test_a_broken_routing_file_is_told_with_its_place(call, folder):
    (folder / "agent_routing.yaml").write_text("version: 1\ntiers:\n  worker: [nobody/x]\n")
    done = call("run", "squad.yaml")
    assert done.code == 1
    assert "agent_routing.yaml:3:12" in done.err


def test_schema(call):
    assert json.loads(call("schema").out)["title"] == "Squad"
    assert json.loads(call("schema", "--tests").out)["title"] == "Test file"
    titles = {kind: json.loads(call("schema", kind).out)["title"] for kind in ("squad", "persona", "tests")}
    assert titles == {"squad": "Squad", "persona": "Persona", "tests": "Test file"}


VOCABULARIES = ("core", "applicator", "unevaluated", "validation", "meta-data", "format-annotation", "content")
STANDARD = frozenset(
    name
    for vocabulary in VOCABULARIES
    for name in REGISTRY[f"https://json-schema.org/draft/2020-12/meta/{vocabulary}"].contents["properties"]
)
"""Keywords of JSON Schema: ajv in strict mode, as SchemaStore has it, refuses any other."""


def keywords(schema: Any) -> set[str]:
    """Return the keywords of a schema and of those in it."""
    if not isinstance(schema, dict):
        return set()
    inner = [*schema.get("anyOf", []), *schema.get("oneOf", []), *schema.get("allOf", []), schema.get("not")]
    inner += [schema.get(name) for name in ("items", "additionalProperties", "propertyNames")]
    for name in ("properties", "patternProperties", "$defs"):
        inner += schema.get(name, {}).values()
    return set(schema).union(*map(keywords, inner))


@pytest.mark.parametrize("kind", list(SCHEMAS))
def test_a_schema_has_standard_keywords_alone(kind):
    schema = SCHEMAS[kind]()
    Draft202012Validator.check_schema(schema)
    assert {"properties", "description", "anyOf"} <= keywords(schema)
    assert keywords(schema) - STANDARD == set()


def test_schema_of_two_kinds_is_a_wrong_use(call):
    assert call("schema", "persona", "--tests").code == 2


def test_graph(call, folder):
    assert call("graph", "squad.yaml").out.splitlines() == ["●  research  (mary)", "●  brief  (paige)"]
    assert call("graph", "squad.yaml", "--format", "mermaid").out.startswith("flowchart TD")
    assert call("graph", "squad.yaml", "--format", "dot").out.startswith("digraph")
    tasks = json.loads(call("graph", "squad.yaml", "--format", "json").out)["tasks"]
    assert [task["id"] for task in tasks] == ["research", "brief"]


def test_a_squad_with_a_required_input_can_be_drawn(call, folder):
    text = (folder / "squad.yaml").read_text().replace(", default: tea", "")
    (folder / "squad.yaml").write_text(text)
    assert call("graph", "squad.yaml").code == 0
    assert call("config", "squad.yaml").code == 0
    assert call("run", "squad.yaml").code == 1


def test_config(call, folder, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "very-secret-value")
    text = (folder / "squad.yaml").read_text().replace("Write it down.", "Write very-secret-value.")
    (folder / "squad.yaml").write_text(text + "budget: {max_cost: 0.25}\n")
    done = call("config", "squad.yaml")
    document = yaml.safe_load(done.out)
    assert "very-secret-value" not in done.out
    assert document["agents"]["mary"]["persona"]["tier"] == "boss"
    assert document["budget"]["max_cost"] == 0.25
    assert document["tasks"]["brief"]["context"] == ["research"]
    assert json.loads(call("config", "squad.yaml", "--format", "json").out) == document


# -- personas, providers


def test_personas(call):
    listed = call("personas", "ls")
    assert listed.out.splitlines()[0].split() == ["PERSONA", "CALLED", "TITLE", "TIER", "FILE"]
    assert len(listed.out.splitlines()) == 21
    assert "dev" in {persona["name"] for persona in json.loads(call("personas", "ls", "--json").out)}
    assert "Amelia" in call("personas", "show", "dev").out
    assert json.loads(call("personas", "show", "dev", "--json").out)["instructions"]
    unknown = call("personas", "show", "nobody")
    assert unknown.code == 2
    assert "the personas are: analyst" in unknown.err


def test_providers_ls_says_whether_a_key_is_there_and_never_which(call, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "gsk_very-secret-value")
    shown = call("providers", "ls")
    assert shown.code == 0
    assert "very-secret" not in shown.out + shown.err
    rows = {line.split()[0]: line for line in shown.out.split("\nPROVIDER")[1].splitlines()[1:]}
    assert rows["groq"].split()[1] == "yes"
    assert "no key: set OPENAI_API_KEY" in rows["openai"]
    documents = {row["provider"]: row for row in json.loads(call("providers", "ls", "--json").out)}
    assert documents["groq"]["configured"] is True
    assert documents["openai"]["configured"] is False
    assert "very-secret" not in json.dumps(documents)


def test_providers_ls_writes_limits_as_people_read_them(call):
    shown = call("providers", "ls").out
    assert "1,000,000,000 tokens / month" in shown
    assert "e+" not in shown


@pytest.mark.parametrize(("mode", "code", "result"), [("ok", 0, "ok"), ("401", 4, "wrong key"), ("500", 8, "broke")])
def test_providers_test(call, loopback, monkeypatch, mode, code, result):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url(mode))
    done = call("providers", "test")
    assert done.code == code
    assert result in done.out
    assert "local/default" in done.out


def test_providers_test_without_any(call):
    assert call("providers", "test").code == 5
    assert call("providers", "test", "groq").code == 5
    assert call("providers", "test", "nobody").code == 2


def test_the_cheapest_model_is_tested(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "x" * 20)
    monkeypatch.setenv("GROQ_API_KEY", "x" * 20)
    catalog = load_catalog()
    names = cheapest_of_each(catalog, os.environ, None)
    assert [name.partition("/")[0] for name in names] == ["openai", "groq"]
    for name in names:
        _, model = catalog.find(name)
        others = catalog.providers[name.partition("/")[0]].models.values()
        assert model.price.input + model.price.output == min(m.price.input + m.price.output for m in others if m.price)
    assert cheapest_of_each(catalog, os.environ, "groq") == names[1:]
    monkeypatch.setenv("GROQ_API_KEY_2", "y" * 20)
    assert cheapest_of_each(catalog, os.environ, "groq") == [names[1], f"{names[1]}#2"]


def test_how_a_test_of_providers_ends():
    shut = AllAttemptsFailed("x", [AuthFailed("no")])
    down = AllAttemptsFailed("x", [Unreachable("no")])
    assert exit_of_trials([]) == 0
    assert exit_of_trials([down]) == 8
    assert exit_of_trials([down, shut]) == 4
    assert exit_of_trials([NoRoute({})]) == 8


def test_columns():
    assert columns([("a", "b"), ("日本", "x"), ("", "y")]) == "a     b\n日本  x\n      y"


# -- doctor, init


def test_doctor(call, monkeypatch):
    done = call("doctor")
    assert done.code == 0
    states = {line.split()[1]: line.split()[0] for line in done.out.splitlines() if not line.startswith("hint")}
    assert states["python"] == states["packages"] == states["agents"] == states["state"] == states["routing"] == "ok"
    assert states["keys"] == "warn"
    monkeypatch.setenv("GROQ_API_KEY", "very-secret-value")
    found = json.loads(call("doctor", "--json").out)
    text = "groq: GROQ_API_KEY is set in the environment"
    assert {"check": "keys", "state": "ok", "text": text, "advice": ""} in found


def test_doctor_tells_of_each_extra_what_it_gives_and_how_to_get_it(call):
    found = [f for f in json.loads(call("doctor", "--json").out) if f["check"] == "extra"]
    assert [f["text"].partition(":")[0].removesuffix(" is not installed") for f in found] == list(EXTRAS)
    [(_, state, text, advice)] = doctor.extras({"mcp": Extra(("json", "not_there.inside"), "tools")})
    assert (state, advice) == ("info", "")
    assert text == "mcp is not installed: tools: pip install 'squad-orchestrator[mcp]'"
    [(_, state, text, advice)] = doctor.extras({"mcp": Extra(("json",), "tools")})
    assert (state, text, advice) == ("ok", "mcp: tools", "")


def test_the_extras_that_doctor_knows_are_those_of_the_distribution():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
    [ours] = [one for one in declared["test"] if one.startswith("squad-orchestrator[")]
    assert set(EXTRAS) == set(ours.partition("[")[2].rstrip("]").split(","))
    modules = [module for extra in EXTRAS.values() for module in extra.modules]
    assert [module for module in modules if not Extra((module,), "").is_installed] == []


def test_doctor_online_asks_no_model(call, loopback, monkeypatch):
    monkeypatch.setenv("LOCAL_BASE_URL", loopback.url("ok"))
    monkeypatch.setenv("OLLAMA_BASE_URL", "http://127.0.0.1:9/v1")
    found = {
        f["text"].partition(":")[0]: f
        for f in json.loads(call("doctor", "--online", "--json").out)
        if f["check"] == "online"
    }
    assert found["local"]["state"] == "ok"
    assert found["ollama"]["state"] == "warn"
    assert loopback.requests == []


def test_doctor_finds_what_is_wrong(call, folder):
    (folder / "agent_routing.yaml").write_text("tiers: {worker: [nobody/x]}")
    done = call("doctor")
    assert done.code == 1
    assert "fail  routing" in done.out
    (folder / "file").write_text("")
    assert doctor.state_folder(folder / "file" / "state").state == "fail"
    assert doctor.python_version((3, 10, 4)).state == "fail"
    assert doctor.encoding("cp1252").state == "warn"
    assert doctor.encoding("UTF-8").state == "ok"


def test_doctor_names_a_routing_file_that_is_not_there():
    found = list(doctor.guarded("routing", Settings(routing="none.yaml")))
    assert found[0].state == "fail"
    assert "none.yaml" in found[0].text


def test_init_takes_no_file_for_its_folder(call, folder):
    for more in ((), ("--template", "debate")):
        done = call("init", "squad.yaml", *more)
        assert done.code == 2
        assert "error: squad.yaml is a file" in done.err


def test_init_writes_what_runs(call, folder):
    done = call("init", "new")
    assert done.code == 0
    assert "next: cd new && orchestrator run squad.yaml" in done.err
    assert call("validate", "new/squad.yaml", "--routing", "new/agent_routing.yaml").code == 0
    assert call("validate", "new").code == 0
    assert call("run", "new/squad.yaml", "--routing", "new/agent_routing.yaml").code == 0
    assert "GROQ_API_KEY" in (folder / "new" / ".env.example").read_text()


def test_the_command_after_init_goes_into_any_folder(call, folder):
    assert "next: cd ./-new && " in call("init", "--", "-new").err
    assert "next: orchestrator run" in call("init", "").err


def test_init_never_overwrites(call, folder):
    mine = (folder / "squad.yaml").read_bytes()
    done = call("init")
    assert done.code == 0
    assert "kept   squad.yaml" in done.out
    assert (folder / "squad.yaml").read_bytes() == mine


def test_the_routing_examples_that_init_comments_out_are_sound(call, folder):
    call("init", "new")
    file = Path("new/agent_routing.yaml")
    _, version, examples = file.read_text().partition("version: 1\n")
    file.write_text(version + "\n".join(line.removeprefix("# ") for line in examples.splitlines()))
    assert call("validate", "new/squad.yaml", "--routing", str(file)).code == 0


def test_init_where_something_is_in_the_way(call, folder):
    (folder / "file").write_text("")
    assert call("init", "file").code == 2
