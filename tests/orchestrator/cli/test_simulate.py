"""`simulate`: shipped scenarios, files of one's own, squads as the load, and what is said of bad input."""

from __future__ import annotations

import json
import re
from importlib import resources
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import yaml

from providers.simulation import shipped

MINE = """\
title: Mine
about: One provider is small, the other is down for a while.
policy:
  tiers: {worker: [groq/openai/gpt-oss-20b, cerebras/gpt-oss-120b]}
  providers: {groq: {limits: [{metric: requests, amount: 20, window: 1d}]}}
providers:
  groq: {}
  cerebras: {outages: [{begins: 30s, lasts: 10s}]}
load:
  - {count: 60, over: 1m, agents: [dev]}
claims:
  - {text: all but a few are answered, of: failed, at_most: 20}
"""
OTHER = "tiers: {boss: [mistral/*], worker: [cerebras/gpt-oss-120b], creative: [gemini/*]}\n"
ENOUGH = 2_000
"""Turns of a scenario in a test."""


@pytest.fixture
def mine(folder):
    (folder / "mine.yaml").write_text(MINE)
    (folder / "other.yaml").write_text(OTHER)
    return "mine.yaml"


def reduced(name: str) -> str:
    """Return a shipped scenario's text with no load of more than so many turns."""
    text = (resources.files("providers.simulation") / "scenarios" / f"{name}.yaml").read_text("utf-8")
    scenario = yaml.safe_load(text)
    for load in scenario["load"]:
        if load.get("count", 0) > ENOUGH:
            load["count"] = ENOUGH
        elif "every" in load:
            load.pop("every")
            load["count"] = ENOUGH
    return yaml.safe_dump(scenario)


@pytest.mark.parametrize(
    "name",
    [name if at % 5 == 0 else pytest.param(name, marks=pytest.mark.long) for at, name in enumerate(shipped())],
)
@pytest.mark.few(1)
def test_every_shipped_scenario_runs_and_tells_each_claim(call, folder, name):
    (folder / f"{name}.yaml").write_text(reduced(name))
    done = call("simulate", f"{name}.yaml")
    claims = yaml.safe_load(reduced(name))["claims"]
    assert claims
    assert all(claim["text"] in done.out for claim in claims)
    assert done.code in (0, 1)  # of a smaller day not all may hold
    assert done.code == (1 if "  NO  " in done.out else 0)
    assert call("validate", f"{name}.yaml").code == 0


def test_a_shipped_scenario_holds_by_its_name(call):
    done = call("simulate", "development")
    assert done.code == 0
    assert "15 of 15" in done.out
    assert done.err == ""


@pytest.mark.long
def test_the_list_has_a_line_for_each(call):
    lines = call("simulate", "--list").out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(shipped())
    documents = json.loads(call("simulate", "--list", "--json").out)
    assert [document["name"] for document in documents] == list(shipped())


def test_the_report_tells_who_answered_and_which_limit_was_met(call, mine):
    out = call("simulate", mine).out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["groq"][1:3] == ["20", "20"]
    assert "groq: 20 requests in 24 h  20       20    100.0%" in out
    assert rows["turns"][1] == "60:"
    assert "seed 1; decision log of" in out
    assert out.isascii()


def test_the_same_seed_gives_the_same_bytes(call, mine):
    first, second = call("simulate", mine, "--seed", "7"), call("simulate", mine, "--seed", "7")
    assert first == second
    assert "seed 7; " in first.out
    documents = [json.loads(call("simulate", mine, "--json", "--seed", seed).out) for seed in "78"]
    assert documents[0]["schema_version"] == 1
    assert documents[0]["reports"][0]["digest"] in first.out
    assert documents[0]["reports"][0]["digest"] != documents[1]["reports"][0]["digest"]


def test_a_claim_that_does_not_hold_is_an_exit_code(call, folder, mine):
    (folder / mine).write_text(MINE.replace("at_most: 20", "at_most: -1"))
    done = call("simulate", mine)
    assert done.code == 1
    assert "  NO  " in done.out
    assert json.loads(call("simulate", mine, "--json").out)["held"] is False


def test_a_policy_takes_the_place_of_the_scenarios(call, mine):
    report = json.loads(call("simulate", mine, "--policy", "other.yaml", "--json").out)["reports"][0]
    assert report["policy"] == "other.yaml"
    assert report["agents"]["dev"]["providers"] == {"cerebras": report["answered"]}


def test_two_policies_stand_side_by_side_with_what_moved(call, mine, folder):
    done = call("simulate", mine, "--policy", "own", "--policy", "other.yaml", "--chart", "both.svg")
    rows = [line.split() for line in done.out.splitlines()]
    assert ["own", "other.yaml", "MOVED"] in rows
    (moved,) = [row[4:] for row in rows if row[:4] == ["groq:", "share", "of", "answers"]]
    assert moved == [moved[0], "0.0%", f"-{moved[0].removesuffix('%')}", "points"]
    texts = [element.text for element in ET.parse(folder / "both.svg").iter("{http://www.w3.org/2000/svg}text")]
    assert {"own", "other.yaml"} <= set(texts)


def test_a_chart_shows_each_provider_and_the_log_each_decision(call, mine, folder):
    done = call("simulate", mine, "--chart", "a.svg", "--log", "a.log")
    svg = (folder / "a.svg").read_text("utf-8")
    texts = [element.text for element in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"groq", "cerebras", "cerebras down"} <= set(texts)
    lines = (folder / "a.log").read_bytes().splitlines()
    assert f"decision log of {len(lines):,} lines" in done.out
    call("simulate", mine, "--chart", "a.png")
    assert (folder / "a.png").read_bytes().startswith(b"\x89PNG")


def test_a_squad_is_the_load(call, monkeypatch):
    monkeypatch.setenv("GROQ_API_KEY", "k")
    done = call("simulate", "squad.yaml", "--runs", "3")
    assert done.code == 0
    assert "3 runs of 2 turns, 10 an hour." in done.out
    assert "answers: 800 tokens (answer_tokens)" in done.out
    rows = {line.split()[0]: line.split() for line in done.out.splitlines() if line.strip()}
    for name in ("mary", "paige", "research", "brief"):
        assert rows[name][1:3] == ["3", "0"]
        assert rows[name][-2:] == ["groq", "3"]
    assert "every turn is answered  yes   6 of 6 turns" in done.out
    report = json.loads(call("simulate", "squad.yaml", "--runs", "3", "--json").out)["reports"][0]
    assert set(report["providers"]) == {"groq"}
    longer = call("simulate", "squad.yaml", "--runs", "3", "--json", "--assume", "answer_tokens=1600").out
    assert json.loads(longer)["reports"][0]["cost"] > report["cost"]


def test_a_squads_budget_is_a_claim(call, folder):
    text = (folder / "squad.yaml").read_text()
    (folder / "tight.yaml").write_text(text + "budget: {max_tokens: 100}\n")
    done = call("simulate", "tight.yaml", "--all-providers")
    assert done.code == 1
    assert "a run stays within its 100 tokens  NO " in done.out


def test_a_squad_under_two_policies(call, folder, mine):
    done = call("simulate", "squad.yaml", "--all-providers", "--policy", "own", "--policy", "other.yaml")
    assert done.code == 0
    assert "groq: share of answers" in done.out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name a scenario, or a file"),
        (["develpment"], 2, "did you mean 'development'?"),
        (["nothing.yaml"], 2, "there is no scenario and no file called nothing.yaml"),
        (["other.yaml"], 2, "other.yaml is a routing file"),
        (["mine.yaml", "--seed", "x"], 2, "--seed"),
        (["mine.yaml", "--chart", "no/such/a.svg"], 2, "there is no folder no/such"),
        (["mine.yaml", "--chart", "a.gif"], 2, "a chart is an .svg or a .png"),
        (["mine.yaml", "--log", "."], 2, "cannot be written"),
        (["mine.yaml", "--log", "a", "--policy", "own", "--policy", "other.yaml"], 2, "--log"),
        (["mine.yaml", "--policy", "gone.yaml"], 2, "there is no routing file gone.yaml"),
        (["mine.yaml", "--runs", "2"], 2, "are for squads"),
        (["squad.yaml"], 2, "no provider is configured here"),
        (["squad.yaml", "--all-providers", "--assume", "answer_token=3"], 2, "did you mean 'answer_tokens'?"),
        (["squad.yaml", "--all-providers", "--assume", "elements=-3"], 2, "a whole number"),
        (["squad.yaml", "--all-providers", "-i", "copies=x"], 1, "error[invalid-input]"),
    ],
)
def test_bad_input_is_told_before_anything_is_simulated(call, mine, arguments, code, said):
    done = call("simulate", *arguments)
    assert (done.code, done.out) == (code, "")
    assert said in done.err


def test_more_turns_than_can_be_simulated_are_refused(call, folder):
    (folder / "wide.yaml").write_text(
        "name: wide\ninputs: {of: {type: list}}\nagents: {mary: {persona: analyst}}\n"
        "tasks: {a: {agent: mary, for_each: '${{ inputs.of }}', key: '${{ item }}', description: Do it.}}\n"
    )
    of = f"of={json.dumps(list(range(1001)))}"
    done = call("simulate", "wide.yaml", "--all-providers", "--runs", "10000", "-i", of)
    assert done.code == 2
    assert "10,000 runs come to 10,010,000 turns" in done.err


def test_mistakes_in_files_have_their_place(call, folder, mine):
    (folder / "mine.yaml").write_text(
        MINE.replace("  groq: {}", "  grok: {}").replace("count: 60,", "count: 60, every: 1s,")
    )
    done = call("simulate", "mine.yaml")
    assert done.code == 1
    assert "mine.yaml:7:3: error[unknown-provider]: no provider is called 'grok'" in done.err
    assert "mine.yaml:10:5: error[one-of]: a load has count, over and every" in done.err
    checked = call("validate", "mine.yaml")
    assert checked.code == 1
    assert "mine.yaml:7:3: error[unknown-provider]" in checked.out
    assert "mine.yaml: read as a scenario" in checked.err
    (folder / "mine.yaml").write_text("title: x\nload: [\n")
    assert "mine.yaml:3:1: error[bad-yaml]" in call("simulate", "mine.yaml").err
    (folder / "bad.yaml").write_text("name: x\nagents: {mary: {persona: analist}}\ntasks: {a: {agent: mary}}\n")
    assert "bad.yaml:2:" in call("simulate", "bad.yaml", "--all-providers").err


DOCS = Path(__file__).parents[3] / "docs/guides/simulation.md"
EXAMPLE = Path(__file__).parents[3] / "examples/scenario.yaml"


def test_the_documented_scenario_is_the_example_and_holds(call):
    (documented,) = re.findall(r"```yaml\n(.*?)```", DOCS.read_text("utf-8"), re.DOTALL)
    assert documented == EXAMPLE.read_text("utf-8")
    done = call("simulate", str(EXAMPLE))
    assert done.code == 0, done.out
    assert "1,296" in done.out


def test_the_page_names_every_shipped_scenario():
    table = DOCS.read_text("utf-8").partition("## The scenarios that are shipped")[2]
    assert sorted(re.findall(r"^\| `([a-z-]+)` \|", table, re.MULTILINE)) == list(shipped())
