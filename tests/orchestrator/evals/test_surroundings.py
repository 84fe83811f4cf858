"""What surrounds a case: people's answers and words, and the folder that its agents write into."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator.evals.errors import CaseUnusable
from orchestrator.evals.runner import CaseResult, CaseRunner
from orchestrator.evals.squad_copy import CannotCopy, copied
from orchestrator.evals.suite import Suite, load_suite
from orchestrator.options import RunOptions
from orchestrator.squad.load import Squad
from orchestrator.testing import say, scripted, tool_call
from providers.documents.problems import ProblemsFound
from providers.documents.yaml import parse_file

pytestmark = pytest.mark.anyio


def suite(folder: Path, squad: dict[str, Any], case: dict[str, Any], **more: Any) -> Suite:
    folder.mkdir(exist_ok=True)
    (folder / "s.yaml").write_text(yaml.safe_dump({"version": 1, "name": "s", **squad}, sort_keys=False))
    file = folder / "s.test.yaml"
    file.write_text(yaml.safe_dump({"squad": "s.yaml", "cases": [{"name": "one", **case}], **more}, sort_keys=False))
    return load_suite(parse_file(str(file)), lambda path, tools: Squad.from_file(path, tools=tools))


async def record(made: Suite, *script: Any) -> CaseResult:
    async with scripted(*script) as manager:
        result = await CaseRunner(made, RunOptions(manager=manager)).live(made.spec.cases[0], record=True)
        assert result.verdict == "passed", failed(result)
        return result


async def rehearse(made: Suite) -> CaseResult:
    return await CaseRunner(made).offline(made.spec.cases[0])


def failed(result: CaseResult) -> list[Any]:
    attempt = result.attempts[0]
    return [result.verdict, attempt.why, *(check.message for check in attempt.failed_checks)]


def role(**more: Any) -> dict[str, Any]:
    return {"role": "Works.", **more}


ROUND: dict[str, Any] = {
    "agents": {"ann": role(), "bob": role()},
    "conversations": {
        "inner": {"participants": ["bob", "human"], "terminate": {"max_turns": 2}},
        "outer": {"participants": ["ann", "human", "inner"], "terminate": {"max_turns": 4}},
    },
    "tasks": {"talk": {"conversation": "outer", "description": "Talk."}},
}


async def test_a_person_speaks_in_conversations_as_the_case_says(tmp_path: Path) -> None:
    people = {"outer": ["Ship it.", "Later."], "inner": ["Cheaper."]}
    expect = {
        "conversations": {
            "outer": {"order": ["ann", "human", "inner", "ann"], "speakers": ["ann", "human", "inner"]},
            "inner": {"order": ["bob", "human"]},
        },
        "turns": {"exactly": ["ann", "bob", "ann"]},
    }
    made = suite(tmp_path, ROUND, {"with": {"people": people}, "expect": expect})
    live = await record(made, "Hello.", "I am Bob.", "So be it.")
    assert live.verdict == "passed", failed(live)
    assert (await rehearse(made)).verdict == "passed"
    recorded = suite(tmp_path, ROUND, {"expect": expect})
    assert (await rehearse(recorded)).verdict == "passed", "where the case says nothing, the recorded words hold"
    other = suite(tmp_path, ROUND, {"with": {"people": {"outer": ["Stop it."]}}, "expect": expect})
    stale = await rehearse(other)
    assert stale.verdict == "stale"
    assert "the answer was 'Ship it.', and now it is 'Stop it.'" in stale.attempts[0].why


async def test_a_person_without_words_is_waited_for(tmp_path: Path) -> None:
    made = suite(tmp_path, ROUND, {"expect": {"run": {"status": "waiting", "turns": 1}}})
    assert (await record(made, "Hello.")).verdict == "passed"
    assert (await rehearse(made)).verdict == "passed"


async def test_answers_in_order_with_comments(tmp_path: Path) -> None:
    squad = {
        "agents": {"ann": role()},
        "tasks": {
            "plan": {"agent": "ann", "description": "Plan."},
            "gate": {
                "needs": ["plan"],
                "approval": {"prompt": "Good?", "choices": ["approve", "revise"]},
                "on_revise": {"rerun": ["plan"], "max_attempts": 2},
            },
        },
    }
    answers = [{"choice": "revise", "comment": "Shorter."}, "approve"]
    expect = {"tasks": {"plan": {"output": {"equals": "Short."}, "attempts": 2}}}
    made = suite(tmp_path, squad, {"with": {"approvals": {"gate": answers}}, "expect": expect})
    live = await record(made, "A long plan.", lambda request: say("Short." if "Shorter." in str(request) else "Long."))
    assert live.verdict == "passed", failed(live)
    assert (await rehearse(made)).verdict == "passed"


async def test_a_guardrail_that_asks_is_answered_by_the_agents_name(tmp_path: Path) -> None:
    rails = {"output": [{"forbid": ["tea"], "on_fail": "escalate"}]}
    squad = {
        "agents": {"ann": role(guardrails=rails)},
        "tasks": {"plan": {"agent": "ann", "description": "Plan."}},
    }
    case = {"with": {"approvals": {"ann": "approve"}}, "expect": {"run": {"guardrails": 1, "questions": 1}}}
    made = suite(tmp_path, squad, case)
    live = await record(made, "All about tea.")
    assert live.verdict == "passed", failed(live)
    assert (await rehearse(made)).verdict == "passed"
    other = suite(tmp_path, squad, {"with": {"approvals": {"ann": "reject"}}, "expect": {"run": {"status": "failed"}}})
    assert (await rehearse(other)).verdict == "stale"


WRITER: dict[str, Any] = {
    "workspace": {"path": ".", "write": True},
    "agents": {"ann": role(tools=[{"name": "write_file", "approval": "never"}, "touch"])},
    "tools": {
        "touch": {
            "command": [sys.executable, "-c", "open('touched.txt', 'w').write('x')"],
            "description": "Touch.",
            "approval": "never",
        }
    },
    "tasks": {"plan": {"agent": "ann", "description": "Plan."}},
}


async def test_agents_write_into_a_copy_of_the_squads_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    expect = {
        "files": {
            "notes.md": {"equals": "new"},
            "touched.txt": {"equals": "x"},
            "kept.md": {"exists": False},
            "s.yaml": {"exists": False},
        },
        "tools": [{"tool": "write_file", "ok": True, "times": 1}, {"tool": "write_file", "ok": False, "times": 1}],
    }
    made = suite(folder, WRITER, {"expect": expect})
    (folder / "notes.md").write_text("old")
    (folder / "kept.md").write_text("kept")
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    script = (
        tool_call("write_file", path="notes.md", content="new"),
        tool_call("touch"),
        tool_call("write_file", path="s.yaml", content="name: other"),
        "Done.",
    )
    live = await record(made, *script)
    assert live.verdict == "passed", failed(live)
    assert {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()} == before
    again = await rehearse(made)
    assert again.verdict == "passed", failed(again)
    in_place = suite(folder, WRITER, {"with": {"workspace": "in_place"}, "expect": {"files": {"notes.md": {}}}})
    live = await record(in_place, script[0], "Done.")
    assert live.verdict == "passed", failed(live)
    assert (folder / "notes.md").read_text() == "new"


async def test_agents_of_a_sub_squad_write_into_the_copy_too(tmp_path: Path) -> None:
    (tmp_path / "low" / "notes").mkdir(parents=True)
    low = {**WRITER, "name": "low", "workspace": {"path": "notes", "write": True}}
    (tmp_path / "low" / "low.yaml").write_text(yaml.safe_dump({"version": 1, **low}))
    squad = {"tasks": {"low": {"squad": "low/low.yaml"}}}
    made = suite(tmp_path, squad, {"expect": {"files": {"a.md": {"equals": "new"}}}})
    live = await record(made, tool_call("write_file", path="a.md", content="new"), "Done.")
    assert live.verdict == "passed", failed(live)
    assert not [*(tmp_path / "low" / "notes").iterdir()]
    assert (await rehearse(made)).verdict == "passed"


def test_a_copy_holds_no_keys_and_no_link_that_leads_out(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "a").mkdir(parents=True)
    (home / "node_modules").mkdir()
    (tmp_path / "outside.md").write_text("x")
    for name in ("a/one.md", ".env", "node_modules/x.js"):
        (home / name).write_text("x")
    (home / "a/in.md").symlink_to("one.md")
    (home / "a/out.md").symlink_to("../../outside.md")
    (home / "a/abs.md").symlink_to(home / "a/one.md")
    (home / "a/up").symlink_to("..")
    (home / "gone.md").symlink_to("nowhere.md")
    copied(home, tmp_path / "copy")
    made = sorted(str(path.relative_to(tmp_path / "copy")) for path in (tmp_path / "copy").rglob("*"))
    assert [name for name in made if not name.startswith("a/up/")] == ["a", "a/in.md", "a/one.md", "a/up", "gone.md"]
    (home / "large.bin").touch()
    with (home / "large.bin").open("r+b") as file:
        file.truncate(300 << 20)
    with pytest.raises(CannotCopy, match="more than 256 MB"):
        copied(home, tmp_path / "again")
    assert not (tmp_path / "again").exists()


REMOTE: dict[str, Any] = {
    "mcp": {"t": {"command": ["no-such-program-anywhere"]}},
    "agents": {"ann": role(tools=[{"name": "t/a.log", "approval": "never"}, {"name": "t/push", "approval": "ask"}])},
    "tasks": {"plan": {"agent": "ann", "description": "Plan."}},
}


async def test_the_tools_of_a_server_are_scripted_and_it_is_not_started(tmp_path: Path) -> None:
    takes = {"properties": {"last": {"type": "integer"}}, "required": ["last"]}
    scripts = {
        "t/a.log": {"returns": {"commits": ["one"]}, "description": "Tell commits.", "parameters": takes},
        "t__push": {"fails": "the branch is protected", "parameters": {}},
    }
    expect = {
        "tools": [
            {"tool": "t/a.log", "args": {"last": 1}, "ok": True, "times": 1},
            {"tool": "t/push", "ok": False, "times": 1},
        ]
    }
    case = {"with": {"tools": scripts, "approvals": {"t/*": "approve"}}, "expect": expect}
    made = suite(tmp_path, REMOTE, case)

    def after_log(request: Any) -> Any:
        (shown,) = [tool for tool in request.tools if tool.name == "t__a_log"]
        assert (shown.description, shown.parameters["required"]) == ("Tell commits.", ["last"])
        assert "commits" in str(request.messages[-1])
        return tool_call("t__push")

    live = await record(made, tool_call("t__a_log", last=1), after_log, "Done.")
    assert live.verdict == "passed", failed(live)
    again = await rehearse(made)
    assert again.verdict == "passed", failed(again)
    for script in scripts.values():
        script.pop("parameters")
    known = suite(tmp_path, REMOTE, case)
    live = await record(known, tool_call("t__a_log", last=1), tool_call("t__push"), "Done.")
    assert live.verdict == "passed", "what the server said of its tools is known from the recording"
    known.recording(known.spec.cases[0]).unlink()
    with pytest.raises(CaseUnusable, match=r"'t' says of its tool 'a\.log' is not known"):
        await record(known, "Done.")


async def test_records_are_remembered_when_a_case_begins(tmp_path: Path) -> None:
    squad = {
        "memory": True,
        "agents": {"ann": role(memory={"scope": "agent"}), "bob": role()},
        "tasks": {
            "plan": {"agent": "ann", "description": "Plan the shop for tea."},
            "tell": {"agent": "bob", "description": "Tell of the shop for tea."},
        },
    }
    records = ["The shop is called Rad.", {"text": "The shop sells tea from Assam.", "agent": "ann", "trust": "agent"}]
    expect = {"tools": [{"tool": "remember", "times": 1}]}
    made = suite(tmp_path, squad, {"with": {"memory": records}, "expect": expect})

    def heard(request: Any) -> Any:
        told = str(request.messages)
        assert "called Rad" in told
        assert ("Assam" in told) == (request.needs.agent == "ann")
        return "Done."

    answers = {"ann": [tool_call("remember", text="It opens at 9."), heard], "bob": [heard]}
    live = await record(made, answers)
    assert live.verdict == "passed", failed(live)
    assert (await rehearse(made)).verdict == "passed"
    other = suite(tmp_path, squad, {"with": {"memory": records[:1]}, "expect": expect})
    assert (await rehearse(other)).verdict == "stale"


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ({"approvals": {"ann": "approve"}}, "unknown-approval"),
        ({"approvals": {"talk": ["approve"]}}, "unknown-approval"),
        ({"people": {"outr": ["x"]}}, "unknown-conversation"),
        ({"people": {"mute": ["x"]}}, "no-effect"),
        ({"workspace": "there"}, "invalid-value"),
        ({"memory": ["x"]}, "no-effect"),
        ({"tools": {"t/log": {"returns": 1}}}, "unknown-tool"),
    ],
)
def test_answers_to_nobodys_question_are_mistakes(tmp_path: Path, given: dict[str, Any], told: str) -> None:
    mute = {"mute": {"participants": ["ann", "bob"], "terminate": {"max_turns": 2}}}
    squad = {**ROUND, "conversations": {**ROUND["conversations"], **mute}}
    squad["tasks"] = {**ROUND["tasks"], "also": {"conversation": "mute", "description": "Talk."}}
    with pytest.raises(ProblemsFound) as found:
        suite(tmp_path, squad, {"with": given})
    assert told in [problem.code for problem in found.value.problems], found.value
