"""`run` and `explain`, on the offline stub and against a server on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import select
import signal
import subprocess
import sys

import anyio
import pytest

from orchestrator.cli.app import Settings
from orchestrator.cli.journals import latest_run, open_records
from orchestrator.cli.ui.notices import STUB_NOTICE
from orchestrator.events import to_json
from tests.orchestrator.cli.conftest import GATED
from tests.patience import PATIENCE_S

ROUTING = """\
tiers: {{worker: [lab/m], boss: [lab/m], creative: [lab/m], fallback: [lab/m]}}
last_resort: []
providers:
  lab:
    dialect: openai-chat
    base_url: {url}
    models: {{m: {{context: 100000, max_output: 1000, price: {{input: 0, output: 0}}}}}}
"""


def asks(folder, url):
    """Let every tier be answered by the server at `url`."""
    (folder / "agent_routing.yaml").write_text(ROUTING.format(url=url))


def test_outputs_on_stdout_talk_on_stderr(call, folder):
    done = call("run", "squad.yaml")
    assert done.code == 0
    assert done.out == "brief.md\n"
    lines = done.err.splitlines()
    assert lines[0] == lines[-1] == STUB_NOTICE
    assert any("research: started (mary)" in line for line in lines)
    artifact = next(line.removeprefix("artifact: ") for line in lines if line.startswith("artifact: "))
    assert (folder / artifact).read_text()
    assert any(line.startswith("next: orchestrator ") for line in lines)


def test_a_failure_that_the_run_goes_on_after_is_not_its_last(call, folder):
    (folder / "b.yaml").write_text(
        "name: b\noffline: always\ninputs: {fee: {type: string}}\nagents: {ann: {role: Answer.}}\ntasks:\n"
        '  a: {agent: ann, description: "${{ inputs.fee | float }}", continue_on_error: true}\n'
        "  b: {agent: ann, description: Hi., output_file: b.md}\n"
    )
    done = call("run", "b.yaml", "-i", "fee=89,50")
    assert done.code == 0
    assert "failed, and gone on after it: a: '89,50' is not a number" in done.err
    assert "last failure" not in done.err


def test_a_warning_is_shown_with_its_line_and_what_to_write(call, folder):
    text = (folder / "squad.yaml").read_text()
    (folder / "warned.yaml").write_text(text.replace("Write it down.", "'Write {{inputs.lone}} down.'"))
    shown = call("run", "warned.yaml", "--dry-run").err
    assert "warning[other-braces]: '{{inputs.lone}}' is not an expression, so it stays unchanged, and no input" in shown
    assert "^ declare 'lone' in inputs, and write ${{ inputs.lone }}" in shown


def test_quiet_says_nothing_when_all_is_well(call):
    assert call("-q", "run", "squad.yaml") == (0, "brief.md\n", "")


def test_quiet_says_what_a_run_waits_for(call, folder):
    (folder / "gated.yaml").write_text(GATED)
    done = call("-q", "run", "gated.yaml")
    assert done.code not in (0, 1)
    assert [line for line in done.err.splitlines() if line.startswith("waiting: approve: ")]


def test_json_lines_end_with_the_result(call, folder):
    done = call("run", "squad.yaml", "--json", "--run-id", "r-1", "--out", "there", "-i", "idea=日本語")
    events = [json.loads(line) for line in done.out.splitlines()]
    assert events[0]["type"] == "run.started"
    last = events[-1]
    data = (folder / "there" / "brief.md").read_bytes()
    assert last["type"] == "run.finished"
    assert last["schema_version"] == 1
    assert (last["run_id"], last["status"], last["cost_usd"]) == ("r-1", "done", 0)
    assert last["tasks"] == {"research": "ok", "brief": "ok"}
    assert last["artifacts"] == {"brief.md": hashlib.sha256(data).hexdigest()}
    assert set(last["usage"]) == {"input_tokens", "output_tokens", "cached_tokens", "reasoning_tokens"}
    assert len({event["id"] for event in events}) == len(events)
    assert anyio.run(recorded) == ("r-1", events)


async def recorded() -> tuple[str, list[object]]:
    """Return the latest run's id, and its events as the record has them."""
    async with open_records(Settings()) as records:
        run = await latest_run(records.journal)
        return run, [to_json(event) for event in await records.journal.events(run)]


def test_inputs_have_their_declared_types(call, folder):
    (folder / "inputs.json").write_text('{"idea": "coffee", "copies": 2}')
    done = call("run", "squad.yaml", "--inputs", "inputs.json", "-i", "idea=true", "--json")
    assert done.code == 0
    assert done.out.count('"run.finished"') == 1
    bad = call("run", "squad.yaml", "-i", "copies=many")
    assert bad.code == 1
    assert "error[invalid-input]" in bad.err
    assert "nothing was spent" in bad.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "no.yaml"], "there is no squad file no.yaml"),
        (["run", "squad.yaml", "-i", "idea"], "written key=value"),
        (["run", "squad.yaml", "--inputs", "no.json"], "--inputs no.json: there is no such file"),
        (["run", "squad.yaml", "--inputs", "idea=boats"], "hint: `-i idea=boats` gives one input"),
        (["run", "squad.yaml", "--inputs", "squad.yaml"], "--inputs squad.yaml"),
        (["run", "squad.yaml", "--run-id", "../up"], "--run-id '../up'"),
        (
            ["run", "squad.yaml", "--db", "mysql://x"],
            "mysql://x: a journal is at sqlite:///PATH, or at postgresql://",
        ),
        (["run", "squad.yaml", "--timeout", "soon"], "'soon' is not a duration"),
        (["--routing", "no.yaml", "run", "squad.yaml"], "there is no routing file no.yaml"),
    ],
)
def test_what_cannot_be_used(call, arguments, said):
    done = call(*arguments)
    assert done.code == 2
    assert said in done.err
    assert done.out == ""


def test_without_a_key_a_run_that_may_not_use_the_stub_says_which_are_missing(call, folder):
    text = (folder / "squad.yaml").read_text().replace("offline: auto", "offline: never")
    (folder / "squad.yaml").write_text(text)
    done = call("run", "squad.yaml")
    assert done.code == 4
    assert "GROQ_API_KEY" in done.err


@pytest.mark.parametrize(
    ("mode", "code"), [("ok", 0), ("401", 4), ("500", 8), pytest.param("malformed", 8, marks=pytest.mark.long)]
)
@pytest.mark.few(2)
def test_exit_codes_of_a_provider(call, folder, loopback, mode, code):
    asks(folder, loopback.url(mode))
    done = call("run", "squad.yaml", "--json")
    assert done.code == code
    assert json.loads(done.out.splitlines()[-1])["status"] == ("failed" if code else "done")
    if code:
        assert "last failure: research: " in done.err
        run = json.loads(done.out.splitlines()[-1])["run_id"]
        assert f"next: orchestrator explain {run} research" in done.err


def test_a_cap_that_is_reached(call, folder, loopback):
    text = ROUTING.format(url=loopback.url("ok")).replace("input: 0, output: 0", "input: 5, output: 5")
    (folder / "agent_routing.yaml").write_text(text)
    done = call("run", "squad.yaml", "--max-cost", "0.000001")
    assert done.code == 6
    assert loopback.requests == []


@pytest.mark.parametrize(
    ("arguments", "code", "out"),
    [([], 7, ""), (["--approve", "auto"], 0, "approve"), (["--approve", "deny"], 1, "reject")],
)
def test_gates_away_from_a_terminal(call, arguments, code, out):
    done = call("run", "gated.yaml", *arguments)
    assert done.code == code
    assert done.out.strip() == out


def test_a_squad_without_outputs_has_that_of_its_last_task(call, folder):
    text = (folder / "gated.yaml").read_text().partition("outputs:")[0]
    (folder / "gated.yaml").write_text(text)
    done = call("run", "gated.yaml", "--approve", "auto", "--out", "there")
    assert "tea" in done.out
    assert call("run", "gated.yaml").out == "", "nothing is done yet"


def test_a_dry_run_spends_nothing_and_writes_nothing(call, folder, loopback):
    asks(folder, loopback.url("ok"))
    before = sorted(folder.rglob("*"))
    done = call("run", "squad.yaml", "--dry-run", "--max-cost", "0.5")
    assert done.code == 0
    assert "limits: $0.50" in done.out
    assert "mary   analyst      boss      lab/m" in done.out
    assert loopback.requests == []
    assert sorted(folder.rglob("*")) == before
    document = json.loads(call("run", "squad.yaml", "--dry-run", "--json").out)
    assert [task["id"] for task in document["tasks"]] == ["research", "brief"]
    assert document["agents"][0] == {"id": "mary", "persona": "analyst", "tier": "boss", "likely": "lab/m"}


def test_an_unwritable_state_folder_is_a_warning(call, folder):
    (folder / "file").write_text("in the way")
    done = call("run", "squad.yaml", "--state", "file")
    assert done.code == 0
    assert "warning: the run is not recorded" in done.err


def test_what_a_model_writes_is_data(call, folder):
    idea = "\x1b]0;title\x07[bold red]x[/] \u202egnp.exe"
    done = call("run", "squad.yaml", "-i", f"idea={idea}")
    assert done.code == 0
    assert not set(done.out + done.err) & set("\x1b\x07\u202e")


@pytest.mark.parametrize("form", ["console", "json"])
def test_a_log_instead_of_progress(call, form):
    done = call("run", "squad.yaml", "--log-format", form)
    assert done.code == 0
    assert done.out == "brief.md\n"
    if form == "json":
        events = [json.loads(line)["event"] for line in done.err.splitlines() if line.startswith("{")]
        assert "run.finished" in events


def test_explain(call, folder, loopback):
    asks(folder, loopback.url("500", "ok"))
    assert call("run", "squad.yaml", "--run-id", "r-1").code == 0
    done = call("explain", "research")
    lines = done.out.splitlines()
    assert lines[0].startswith("research/")
    assert lines[1] == "  candidates: lab/m"
    assert lines[2].startswith("  attempt 1: lab/m: failed: ServerFault: something broke")
    assert any(line.startswith("  attempt 2: lab/m: ok") for line in lines)
    assert lines[-1] == "research: ok"
    assert call("explain", "r-1", "research", "--turn", "1").out.splitlines()[1] == lines[1]
    assert call("explain", "r-2", "research").code == 5
    assert call("explain", "nothing").code == 5


def test_explain_before_any_run(call):
    done = call("explain", "research")
    assert done.code == 5
    assert "no run is recorded here" in done.err


def test_a_run_that_never_began_leaves_the_record_of_the_one_before(call, folder):
    call("run", "squad.yaml", "--run-id", "r-1")
    text = (folder / "squad.yaml").read_text().replace("offline: auto", "offline: never")
    (folder / "squad.yaml").write_text(text)
    assert call("run", "squad.yaml", "--run-id", "r-2").code == 4
    assert call("explain", "r-1", "research").code == 0


def begin(folder, loopback, mode="hang"):
    """Start a run in a process of its own and return it once it has asked its first question."""
    asks(folder, loopback.url(mode))
    command = [sys.executable, "-m", "orchestrator", "run", "squad.yaml"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    told = []
    while not any("research: started" in line for line in told):
        told.append(process.stderr.readline())
        assert told[-1], "".join(told)
    loopback.wait_for(1)
    return process


@pytest.mark.long
def test_the_first_interrupt_finishes_the_calls_in_flight(folder, loopback):
    process = begin(folder, loopback, "slow=0.3")
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "stopping: waiting for the calls in flight of research; Ctrl-C again stops now" in error
    assert "cancelled" in error
    assert len(loopback.requests) == 1
    assert "Traceback" not in error


@pytest.mark.long
def test_the_second_interrupt_stops_now(folder, loopback):
    process = begin(folder, loopback)
    process.send_signal(signal.SIGINT)
    while "Ctrl-C again stops now" not in process.stderr.readline():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "Traceback" not in error


@pytest.mark.long
def test_sigterm(folder, loopback):
    process = begin(folder, loopback)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 143
    assert "Traceback" not in error


@pytest.mark.long
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="needs a pseudo-terminal")
def test_a_terminal_has_a_live_table_and_may_answer(folder):
    leader, follower = os.openpty()
    command = [sys.executable, "-m", "orchestrator", "run", "gated.yaml", "--no-color"]
    process = subprocess.Popen(command, stdin=follower, stdout=subprocess.PIPE, stderr=follower, text=True)
    os.close(follower)
    shown = read_until(leader, "approve / reject: ")
    os.write(leader, b"a\n")
    shown += read_until(leader, "comment (may be empty): ")
    os.write(leader, b"well done\n")
    shown += read_until(leader, "")
    assert process.communicate(timeout=PATIENCE_S)[0] == "approve\n"
    assert process.returncode == 0
    os.close(leader)
    assert "provider/model" in shown
    assert STUB_NOTICE in shown
    assert "--- research ---" in shown


def read_until(terminal, wanted):
    """Return what a terminal shows up to `wanted`, or all of it."""
    shown = ""
    while not wanted or wanted not in shown:
        assert select.select([terminal], [], [], PATIENCE_S)[0], f"it never shows {wanted!r}, but {shown!r}"
        try:
            shown += os.read(terminal, 65536).decode(errors="replace")
        except OSError:  # the other side is closed
            break
    return shown


def test_a_run_without_a_file_is_told_what_to_name(call) -> None:
    made = call("run")
    assert made.code == 2
    assert "name the squad's file: orchestrator run squad.yaml" in made.err
