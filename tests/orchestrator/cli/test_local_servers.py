"""Servers on this machine that commands find, and models that are asked for by their names."""

from __future__ import annotations

import json
import socket

import pytest

from orchestrator.environment import environment_of
from tests.local_servers import GO, HTML, PAGE, LocalServer, Said, chat, llama_cpp, lm_studio, model_list, ollama, vllm
from tests.loopback import ANSWER
from tests.patience import PATIENCE_S


@pytest.fixture
def looking(monkeypatch):
    """Return a function that lets commands look at these servers, however busy the machine is."""

    def at(*servers: LocalServer, **variables: str) -> None:
        monkeypatch.setenv("ORCHESTRATOR_LOCAL_SERVERS", ",".join(server.root for server in servers) or "127.0.0.1:9")
        monkeypatch.setenv("ORCHESTRATOR_LOCAL_WAIT", str(PATIENCE_S))
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return at


@pytest.mark.parametrize("also", [(), ("--stream",), ("--json",)])
def test_ask_without_a_key_finds_ollama_and_names_it(call, serve, looking, also):
    server = serve(ollama("llama3.2:latest", "qwen3:8b"), GO)
    looking(server)
    done = call("ask", "hi", *also)
    assert done.code == 0
    assert ANSWER in (json.loads(done.out)["text"] if also == ("--json",) else done.out)
    assert f"using ollama at {server.root}, model llama3.2:latest\n" in done.err
    assert [each.body["model"] for each in server.chats] == ["llama3.2:latest"]


ABLE = {"a:1b": {"capabilities": ["embedding"]}, "b:1b": {"capabilities": ["completion"]}}


@pytest.mark.parametrize(
    ("routes", "told", "model"),
    [
        (ollama("nomic-embed-text:latest", "llama3.2:3b"), "ollama", "llama3.2:3b"),
        (ollama("a:1b", "b:1b", "c:1b", loaded={"b:1b": 4096}), "ollama", "b:1b"),
        (ollama("gpt-oss:120b-cloud", "c:1b"), "ollama", "c:1b"),
        (ollama("a:1b", "b:1b", entries=ABLE), "ollama", "b:1b"),
        (llama_cpp("/models/qwen3-4b.gguf"), "llama.cpp", "/models/qwen3-4b.gguf"),
        (
            lm_studio(
                {"id": "text-embedding-nomic-embed-text-v1.5", "type": "embeddings", "state": "loaded"},
                {"id": "qwen2.5-7b-instruct", "type": "llm", "state": "not-loaded"},
                {"id": "meta-llama-3.1-8b-instruct", "type": "llm", "state": "loaded"},
            ),
            "LM Studio",
            "meta-llama-3.1-8b-instruct",
        ),
        (vllm("Qwen/Qwen3-8B"), "vLLM", "Qwen/Qwen3-8B"),
        (
            {"GET /v1/models": Said(200, model_list("m", owner="me")), "POST /v1/chat/completions": chat},
            "a model server",
            "m",
        ),
        ({"GET /v1/models": Said(200, model_list("m:1b")), "POST /v1/chat/completions": chat}, "ollama", "m:1b"),
    ],
)
def test_the_model_that_is_loaded_and_chats_is_chosen(call, serve, looking, routes, told, model):
    server = serve(routes)
    looking(server)
    done = call("ask", "hi")
    assert done.code == 0
    assert f"using {told} at {server.root}, model {model}\n" in done.err
    assert [each.body["model"] for each in server.chats] == [model]


APPS = [
    {},
    {"GET /v1/models": Said(200, PAGE, "text/html")},
    {"GET /v1/models": Said(200, {"data": [{"id": 1, "name": "Model T"}]})},
    {"GET /v1/models": Said(200, {"object": "list", "data": []})},
    {"GET /v1/models": Said(200, {"object": "list", "data": [{"id": "ford", "object": "car"}]})},
    {"GET /v1/models": Said(200, ["a", "b"])},
    {"GET /v1/models": Said(401, {"error": "who are you?"})},
    {"GET /api/tags": Said(200, {"models": [{"name": "summer"}]})},
    {"GET /api/tags": Said(200, {"tags": ["summer", "winter"]})},
]


@pytest.mark.parametrize("routes", APPS)
@pytest.mark.parametrize("missing", [HTML, Said(200, PAGE, "text/html"), Said(200, {"status": "ok"})])
@pytest.mark.few(9)
def test_no_words_go_to_a_web_application(call, serve, looking, routes, missing):
    server = serve(routes, missing)
    looking(server)
    done = call("ask", "a secret plan")
    assert done.code == 4
    assert "no provider is configured" in done.err
    assert {each.method for each in server.asked} == {"GET"}


def test_a_server_without_a_model_is_told(call, serve, looking):
    server = serve(ollama("nomic-embed-text:latest"), GO)
    looking(server)
    done = call("ask", "hi")
    assert done.code == 4
    assert f"ollama at {server.root} serves no model that answers in words: `ollama pull llama3.2`" in done.err
    assert "ollama at" in call("doctor").out


@pytest.mark.parametrize(
    "variables",
    [
        {"ORCHESTRATOR_LOCAL_SERVERS": "off"},
        {"ORCHESTRATOR_LOCAL_SERVERS": "OFF"},
        pytest.param({"GROQ_API_KEY": "k" * 20, "GROQ_BASE_URL": "http://127.0.0.1:9"}, marks=pytest.mark.long),
    ],
)
def test_nothing_is_looked_for_where_it_is_off_or_something_is_configured(call, serve, looking, variables):
    server = serve(ollama("llama3.2:latest"), GO)
    looking(server, **variables, OLLAMA_HOST=server.root)
    assert call("ask", "hi").code != 0
    assert server.asked == []


def test_offline_looks_for_nothing(call, serve, looking):
    server = serve(ollama("llama3.2:latest"), GO)
    looking(server)
    assert call("ask", "hi", "--offline").code == 0
    assert call("run", "squad.yaml", "--offline").code == 0
    assert server.asked == []


@pytest.mark.parametrize(
    "value", ["gpu.example.org:11434", "192.168.1.9:11434", "ftp://x", "http://me:geheim@127.0.0.1"]
)
def test_only_this_machine_is_looked_at(call, monkeypatch, value):
    monkeypatch.setenv("ORCHESTRATOR_LOCAL_SERVERS", value)
    done = call("ask", "hi")
    assert done.code == 4
    assert "ORCHESTRATOR_LOCAL_SERVERS" in done.err
    assert "geheim" not in done.err


def test_what_answers_nothing_costs_no_more_than_the_wait(call, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("ORCHESTRATOR_LOCAL_SERVERS", f"127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("ORCHESTRATOR_LOCAL_WAIT", "0.1")
        assert call("ask", "hi").code == 4


def test_ollama_is_found_where_its_own_variable_says(call, serve, looking):
    server = serve(ollama("llama3.2:latest"), GO)
    looking(server, ORCHESTRATOR_LOCAL_SERVERS="on", OLLAMA_HOST=f"0.0.0.0:{server.port}")
    done = call("ask", "hi")
    assert f"using ollama at {server.root}, model llama3.2:latest\n" in done.err


def test_a_run_is_answered_by_what_is_found_and_no_proxy_is_asked(call, serve, looking):
    server = serve(ollama("llama3.2:latest", loaded={"llama3.2:latest": 32768}), GO)
    looking(server, HTTP_PROXY="http://127.0.0.1:9", http_proxy="http://127.0.0.1:9", NO_PROXY="", no_proxy="")
    shown = call("run", "squad.yaml", "--dry-run")
    assert "ollama/llama3.2:latest" in shown.out
    done = call("run", "squad.yaml")
    assert done.code == 0, done.err
    assert f"using ollama at {server.root}, model llama3.2:latest\n" in done.err
    assert "OFFLINE STUB" not in done.err
    assert len(server.chats) == 2


def test_what_began_on_a_found_server_goes_on_there(call, serve, looking):
    server = serve(ollama("llama3.2:latest"), GO)
    looking(server)
    assert call("run", "gated.yaml", "--run-id", "mine").code == 7
    assert call("approvals", "approve", "mine").code == 0
    done = call("runs", "resume", "mine")
    assert done.code == 0, done.err
    assert f"using ollama at {server.root}" in done.err
    assert len(server.chats) == 1


def test_a_found_server_is_below_all_that_is_set(tmp_path):
    (tmp_path / ".env").write_text("A=file\n")
    environ = environment_of(tmp_path, {"B": "set"}).over({"A": "found", "B": "found", "C": "found"})
    assert dict(environ) == {"A": "file", "B": "set", "C": "found"}
    assert len(environ) == 3
    (tmp_path / ".env").write_text("")
    assert dict(environ.now()) == {"A": "found", "B": "set", "C": "found"}
    assert not environ.is_from_file("C")


def test_without_any_server_the_stub_is_labelled_as_before(call, looking):
    looking()
    done = call("run", "squad.yaml")
    assert done.code == 0
    assert "OFFLINE STUB" in done.err
    assert "using" not in done.err


def test_doctor_and_the_providers_commands_show_what_was_found(call, serve, looking):
    server = serve(ollama("llama3.2:latest", "qwen3:8b"), GO)
    looking(server)
    [found] = [f for f in json.loads(call("doctor", "--json").out) if f["check"] == "keys"]
    assert (found["state"], found["text"]) == (
        "ok",
        f"found ollama at {server.root}, model llama3.2:latest, and 1 more",
    )
    listed = call("providers", "ls")
    assert "ollama/llama3.2:latest" in listed.out
    assert f"using ollama at {server.root}" in listed.err
    tested = call("providers", "test")
    assert tested.code == 0
    assert "ollama/llama3.2:latest" in tested.out


def test_a_routing_file_that_names_no_own_server_finds_none(call, folder, serve, looking):
    server = serve(ollama("llama3.2:latest"), GO)
    looking(server)
    (folder / "agent_routing.yaml").write_text("tiers: {worker: [groq/openai/gpt-oss-20b]}\n")
    assert call("ask", "hi").code == 4
    assert server.asked == []


# -- a model that is asked for by its name


@pytest.mark.parametrize("name", ["llama3.2", "llama3.2:3b", "hf.co/bartowski/Qwen3-4B-GGUF:Q4_K_M", "@me/x@1.0"])
def test_any_model_of_an_own_server_is_asked_without_a_routing_file(call, serve, looking, name):
    server = serve(ollama("other:latest"), GO)
    looking(server)
    done = call("ask", "hi", "--model", f"ollama/{name}")
    assert done.code == 0
    assert f"using ollama at {server.root}, model {name}\n" in done.err
    assert [each.body["model"] for each in server.chats] == [name]


def test_a_key_of_another_provider_does_not_keep_the_named_server_away(call, serve, looking):
    server = serve(lm_studio({"id": "qwen", "type": "llm", "state": "loaded"}))
    looking(server, GROQ_API_KEY="k" * 20)
    assert call("ask", "hi", "--model", "local/qwen").code == 0
    assert [each.body["model"] for each in server.chats] == ["qwen"]


@pytest.mark.long
def test_where_no_server_runs_the_usual_address_is_named(call):
    done = call("ask", "hi", "--model", "local/qwen")
    assert done.code == 8
    assert "local/qwen: cannot reach 127.0.0.1:8080" in done.err


def test_behind_an_address_of_ones_own_any_model_is_asked(call, serve, monkeypatch):
    server = serve({"POST /v1/chat/completions": chat})
    monkeypatch.setenv("OPENAI_API_KEY", "k" * 20)
    monkeypatch.setenv("OPENAI_MODEL", "my/own-model")
    assert "openai serves no model 'my/own-model'" in call("ask", "hi").err
    monkeypatch.setenv("OPENAI_BASE_URL", server.root)
    assert call("ask", "hi").code == 0
    assert [each.body["model"] for each in server.chats] == ["my/own-model"]


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("Ollama/llama3.2", "no provider is called 'Ollama': did you mean 'ollama'?"),
        ("meta-llama/Llama-3.3-70B", "no provider is called 'meta-llama'"),
        ("llama3.2", "no model is called 'llama3.2': write PROVIDER/MODEL, as ollama/llama3.2"),
        ("ollama:llama3.2", "write PROVIDER/MODEL, as ollama/llama3.2"),
        ("ollama", "'ollama' is a provider: write ollama/MODEL"),
        ("openai/", "'openai' is a provider: write openai/MODEL"),
        ("", "write PROVIDER/MODEL, as ollama/llama3.2"),
    ],
)
def test_a_name_that_leads_nowhere_is_told_before_anybody_is_asked(call, serve, looking, name, told):
    server = serve(ollama("llama3.2:latest"))
    looking(server)
    done = call("ask", "hi", "--model", name)
    assert (done.code, server.asked) == (2, [])
    assert told in done.err


def test_a_models_name_alone_is_enough_where_the_catalog_has_it(call, serve, monkeypatch):
    server = serve({"POST /v1/chat/completions": chat})
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("OPENAI_BASE_URL", server.root)
    assert call("ask", "hi", "--model", "gpt-6-luna").code == 0


def test_a_vendors_new_model_is_asked_with_a_warning(call, serve, monkeypatch):
    server = serve({"POST /v1/chat/completions": chat})
    monkeypatch.setenv("GROQ_BASE_URL", server.root)
    monkeypatch.setenv("GROQ_API_KEY", "k" * 20)
    done = call("ask", "hi", "--model", "groq/openai/gpt-oss-240b", "--json")
    assert done.code == 0
    assert "warning: the catalog does not know groq/openai/gpt-oss-240b (did you mean" in done.err
    assert [each.body["model"] for each in server.chats] == ["openai/gpt-oss-240b"]
    assert json.loads(done.out)["cost_usd"] is None
    assert call("ask", "hi", "--model", "groq/openai/gpt-oss-20b").err.count("warning") == 0
