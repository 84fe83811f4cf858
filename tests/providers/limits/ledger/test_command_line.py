"""Commands that count on a shared Redis: named by the environment or a routing file, lost and regained, never shown."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from tests.e2e.command import ROOT, orchestrator, started, without_traceback
from tests.e2e.files import write_routing, write_squad
from tests.loopback import ANSWER, Loopback
from tests.patience import PATIENCE_S
from tests.redis_server import RedisServer

PASSWORD = "hunter2-of-the-ledger"
DOWN, BACK = "warning: the ledger of limits is down", "warning: the ledger of limits is back"
LIMITS = [{"metric": "requests", "amount": 80, "window": "1h"}]
"""A quarter of it, which a process alone may use, is more than any run here asks for."""


def limited(folder: Path, url: str, **more: object) -> Path:
    """Write a routing file whose one provider is asked within limits."""
    path = write_routing(folder / "agent_routing.yaml", {"lab": url}, **more)
    policy = yaml.safe_load(path.read_text())
    policy["providers"]["lab"]["limits"] = LIMITS
    path.write_text(yaml.safe_dump(policy))
    return path


def used(folder: Path, env: dict[str, str]) -> float:
    shown = orchestrator("providers", "limits", "--json", cwd=folder, env=env)
    (row,) = json.loads(shown.out)
    return row["used"]


def test_counts_are_kept_on_the_redis_that_the_environment_names(
    tmp_path, loopback: Loopback, redis_server: RedisServer
):
    limited(tmp_path, loopback.url("ok"), ledger="redis://127.0.0.1:1/0")  # the environment goes first
    env = {"ORCHESTRATOR_LEDGER": redis_server.url}
    for asked in (1, 2):
        answer = orchestrator("ask", "hi", cwd=tmp_path, env=env)
        assert (answer.code, answer.out.strip()) == (0, ANSWER)
        assert "warning" not in answer.err
        assert used(tmp_path, env) == asked
    assert orchestrator("providers", "reset", cwd=tmp_path, env=env).code == 0
    assert used(tmp_path, env) == 0
    assert not list(tmp_path.glob(".orchestrator/limits*"))


def test_workers_without_a_ledger_have_each_their_share(tmp_path, loopback: Loopback):
    limited(tmp_path, loopback.url("ok"), ledger="split:4")
    for number, env in enumerate([{}, {"ORCHESTRATOR_LEDGER": "split:3/40"}]):
        shown = orchestrator("providers", "limits", "--json", cwd=tmp_path, env=env)
        assert json.loads(shown.out)[0]["amount"] == [20, 2][number]
    env = {"ORCHESTRATOR_LEDGER": "split:81"}  # eighty calls an hour
    refused = orchestrator("ask", "hi", cwd=tmp_path, env=env)
    assert refused.code != 0
    assert "this worker has no share of a limit that is divided" in refused.err
    assert loopback.requests == []


@pytest.mark.long
def test_a_run_tells_once_that_its_ledger_is_lost_and_once_that_it_is_back(
    tmp_path, loopback: Loopback, redis_server: RedisServer
):
    url = loopback.url("slow=1")  # a busy machine starts its Redis slowly
    limited(tmp_path, url, ledger=redis_server.url)
    names = [f"t{n}" for n in range(14)]
    tasks = {
        name: {"agent": "ann", "description": "Go on.", "needs": names[max(at - 1, 0) : at]}
        for at, name in enumerate(names)
    }
    write_squad(tmp_path / "squad.yaml", tasks)
    with started("run", "squad.yaml", cwd=tmp_path) as child:
        loopback.wait_for(2)
        redis_server.kill()
        loopback.wait_for(5)
        redis_server.start()
        _, err = child.communicate(timeout=PATIENCE_S)
    said = err.decode()
    assert child.returncode == 0, said
    assert (said.count(DOWN), said.count(BACK)) == (1, 1), said
    assert "continuing alone with 25% of each limit" in said
    # What came before the server was killed it has forgotten; what was used alone is booked, and what came after.
    assert len(names) - 3 <= used(tmp_path, {}) <= len(names)


def test_a_ledger_that_is_down_ends_nothing_and_its_password_is_not_shown(tmp_path, loopback: Loopback):
    limited(tmp_path, loopback.url("ok"))
    env = {"ORCHESTRATOR_LEDGER": f"redis://user:{PASSWORD}@127.0.0.1:1/0"}
    answer = orchestrator("ask", "hi", "-v", cwd=tmp_path, env=env)
    assert (answer.code, answer.out.strip()) == (0, ANSWER)
    assert answer.err.count(DOWN) == 1
    shown = orchestrator("providers", "limits", cwd=tmp_path, env=env)
    assert shown.err.count(DOWN) == 1
    reset = orchestrator("providers", "reset", cwd=tmp_path, env=env)
    assert reset.code == 2
    assert "nothing was forgotten" in reset.err
    assert PASSWORD not in answer.err + shown.err + reset.err


@pytest.mark.parametrize(
    ("variable", "in_file", "says"),
    [
        ("mysql://u:{secret}@host/db", None, "the value is not the address of a ledger: redis://HOST:PORT/DB"),
        (
            "redis://u:{secret}@host:port/0",
            None,
            "environment.ORCHESTRATOR_LEDGER: error[bad-variable]: the value",
        ),
        ("postgresql://u:{secret}@host:port/db", None, "the value is not the address of a ledger"),
        (None, "postgresql://u:{secret}@localhost/db", "error[bad-address]: 'ledger' holds a password"),
        (None, "postgresql://localhost/db?user=u&password={secret}", "error[bad-address]: 'ledger' holds a password"),
        (None, "split:4/4", "error[bad-address]: 'ledger' is not the address of a ledger"),
        (None, "localhost:6379", "error[bad-address]: 'ledger' is not the address of a ledger"),
        (
            None,
            "redis://:{secret}@localhost:6379/0",
            "error[bad-address]: 'ledger' holds a password",
        ),
    ],
)
def test_an_address_that_cannot_be_used_is_told_before_anything_is_sent(
    tmp_path, loopback: Loopback, variable: str | None, in_file: str | None, says: str
):
    more = {} if in_file is None else {"ledger": in_file.format(secret=PASSWORD)}
    limited(tmp_path, loopback.url("ok"), **more)
    env = {} if variable is None else {"ORCHESTRATOR_LEDGER": variable.format(secret=PASSWORD)}
    squad = str(write_squad(tmp_path / "squad.yaml", {"a": "Greet."}))
    for command in (["ask", "hi"], ["run", squad], *([["validate", "agent_routing.yaml"]] if in_file else [])):
        refused = orchestrator(*command, cwd=tmp_path, env=env)
        assert refused.code != 0
        assert says in refused.err + refused.out
        assert without_traceback(refused)
        assert PASSWORD not in refused.err + refused.out
    assert loopback.requests == []


def test_doctor_asks_the_ledger_and_tells_what_is_wrong_with_it(
    tmp_path, loopback: Loopback, redis_server: RedisServer, postgres_url: str
):
    limited(tmp_path, loopback.url("ok"))
    secret = urlsplit(postgres_url).password or ""
    for address, state, says in (
        (redis_server.url, "ok", "answers, "),
        (postgres_url, "ok", "answers, "),
        ("split:1/4", "ok", "number 1 of 4 workers"),
        (f"redis://:{PASSWORD}@127.0.0.1:1/0", "fail", "127.0.0.1:1"),
        (postgres_url.replace(secret, PASSWORD), "fail", "password authentication failed"),
        (f"postgresql://u:{PASSWORD}@host:port/db", "fail", "is not the address of a ledger"),
    ):
        told = orchestrator("doctor", "--online", "--json", cwd=tmp_path, env={"ORCHESTRATOR_LEDGER": address})
        (found,) = [each for each in json.loads(told.out) if each["check"] == "ledger"]
        assert (found["state"], "ORCHESTRATOR_LEDGER: " in found["text"]) == (state, True), found
        assert says in found["text"]
        assert without_traceback(told)
        assert PASSWORD not in told.out + told.err
        assert secret not in told.out + told.err


@pytest.mark.long
def test_without_the_client_of_redis_it_is_said_how_to_install_it(tmp_path, loopback: Loopback):
    limited(tmp_path, loopback.url("ok"), ledger="redis://127.0.0.1:6379/0")
    (tmp_path / "none" / "redis").mkdir(parents=True)
    (tmp_path / "none" / "redis" / "__init__.py").write_text("raise ImportError('not installed')")
    refused = orchestrator("ask", "hi", cwd=tmp_path, env={"PYTHONPATH": f"{tmp_path / 'none'}:{ROOT}"})
    assert refused.code != 0
    assert "the ledger needs the client of Redis: pip install 'squad-orchestrator[redis]'" in refused.err
    assert loopback.requests == []
