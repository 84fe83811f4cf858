"""The failover exam through the command line: what a provider refuses costs that provider, not the run."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from tests.e2e.command import orchestrator
from tests.e2e.files import write_routing, write_squad
from tests.loopback import ANSWER, Loopback, Rule, Seen, Served

GONE = Served(404, {"error": {"message": "The model `m` does not exist", "code": "model_not_found"}})
RETIRED = Served(400, {"error": {"message": "The model `m` has been decommissioned", "code": "model_decommissioned"}})
ODD = Served(400, {"error": {"message": "something about your request is odd", "type": "invalid_request_error"}})
TOO_LARGE = Served(
    413,
    {"error": {"message": "Request too large for model `m` on tokens per minute (TPM): Limit 6000, Requested 9000"}},
)
FIREWALL = Served(403, "<html><title>Just a moment...</title></html>", {"content-type": "text/html"})
UNPAID = Served(402, {"error": {"message": "This request requires more credits", "code": 402}})
LIMITED = Served(429, {"error": {"message": "Rate limit reached"}})
NO_MODEL = Served(
    403, {"error": {"message": "Project `p` does not have access to model `m`", "code": "model_not_found"}}
)

FOR_ONE_CANDIDATE = {
    "gone": GONE,
    "retired": RETIRED,
    "odd": ODD,
    "too large": TOO_LARGE,
    "firewall": FIREWALL,
    "unpaid": UNPAID,
    "no access": NO_MODEL,
    "limited": LIMITED,
}


def always(reply: Served) -> Rule:
    return lambda _: reply


def once(reply: Served) -> Rule:
    left = [reply]
    return lambda _: left.pop() if left else "ok"


@pytest.mark.parametrize("refusal", FOR_ONE_CANDIDATE)
@pytest.mark.parametrize("streamed", [False, True], ids=["whole", "stream"])
@pytest.mark.few(6)
def test_a_question_is_answered_by_the_next_provider(loopback: Loopback, tmp_path: Path, refusal: str, streamed: bool):
    bad, good = loopback.by(always(FOR_ONE_CANDIDATE[refusal])), loopback.url("ok")
    routing = write_routing(tmp_path / "routing.yaml", {"bad": bad, "good": good})
    options = ("--stream",) if streamed else ()
    ended = orchestrator("ask", "Hello?", "--routing", str(routing), *options, cwd=tmp_path)
    assert (ended.code, ended.out.strip()) == (0, ANSWER.strip()), ended.err
    assert [len(loopback.to(base)) for base in (bad, good)] == [1, 1]


@pytest.mark.parametrize("refusal", ["gone", "firewall", "unpaid", "no access"])
def test_a_run_does_not_ask_again_what_will_refuse_again(loopback: Loopback, tmp_path: Path, refusal: str):
    bad, good = loopback.by(always(FOR_ONE_CANDIDATE[refusal])), loopback.url("ok")
    chain = {f"t{n}": {"agent": "ann", "description": "Go on.", "needs": [f"t{n - 1}"] * (n > 0)} for n in range(4)}
    write_squad(tmp_path / "squad.yaml", chain)
    write_routing(tmp_path / "agent_routing.yaml", {"bad": bad, "good": good})
    ended = orchestrator("run", "squad.yaml", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert [len(loopback.to(base)) for base in (bad, good)] == [1, 4]


def test_what_two_providers_refuse_is_the_requests_fault_and_is_not_retried(loopback: Loopback, tmp_path: Path):
    addresses = {name: loopback.by(always(ODD)) for name in ("one", "two", "three")}
    task = {"agent": "ann", "description": "Greet.", "retry": {"max_attempts": 3, "on": ["provider"]}}
    write_squad(tmp_path / "squad.yaml", {"a": task})
    write_routing(tmp_path / "agent_routing.yaml", addresses)
    ended = orchestrator("run", "squad.yaml", cwd=tmp_path)
    assert ended.code == 8, ended.err
    assert "one/m: something about your request is odd" in ended.err
    assert "two/m: something about your request is odd" in ended.err
    assert [len(loopback.to(base)) for base in addresses.values()] == [1, 1, 0]


def test_of_an_account_without_money_the_free_model_answers(loopback: Loopback, tmp_path: Path):
    def rule(seen: Seen) -> str | Served:
        return "ok" if seen.body["model"] == "free" else UNPAID

    facts = {"context": 8192, "max_output": 512}
    models = {
        "paid": {**facts, "price": {"input": 1, "output": 1}},
        "free": {**facts, "price": {"input": 0, "output": 0}},
    }
    row = {"dialect": "openai-chat", "base_url": loopback.by(rule), "models": models}
    tiers = {"worker": ["router/paid", "router/free"]}
    policy = {"version": 1, "tiers": tiers, "last_resort": [], "providers": {"router": row}}
    (tmp_path / "routing.yaml").write_text(yaml.safe_dump(policy))
    ended = orchestrator("ask", "Hello?", "--routing", "routing.yaml", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert [seen.body["model"] for seen in loopback.requests] == ["paid", "free"]


def test_elements_at_once_all_find_the_provider_that_is_well(loopback: Loopback, tmp_path: Path):
    dead, good = loopback.url("500"), loopback.url("ok")
    each = {
        "agent": "ann",
        "description": "Greet ${{ item }}.",
        "for_each": "${{ inputs.people }}",
        "key": "${{ item }}",
    }
    each["max_parallel"] = 40
    people = {"type": "list", "default": [f"person {n}" for n in range(40)]}
    write_squad(tmp_path / "squad.yaml", {"a": each}, inputs={"people": people})
    write_routing(tmp_path / "agent_routing.yaml", {"dead": dead, "good": good})
    ended = orchestrator("run", "squad.yaml", cwd=tmp_path)
    assert ended.code == 0, ended.err
    assert len(loopback.to(good)) == 40


def test_explain_says_why_a_model_was_not_asked(loopback: Loopback, tmp_path: Path):
    bad, good = loopback.by(always(GONE)), loopback.url("ok")
    tasks = {"a": "Greet.", "b": {"agent": "ann", "description": "Go on.", "needs": ["a"]}}
    write_squad(tmp_path / "squad.yaml", tasks)
    write_routing(tmp_path / "agent_routing.yaml", {"bad": bad, "good": good})
    assert orchestrator("run", "squad.yaml", cwd=tmp_path).code == 0
    told = orchestrator("explain", "b", cwd=tmp_path)
    assert "bad/m: held after Unsupported (The model `m` does not exist)" in told.out


@pytest.mark.long  # for five seconds
def test_a_limit_without_a_time_is_waited_for_where_alone(loopback: Loopback, tmp_path: Path):
    routing = write_routing(tmp_path / "routing.yaml", {"only": loopback.by(once(LIMITED))})
    ended = orchestrator("ask", "Hello?", "--routing", str(routing), cwd=tmp_path)
    assert (ended.code, ended.out.strip()) == (0, ANSWER.strip()), ended.err


def test_a_firewall_that_refuses_everybody_is_no_matter_of_keys(loopback: Loopback, tmp_path: Path):
    routing = write_routing(tmp_path / "agent_routing.yaml", {"only": loopback.by(always(FIREWALL))})
    asked = orchestrator("ask", "Hello?", "--routing", str(routing), cwd=tmp_path)
    write_squad(tmp_path / "squad.yaml", {"a": "Greet."})
    ran = orchestrator("run", "squad.yaml", cwd=tmp_path)
    assert (asked.code, ran.code) == (8, 8), asked.err + ran.err
