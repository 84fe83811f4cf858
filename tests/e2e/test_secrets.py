"""A key goes to its provider and nowhere else, even where the provider sends it back."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orchestrator import Squad, to_json
from orchestrator.runtime import run_squad
from providers.catalog.file import load_catalog
from providers.client.manager import open_manager
from providers.errors import RoutingError, ServerFault
from providers.messages import Request, user
from providers.policy.parse import default_policy
from tests.e2e.command import Ended, files_below, orchestrator
from tests.e2e.files import write_squad
from tests.loopback import Loopback

CANARY = "canary7Zq9xW2pKu3Lm"
"""Of no vendor's shape, so that only knowing it helps to hide it."""

FAILURES = ["echo=401", "echo=400", "echo=500", "echo=200"]


def keys(address: str) -> dict[str, str]:
    """Two providers of the catalog, under one address, with one key."""
    return {
        "GROQ_API_KEY": CANARY,
        "GROQ_BASE_URL": address,
        "OPENAI_API_KEY": CANARY,
        "OPENAI_BASE_URL": address,
    }


def write(folder: Path) -> None:
    task = {"agent": "ann", "description": "x", "output_file": "a.md"}
    write_squad(folder / "squad.yaml", {"a": task}, agents={"ann": {"persona": "analyst"}})


def assert_nowhere(ended: Ended, folder: Path, *, code: int | None = None) -> None:
    assert code is None or ended.code == code, ended.err
    assert CANARY.encode() not in ended.stdout
    assert CANARY.encode() not in ended.stderr
    for path, data in files_below(folder).items():
        assert CANARY.encode() not in data, path


@pytest.mark.parametrize(
    ("mode", "options"),
    [*zip(FAILURES, [(), (), ("--json",), ("--verbose", "--log-format", "json")], strict=True)],
)
def test_a_failing_runs_words_events_and_record_do_not_hold_the_key(
    loopback: Loopback, tmp_path: Path, mode: str, options: tuple[str, ...]
):
    write(tmp_path)
    ended = orchestrator("run", "squad.yaml", "--out", "out", *options, cwd=tmp_path, env=keys(loopback.url(mode)))
    assert ended.code in (4, 8), ended.err
    assert {seen.headers["authorization"] for seen in loopback.requests} <= {f"Bearer {CANARY}"}
    assert_nowhere(ended, tmp_path)
    assert_nowhere(orchestrator("explain", "a", cwd=tmp_path), tmp_path, code=0)


@pytest.mark.parametrize(
    ("mode", "options"), [*zip(FAILURES, [(), ("--json",), ("--stream",), ("--verbose",)], strict=True)]
)
def test_a_failing_answers_words_do_not_hold_the_key(
    loopback: Loopback, tmp_path: Path, mode: str, options: tuple[str, ...]
):
    ended = orchestrator("ask", "hello", *options, cwd=tmp_path, env=keys(loopback.url(mode)))
    assert ended.code in (4, 8), ended.err
    assert loopback.requests
    assert_nowhere(ended, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("config", "squad.yaml"), 0),
        (("run", "squad.yaml", "--dry-run"), 0),
        (("run", "squad.yaml", "--dry-run", "--json"), 0),
        (("providers", "ls"), 0),
        (("providers", "ls", "--json"), 0),
        (("providers", "test"), 4),
        (("doctor",), 0),
        (("doctor", "--online", "--json"), 0),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_tells_of_the_configuration_does_not_tell_the_key(
    loopback: Loopback, tmp_path: Path, arguments: tuple[str, ...], code: int
):
    write(tmp_path)
    ended = orchestrator(*arguments, cwd=tmp_path, env=keys(loopback.url("echo=401")))
    assert_nowhere(ended, tmp_path, code=code)


def test_a_variable_that_cannot_be_is_refused_without_its_value(tmp_path: Path):
    write(tmp_path)
    for wrong in ({"GROQ_API_KEY": f"{CANARY}\n{CANARY}é"}, {"GROQ_BASE_URL": f"http://user:{CANARY}@127.0.0.1/v1"}):
        ended = orchestrator(
            "run", "squad.yaml", "--verbose", cwd=tmp_path, env={**keys("http://127.0.0.1:9/v1"), **wrong}
        )
        assert_nowhere(ended, tmp_path, code=4)


def test_a_key_that_an_excerpt_cuts_off_is_hidden_too():
    for end in range(8, len(CANARY) + 1):
        error = ServerFault(f"wrong key {CANARY}, really: {CANARY[:end]}")
        error.hide(CANARY)
        assert str(error) == "wrong key ***, really: ***"
        assert CANARY[:8] not in repr(error)


@pytest.mark.anyio
async def test_no_repr_event_or_error_of_ours_holds_the_key(loopback: Loopback, tmp_path: Path):
    catalog, environ = load_catalog(), keys(loopback.url("echo=401", "echo=500"))
    candidates = catalog.candidates(environ)
    seen: list[object] = [catalog, candidates, default_policy(catalog)]
    async with open_manager(default_policy(catalog), catalog, environ) as manager:
        seen += [manager, vars(manager) if hasattr(manager, "__dict__") else ""]
        with pytest.raises(RoutingError) as failed:
            await manager.complete(Request((user("hello"),)), emit=seen.append)
    seen += [failed.value, str(failed.value), getattr(failed.value, "exceptions", ())]
    write(tmp_path)
    squad = Squad.from_file(tmp_path / "squad.yaml")
    result = await run_squad(squad, environ=environ, on_event=lambda e: seen.extend((e, to_json(e))))
    seen += [squad, result, squad.plan()]
    assert result.status == "failed"
    assert CANARY not in repr(seen)
    assert CANARY not in os.environ.values()


LITERALS = [
    "providers: {lab: {dialect: openai-chat, base_url: '%s', api_key: KEY, models: {m: {context: 9, max_output: 9}}}}",
    "providers:\n  lab:\n    apiKey: KEY\n",
    "providers:\n  lab:\n    api-key: KEY\n    dialect: nope\n",
    "providers:\n  lab:\n    Authorization: Bearer KEY\n",
    "providers:\n  lab:\n    quirks:\n      headers: {x-api-key: KEY}\n",
    "providers:\n  lab:\n    quirks: {extra_headers: [KEY]}\n",
    "providers:\n  lab:\n    quirks: {extra_headers: {x-team: {deep: KEY}}}\n",
    "providers:\n  lab:\n    quirks: {extra_headers: KEY, key_header: KEY}\n",
    "providers:\n  lab: {dialect: nope, quirks: {extra_headers: {authorization: Bearer KEY}}}\n",
    "providers:\n  lab: {dialect: KEY, plan: [KEY], hosted: KEY, limits: KEY}\n",
    "providers: {lab: {base_url: 'https://api.example/v1?key=KEY', dialect: nope}}",
    "providers: {lab: {base_url: 'https://me:KEY@api.example/v1'}}",
    "providers: {lab: {api_key_env: KEY}}",
    "providers: {openai: {api_key_env: [KEY, KEY]}}",
    "providers: {KEY: {dialect: openai-chat}}",
    "token: KEY\n",
    "budget: {webhook_env: https://hooks.example/KEY}",
    "ledger: redis://:KEY@localhost:0",
    "providers:\n  lab:\n    quirks: {extra_headers: {authorization: 'Bearer KEY\n",
    "providers:\n  lab:\n    secret: KEY: again\n",
    "tiers: {worker: KEY}\ndefault: KEY\n",
]
"""Routing files with a key where none belongs, most of them wrong in another way, too."""


@pytest.mark.parametrize(
    "text", [pytest.param(text, marks=() if at % 5 == 3 else pytest.mark.long) for at, text in enumerate(LITERALS)]
)
def test_a_key_that_is_written_into_a_routing_file_comes_back_in_no_message(tmp_path: Path, text: str):
    write(tmp_path)
    (tmp_path / "agent_routing.yaml").write_text(text.replace("%s", "http://127.0.0.1:9/v1").replace("KEY", CANARY))
    for arguments in (
        ("validate", "agent_routing.yaml"),
        ("validate", "agent_routing.yaml", "--format", "json"),
        ("validate", "agent_routing.yaml", "--format", "sarif"),
        ("ask", "hello", "--verbose"),
        ("doctor", "--json"),
    ):
        ended = orchestrator(*arguments, cwd=tmp_path, env={"OPENAI_API_KEY": "x" * 20})
        assert CANARY.encode() not in ended.stdout + ended.stderr, (arguments, ended.out, ended.err)
        assert ended.code in (0, 1), ended.err


@pytest.mark.parametrize("options", [("--json",), ("--verbose", "--log-format", "json")])
@pytest.mark.few(1)
def test_a_header_of_a_routing_file_that_comes_back_is_hidden_and_not_recorded(
    loopback: Loopback, tmp_path: Path, options: tuple[str, ...]
):
    write(tmp_path)
    address, secret = loopback.url("echo=500"), "plain-words-of-a-team"
    (tmp_path / "agent_routing.yaml").write_text(
        "tiers: {worker: [lab/m], boss: [lab/m]}\n"
        f"providers:\n  lab:\n    dialect: openai-chat\n    base_url: {address}\n"
        "    models: {m: {context: 90000, max_output: 900}}\n"
        f"    quirks: {{extra_headers: {{authorization: Bearer {CANARY}, x-team: {secret}}}}}\n"
    )
    ended = orchestrator("run", "squad.yaml", "--out", "out", *options, cwd=tmp_path)
    assert ended.code == 8, ended.err
    assert {seen.headers["authorization"] for seen in loopback.requests} == {f"Bearer {CANARY}"}
    shown = [
        ended,
        *(orchestrator(*words, cwd=tmp_path) for words in (("explain", "a"), ("providers", "ls", "--json"))),
    ]
    for text in (CANARY, secret):
        assert not any(text.encode() in one.stdout + one.stderr for one in shown)
        for path, data in files_below(tmp_path).items():
            assert path == "agent_routing.yaml" or text.encode() not in data, path
