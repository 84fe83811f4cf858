"""Keys and choices from a `.env`, through the commands: where it is read, what it does, and that it shows nowhere."""

from __future__ import annotations

import json
import os
import subprocess

import pytest

SECRET = "gsk_Zq9xW2pKu3LmCanary77"


def write(folder, text: str, mode: int = 0o600) -> None:
    file = folder / ".env"
    file.write_text(text)
    file.chmod(mode)


def keys(call, *arguments: str) -> dict[str, str]:
    """Return what `providers ls` says of each provider's key."""
    rows = call("providers", "ls", *arguments).out.split("\nPROVIDER")[1].splitlines()[1:]
    return {row.split()[0]: row.split(maxsplit=1)[1] for row in rows if row.strip()}


def test_keys_of_a_file_in_the_working_folder_count_and_the_environment_wins(call, folder, monkeypatch):
    write(folder, f"# keys\nexport GROQ_API_KEY='{SECRET}' # mine\nGROQ_API_KEY_2=x$y\nOPENAI_API_KEY=k\n")
    assert keys(call)["groq"].startswith("2 keys")
    assert keys(call)["openai"].startswith("yes")
    monkeypatch.setenv("OPENAI_API_KEY", "")
    assert keys(call)["openai"].startswith("no key")
    documents = {row["provider"]: row for row in json.loads(call("providers", "ls", "--json").out)}
    assert documents["groq"]["accounts"] == ["GROQ_API_KEY", "GROQ_API_KEY_2"]
    assert "GROQ_API_KEY" not in os.environ


def test_beside_a_routing_file_that_is_named_its_own_counts(call, folder):
    write(folder, "OPENAI_API_KEY=k")
    (folder / "team").mkdir()
    (folder / "team/agent_routing.yaml").write_text("environment: auto")
    write(folder / "team", "GROQ_API_KEY=k")
    found = keys(call, "--routing", "team/agent_routing.yaml")
    assert found["groq"].startswith("yes")
    assert found["openai"].startswith("no key")


def test_model_provider_model_base_url_and_key_choose_who_answers(call, folder, loopback):
    said = f"MODEL_PROVIDER=groq\nGROQ_MODEL=qwen/qwen3.8-27b\nGROQ_BASE_URL={loopback.url('ok')}\n"
    write(folder, f"{said}GROQ_API_KEY={SECRET}\nMISTRAL_API_KEY=k\n")
    document = json.loads(call("ask", "hello", "--json").out)
    assert [(a["provider"], a["model"]) for a in document["attempts"]] == [("groq", "qwen/qwen3.8-27b")]
    (seen,) = loopback.requests
    assert seen.headers["authorization"] == f"Bearer {SECRET}"
    assert seen.body["model"] == "qwen/qwen3.8-27b"
    planned = call("run", "squad.yaml", "--dry-run", "--json")
    assert {agent["likely"] for agent in json.loads(planned.out)["agents"]} == {"groq/qwen/qwen3.8-27b"}
    listed = json.loads(call("providers", "ls", "--json").out)
    models = {m["name"]: m["tiers"] for row in listed for m in row["models"]}
    assert models["groq/qwen/qwen3.8-27b"] == ["boss", "worker", "creative", "fallback"]
    assert models["groq/openai/gpt-oss-120b"] == []


@pytest.mark.parametrize(
    ("line", "said"),
    [("MODEL_PROVIDER=grok", "did you mean 'groq'?"), ("GROQ_MODEL=gpt-oss", "serves no model 'gpt-oss'")],
)
def test_a_choice_that_does_not_exist_is_told_with_its_variable(call, folder, line, said):
    write(folder, f"{line}\nGROQ_API_KEY={SECRET}\n")
    done = call("ask", "hello")
    assert done.code != 0
    assert line.partition("=")[0] in done.err
    assert said in done.err


def test_a_run_and_its_resumption_read_it(call, folder, loopback):
    write(folder, f"LOCAL_BASE_URL={loopback.url('ok')}\nLOCAL_API_KEY={SECRET}\n")
    assert call("run", "gated.yaml", "--run-id", "r1").code == 7
    assert {seen.headers["authorization"] for seen in loopback.requests} == {f"Bearer {SECRET}"}
    assert call("runs", "resume", "r1", "--approve", "auto").code == 0


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("A=1\n\n\nthis is not it\n", 4, "not NAME=value"),
        ("A=1\nGROQ_API_KEY\n", 2, "GROQ_API_KEY has no value"),
        ("A=1\nhunter-two-of-the-team\n", 2, "the line has no value"),
        (f"GROQ_API_KEY='{SECRET}\n", 1, "not NAME=value"),
        (f"GROQ_API_KEY: {SECRET}\n", 1, "not NAME=value"),
    ],
)
@pytest.mark.parametrize("command", [("ask", "hi"), ("providers", "ls"), ("run", "squad.yaml"), ("doctor",)])
def test_a_file_with_a_mistake_is_told_by_its_line_and_shows_nothing_of_it(call, folder, text, line, said, command):
    write(folder, text)
    done = call(*command)
    assert done.code == 1
    assert f".env:{line}:1: error[bad-env-file]: " in done.out + done.err
    assert said in done.out + done.err
    assert SECRET not in done.out + done.err
    assert "hunter-two" not in done.out + done.err


def test_a_folder_of_that_name_is_none(call, folder):
    (folder / ".env").mkdir()
    assert keys(call)["groq"].startswith("no key")


def test_doctor_tells_where_each_key_is_from_and_who_may_read_the_file(call, folder, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    write(folder, f"GROQ_API_KEY={SECRET}\nGROQ_API_KEY_2=k\n", 0o644)

    def found() -> dict[str, str]:
        done = call("doctor", "--json")
        assert SECRET not in done.out
        return {row["text"]: row["state"] for row in json.loads(done.out) if row["check"] in ("keys", "env-file")}

    assert found() == {
        ".env can be read by others": "warn",
        "groq: GROQ_API_KEY is set in .env": "ok",
        "groq: GROQ_API_KEY_2 is set in .env": "ok",
        "openai: OPENAI_API_KEY is set in the environment": "ok",
    }
    (folder / ".env").chmod(0o600)
    assert ".env is sound" in found()
    for arguments in (("init", "-q"), ("add", ".env")):
        subprocess.run(["git", *arguments], cwd=folder, check=True)
    assert found()[".env is tracked by git"] == "warn"


def test_what_fails_shows_no_secret_of_the_file(call, folder, loopback):
    write(folder, f"LOCAL_BASE_URL={loopback.url('echo=401')}\nLOCAL_API_KEY={SECRET}\nOTHER_TOKEN=Bearer\n")
    done = call("ask", "hello", "--verbose")
    assert done.code == 4
    assert SECRET not in done.out + done.err
    assert "Bearer" not in done.err.splitlines()[-1], "every secret of the file, not only the key that was sent"


@pytest.mark.parametrize(
    ("field", "column", "code"),
    [("api_key", 5, "secret-in-file"), ("api_key_env", 18, "invalid-value"), ("Token", 5, "secret-in-file")],
)
def test_a_key_in_a_routing_file_is_refused_and_not_shown(call, folder, field, column, code):
    (folder / "agent_routing.yaml").write_text(f"providers:\n  groq:\n    {field}: {SECRET}\n")
    done = call("validate", "agent_routing.yaml")
    assert done.code == 1
    assert f"agent_routing.yaml:3:{column}: error[{code}]: " in done.out
    assert "in the environment or in .env" in done.out
    assert SECRET not in done.out + done.err


def test_a_refused_key_is_told_with_its_number_in_progress_and_in_explain(call, folder, loopback):
    url = loopback.by(lambda seen: "401" if seen.headers["authorization"] == "Bearer first" else "ok")
    write(folder, f"GROQ_BASE_URL={url}\nGROQ_API_KEY_2=first\nGROQ_API_KEY_3=second\n")
    done = call("run", "squad.yaml")
    assert done.code == 0
    assert "groq/openai/gpt-oss-120b#2 failed: AuthFailed" in done.err
    told = call("explain", "research").out
    assert "attempt 1: groq/openai/gpt-oss-120b#2: failed: AuthFailed" in told
    assert "attempt 2: groq/openai/gpt-oss-120b#3: ok" in told
    assert "refused: groq/qwen/qwen3.8-27b#2: its account is shut" in call("explain", "brief").out
    for name, keys in (("groq/openai/gpt-oss-20b#3", ["second"]), ("gpt-oss-20b", ["first", "second"])):
        loopback.requests.clear()
        assert call("ask", "hi", "--model", name).code == 0
        assert [seen.headers["authorization"] for seen in loopback.requests] == [f"Bearer {key}" for key in keys]
    tested = call("providers", "test", "groq")
    assert tested.code == 4
    assert [row.split()[0] for row in tested.out.splitlines()[1:]] == [
        "groq/openai/gpt-oss-20b#2",
        "groq/openai/gpt-oss-20b#3",
    ]
