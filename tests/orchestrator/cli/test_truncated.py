"""Where people read of a text that its model did not finish, and what it says."""

from __future__ import annotations

import json

import pytest

from tests.loopback import Served
from tests.orchestrator.cli.test_runs_command import ROUTING


def half(reason: str) -> Served:
    choice = {"index": 0, "message": {"role": "assistant", "content": "Half a"}, "finish_reason": reason}
    usage = {"prompt_tokens": 12, "completion_tokens": 7, "total_tokens": 19}
    return Served(200, {"id": "x", "choices": [choice], "usage": usage})


@pytest.fixture
def cut(folder, loopback):
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=loopback.by(lambda seen: half("length"))))


@pytest.mark.usefixtures("cut")
def test_runs_show_and_explain_tell_of_a_text_that_is_cut_off(call):
    assert call("run", "squad.yaml", "--run-id", "r-1").code == 0
    told = [line for line in call("runs", "show", "r-1").out.splitlines() if "cut off" in line]
    assert [line.partition(":")[2].strip() for line in told] == [
        f"{task}: truncated: its text was cut off at 7 tokens: raise max_output_tokens, or ask for less at once"
        for task in ("research", "brief")
    ]
    shown = [json.loads(line) for line in call("runs", "show", "r-1", "--json").out.splitlines()]
    ended = {one["task"]: one["truncated"] for one in shown if one["type"] == "task.ended"}
    cut = [{"place": "", "cause": "length", "tokens": 7}]
    assert ended == {"research": cut, "brief": cut}
    assert shown[-1]["truncated"] == ended
    assert "  truncated: the text was cut off at 7 tokens" in call("explain", "r-1", "brief").out.splitlines()


@pytest.mark.usefixtures("cut")
def test_ask_tells_of_a_text_that_is_cut_off(call):
    done = call("ask", "hi")
    assert (done.code, done.out) == (0, "Half a\n")
    assert "truncated: the text was cut off at 7 tokens" in done.err
    done = call("ask", "hi", "--json")
    document = json.loads(done.out)
    assert (document["finish_reason"], document["truncated"]) == ("length", True)
    assert "truncated: the text was cut off at 7 tokens" in done.err
