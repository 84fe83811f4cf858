"""`test`: what it runs, what it says, and how it exits."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET

import pytest

TESTS = """\
squad: squad.yaml
recording: rec
baseline: {file: base.json, fail_when: {pass_rate: -10%, tokens: +20%}}
cases:
  - name: writes of tea
    inputs: {idea: tea}
    expect:
      run: {turns: 2}
      tasks: {research: {output: {contains: tea}}}
      turns: [mary, paige]
      files: {brief.md: {}}
  - name: asks too much
    repeat: 2
    expect:
      run: {turns: <= 1}
"""


@pytest.fixture(autouse=True)
def tests_file(folder):
    (folder / "squad.test.yaml").write_text(TESTS)
    return folder / "squad.test.yaml"


def test_a_case_without_a_recording_says_how_to_make_one(call, folder):
    done = call("test", "squad.yaml", "--junit", "out/j.xml")
    assert (done.code, done.out) == (1, "2 cases: 2 stale\n")
    assert (
        'it has no recording\n    record it: orchestrator test squad.test.yaml --record --case "writes of tea"'
        in done.err
    )
    assert 'failures="2"' in (folder / "out" / "j.xml").read_text()


def test_what_is_recorded_runs_offline_and_a_changed_prompt_is_stale(call, folder):
    assert call("test", "squad.yaml", "--record", "--offline", "--case", "writes*").code == 0
    assert (folder / "rec" / "writes-of-tea.json").is_file()
    done = call("test", "squad.yaml", "--case", "writes of tea")
    assert (done.code, done.out) == (0, "1 case: 1 passed\n")
    assert "offline stub" in done.err
    squad = folder / "squad.yaml"
    squad.write_text(squad.read_text().replace("Write it down.", "Write all of it down."))
    done = call("test", "--case", "writes of tea")
    assert (done.code, done.out) == (1, "1 case: 1 stale\n")
    assert "-Write it down.\n    +Write all of it down." in done.err
    assert 'record it again: orchestrator test squad.test.yaml --record --case "writes of tea"' in done.err


def test_a_recording_holds_no_path_of_the_machine_that_made_it(call, folder):
    routing = folder / "mine" / "routing.yaml"
    routing.parent.mkdir()
    routing.write_text("version: 1\n")
    given = ("--routing", str(routing), "--case", "writes of tea")
    assert call("test", str(folder / "squad.yaml"), "--record", "--offline", *given).code == 0
    recorded = (folder / "rec" / "writes-of-tea.json").read_text()
    assert "routing routing.yaml" in recorded, "the file itself is kept, under its own name"
    assert str(folder) not in recorded
    assert call("test", "squad.yaml", *given).code == 0


def test_each_check_that_fails_names_its_line(call):
    done = call("test", "squad.test.yaml", "--live", "--offline", "--json")
    assert done.code == 1
    assert "run 1: squad.test.yaml:15: turns: 2, not <= 1" in done.err
    document = json.loads(done.out)
    assert [(case["case"], case["verdict"], len(case["runs"])) for case in document["cases"]] == [
        ("writes of tea", "passed", 1),
        ("asks too much", "broken", 2),
    ]
    (bad,) = [check for check in document["cases"][1]["runs"][0]["checks"] if not check["ok"]]
    assert bad["path"] == ["run", "turns"]


def test_junit_tells_each_case(call, folder):
    call("test", "squad.yaml", "--live", "--offline", "--junit", "junit.xml")
    suite = ET.fromstring((folder / "junit.xml").read_text()).find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("2", "1", "0")
    good, bad = suite.findall("testcase")
    assert good.find("failure") is None
    failure = bad.find("failure")
    assert failure is not None
    assert "squad.test.yaml:15: turns: 2, not <= 1" in (failure.text or "")
    assert "verdict: broken" in (bad.findtext("system-out") or "")


def test_a_case_that_is_chosen_alone_fails_at_its_own_line(call, folder):
    tests = folder / "squad.test.yaml"
    tests.write_text(tests.read_text().replace("asks too much", "asks for tea/coffee"))
    done = call("test", "squad.yaml", "--live", "--offline", "--junit", "junit.xml", "--case", "asks*")
    assert done.out == "1 case: 1 broken\n"
    assert "squad.test.yaml:15: turns: 2, not &lt;= 1" in (folder / "junit.xml").read_text()


def test_no_report_and_no_recording_holds_a_secret_of_the_environment(call, folder, monkeypatch):
    monkeypatch.setenv("MY_SECRET", "tea & <cake>")
    (folder / "squad.test.yaml").write_text(
        "squad: squad.yaml\ncases: [{name: one, inputs: {idea: tea & <cake>}, "
        "expect: {tasks: {research: {output: {lacks: tea}}}}}]\n"
    )
    done = call("test", "squad.yaml", "--live", "--offline", "--junit", "j.xml", "--json")
    failure = ET.fromstring((folder / "j.xml").read_text()).findtext(".//failure") or ""
    assert done.code == 1
    assert "research" in failure
    for text in (failure, done.out, done.err):
        assert "<cake>" not in text
    refused = call("test", "squad.yaml", "--record", "--offline")
    assert (refused.code, "not print MY_SECRET" in refused.err) == (2, True)


def test_a_baseline_is_kept_with_accept_alone_and_a_change_within_the_noise_fails_nothing(call, folder):
    call("test", "squad.yaml", "--live", "--offline", "--case", "writes*")
    assert not (folder / "base.json").exists()
    assert call("test", "squad.yaml", "--accept", "--offline", "--case", "writes*").code == 0
    kept = json.loads((folder / "base.json").read_text())
    assert kept["cases"]["writes of tea"]["runs"] == kept["cases"]["writes of tea"]["passed"] == 1
    kept["cases"]["writes of tea"] = {"runs": 9, "passed": 9, "tokens": [1, 1, 1]}
    (folder / "base.json").write_text(json.dumps(kept))
    once = call("test", "squad.yaml", "--live", "--offline", "--case", "writes*")
    assert (once.code, "one run is too few" in once.err) == (0, True)
    often = call("test", "squad.yaml", "--live", "--offline", "--case", "writes*", "--repeat", "3", "--junit", "j.xml")
    assert (often.code, "tokens 1 -> " in often.err) == (1, True)
    assert 'failures="1"' in (folder / "j.xml").read_text()
    assert 'type="worse" message="worse than the baseline: tokens 1' in (folder / "j.xml").read_text()
    (folder / "base.json").write_text(json.dumps({**kept, "squad": "another"}))
    other = call("test", "squad.yaml", "--live", "--offline", "--case", "writes*")
    assert (other.code, "is the baseline of the squad 'another'" in other.err) == (2, True)
    assert other.out == "", "nothing was run"


def test_a_past_run_is_checked(call):
    call("run", "squad.yaml", "-i", "idea=tea", "--run-id", "r1")
    done = call("test", "squad.yaml", "--run", "r1")
    assert (done.code, done.out) == (1, "2 cases: 1 passed, 1 broken\n")
    assert "squad.test.yaml:15: turns: 2, not <= 1" in done.err
    assert call("test", "squad.yaml", "--run", "r2").code == 5


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (("--case", "nothing"), 5, "no case is called nothing"),
        (("--run", "x", "--live"), 2, "--run checks a run that was made"),
        (("--offline",), 2, "give --live or --record"),
        (("--repeat", "3"), 2, "--repeat is for live runs"),
        (("nothing.yaml",), 2, "there is no test file nothing.yaml"),
        (("gated.yaml",), 2, "there is no test file gated.test.yaml"),
    ],
)
def test_what_cannot_be_says_why(call, arguments, code, told):
    done = call("test", *arguments)
    assert (done.code, told in done.err) == (code, True), done.err


def test_live_without_a_provider_is_an_error_of_credentials(call, folder):
    squad = folder / "squad.yaml"
    squad.write_text(squad.read_text().replace("offline: auto", "offline: never"))
    assert call("test", "squad.yaml", "--live").code == 4


def test_validate_reads_test_files(call, tests_file):
    assert call("validate", "squad.test.yaml").code == 0
    tests_file.write_text(TESTS.replace("research:", "reserch:"))
    done = call("validate", "squad.test.yaml")
    assert (done.code, "error[unknown-task]" in done.out) == (1, True)


def test_the_budget_of_all_cases_ends_them(call):
    done = call("test", "squad.yaml", "--live", "--offline", "--max-cost", "0")
    assert (done.code, "not run" in done.err) == (6, True)
