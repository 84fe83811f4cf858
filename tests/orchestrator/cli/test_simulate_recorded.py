"""`simulate --traffic recorded`: what really happened beside policies, and what is said where nothing did."""

from __future__ import annotations

import json
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import click
import pytest

from orchestrator.cli.ui.arguments import SinceOption
from orchestrator.journal.opening import open_journal
from orchestrator.journal.protocols import RunManifest
from tests.orchestrator.forecast.recording import CEREBRAS, GROQ, START, Record, a_day

OWN = f"tiers: {{worker: [{GROQ}, {CEREBRAS}]}}\nlast_resort: []\n"
LAB = (
    "{{dialect: openai-chat, base_url: '{url}', models: {{m: {{context: 100000, max_output: 1000, price: {price}}}}}}}"
)
PRICES = {"one": "{input: 1, output: 2}", "two": "{input: 3, output: 4}"}


def labs(order: str, **urls: str) -> str:
    tiers = ", ".join(f"{tier}: [{order}]" for tier in ("worker", "boss", "creative"))
    rows = "".join(f"  {name}: {LAB.format(url=url, price=PRICES[name])}\n" for name, url in urls.items())
    return f"tiers: {{{tiers}}}\nlast_resort: []\nproviders:\n{rows}"


def keep(folder: Path, *records: Record) -> None:
    """Record runs in the folder's journal, as if they had begun two days ago."""
    began = time.time() - 2 * 86_400

    async def write() -> None:
        (folder / ".orchestrator").mkdir()
        async with open_journal(folder / ".orchestrator" / "journal.db") as journal:
            for record in records:
                events = [event._replace(at=event.at - START + began) for event in record.events]
                await journal.create(record.run, RunManifest("squad", created_at=began), events)

    anyio.run(write)


def test_what_happened_stands_beside_the_same_policy_and_another_one(call, folder):
    keep(folder, a_day(count=60))
    (folder / "agent_routing.yaml").write_text(OWN)
    (folder / "mine.yaml").write_text(f"tiers: {{worker: [{CEREBRAS}]}}\nlast_resort: []\n")
    told = call("simulate", "--traffic", "recorded", "--policy", "mine.yaml")
    assert told.code == 0, told.err
    lines = told.out.splitlines()
    assert lines[0].startswith("recorded traffic: 60 turns of 1 run, from ")
    assert lines[1].startswith("model error, same policy: cost +0.0%, half answered within ")
    assert "mine.yaml calls no provider" in lines[2]
    assert ["RECORDED", "own", "mine.yaml", "MOVED"] in [line.split() for line in lines]
    assert [line.split()[-4:] for line in lines if line.startswith("groq: share")] == [
        ["100.0%", "0.0%", "-100.0", "points"]
    ]
    assert "never asked, and taken to answer" not in told.out, "no key of it is set, so it is not asked"
    found = json.loads(call("simulate", "--traffic", "recorded", "--since", "3d", "--json", "--all-providers").out)
    assert (found["traffic"]["turns"], found["traffic"]["runs"], found["recorded"]["answered"]) == (60, 1, 60)
    assert found["model_error"]["moved"] == 0.0
    assert any("never asked" in text for text in found["assumptions"])


@pytest.mark.parametrize(
    ("records", "arguments", "code", "said"),
    [
        ([], [], 5, "no run is recorded here"),
        ([a_day(count=3)], ["--since", "1h"], 5, "looks back as far"),
        ([Record().turns("stub/stub", 2)], [], 5, "2 turns came from the offline stub"),
        ([Record().turns("home/own", 2)], [], 2, "no provider that was asked then is in the catalog: home"),
        ([], ["outage"], 2, "takes the place of outage"),
        ([], ["--runs", "3"], 2, "recorded traffic has its own turns"),
        ([], ["--since", "soon"], 2, "'soon' is not a time"),
    ],
)
@pytest.mark.few(3)
def test_no_traffic_is_told_with_what_to_do(call, folder, records, arguments, code, said):
    if records:
        keep(folder, *records)
    told = call("simulate", "--traffic", "recorded", *arguments)
    assert (told.code, told.out) == (code, "")
    assert said in told.err


def test_the_options_of_traffic_need_it(call):
    assert "add --traffic recorded" in call("simulate", "outage", "--since", "7d").err


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("7d", "2026-03-24T12:00+00:00"),
        ("90m", "2026-03-31T10:30+00:00"),
        ("2026-03-29", "2026-03-29T00:00+01:00"),  # the clocks were put forward on this day
        ("2026-03-30", "2026-03-30T00:00+02:00"),
        ("2026-03-29T06:00", "2026-03-29T06:00+02:00"),
        ("2026-03-29T06:00Z", "2026-03-29T06:00+00:00"),
        ("today", "2026-03-31T00:00+02:00"),
        ("yesterday", "2026-03-30T00:00+02:00"),
    ],
)
def test_since_is_said_in_many_ways(text, at):
    now = datetime(2026, 3, 31, 12, tzinfo=UTC).timestamp()
    since = SinceOption().convert(text, None, None)
    assert datetime.fromtimestamp(since.instant(now, ZoneInfo("Europe/Berlin")), UTC) == datetime.fromisoformat(at)


@pytest.mark.parametrize("text", ["", "soon", "-3d", "2026-13-01", "0001-01-01", "7 weeks", "9" * 400])
def test_what_is_no_time_is_said_to_be_none(text):
    with pytest.raises(click.BadParameter, match="is not a time"):
        SinceOption().convert(text, None, None)


def test_where_no_turn_was_answered_nothing_is_said_of_times_and_a_policy_without_calls_is_named(call, folder):
    failed = Record()
    failed.begin(0.0)
    failed.call(0.0, 1.0, GROQ, "Unreachable")
    keep(folder, failed)
    (folder / "other.yaml").write_text("tiers: {worker: [cerebras/gpt-oss-120b], boss: [cerebras/gpt-oss-120b]}\n")
    told = call("simulate", "--traffic", "recorded", "--since", "2026-11-01", "--policy", "other.yaml")
    assert told.code == 0, told.err
    lines = told.out.splitlines()
    assert "half answered within unknown, 95% within unknown, failures +0.0 points" in lines[1]
    assert lines[2].startswith("other.yaml calls no provider: none that it names has a key here")
    (half,) = (line for line in lines if line.startswith("half answered"))
    assert half.split()[3:] == ["-", "-", "-"]


@pytest.mark.long
def test_runs_that_were_really_made_are_simulated_as_they_went(call, folder, loopback):
    """One provider breaks at the third call and stays so: what came then went to the other one."""
    one, two = loopback.url("ok", "ok", "500"), loopback.url("ok")
    (folder / "agent_routing.yaml").write_text(labs("one/m, two/m", one=one, two=two))
    for number in range(6):
        assert call("run", "squad.yaml", "--trust", "--run-id", f"r-{number}").code == 0
    told = call("simulate", "--traffic", "recorded", "--json")
    assert told.code == 0, told.err
    found = json.loads(told.out)
    real, (same,) = found["recorded"], found["policies"]
    assert found["traffic"] | {"since": 0, "until": 0} == {
        "since": 0,
        "until": 0,
        "runs": 6,
        "gateway_requests": 0,
        "turns": 12,
        "left_out": {},
    }
    assert real["providers"]["one"] == 2
    assert (real["failed"], same["failed"]) == (0, 0)
    assert same["cost_usd"] == pytest.approx(real["cost_usd"])
    assert found["model_error"]["moved"] == 0.0
    assert found["notes"] == []
    (folder / "agent_routing.yaml").write_text(labs("two/m, one/m", one=one, two=two))
    changed = json.loads(call("simulate", "--traffic", "recorded", "--json").out)
    assert changed["policies"][0]["providers"] == {"two": 12}
    assert "another routing file" in changed["notes"][0]


@pytest.mark.long
def test_a_better_order_for_recorded_traffic_is_a_diff_that_patch_takes(call, folder):
    """The dear model stands first; also where there is no routing file yet, the diff makes one that holds."""
    keep(folder, a_day(count=60))
    dear = (
        f"# ours\ntiers:\n  worker:   # who works\n    - {CEREBRAS}   # dear\n    - {GROQ}   # cheap\nlast_resort: []"
    )
    (folder / "agent_routing.yaml").write_text(dear)  # without an end of its last line
    tuned = ("simulate", "--traffic", "recorded", "--all-providers", "--tune", "order", "--budget-runs", "40")
    told = call(*tuned)
    assert told.code == 0, told.err
    (folder / "better.diff").write_text(told.out)
    subprocess.run(["patch", "agent_routing.yaml", "better.diff"], cwd=folder, check=True, capture_output=True)
    lines = dear.splitlines()
    assert (folder / "agent_routing.yaml").read_text() == "\n".join([*lines[:3], lines[4], lines[3], *lines[5:]])
    assert json.loads(call(*tuned, "--json").out)["better"] is False
    assert "nothing better was found" in call(*tuned).out
    (folder / "agent_routing.yaml").unlink()
    (folder / "new.diff").write_text(call(*tuned).out)
    subprocess.run(["patch", "-i", "new.diff"], cwd=folder, check=True, capture_output=True)
    assert call("validate", "agent_routing.yaml").code == 0


@pytest.mark.long
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["outage", "--tune", "order", "--chart", "x.svg"], "neither --chart nor --log"),
        (["outage", "--budget-runs", "9"], "add --tune"),
        (["outage", "--tune", "limits"], "the file states no limit"),
        (["squad.yaml", "--tune", "weights"], "set a key"),
        (["cost-comparison", "--tune", "order"], "name another provider of its tiers"),
    ],
)
def test_a_search_that_makes_no_sense_is_refused(call, folder, arguments, said):
    told = call("simulate", *arguments)
    assert (told.code, told.out) == (2, "")
    assert said in told.err


@pytest.mark.long
def test_the_routing_file_of_a_squad_is_tuned(call, folder):
    (folder / "agent_routing.yaml").write_text(f"tiers: {{boss: [{CEREBRAS}, {GROQ}], creative: [{GROQ}]}}\n")
    told = call("simulate", "squad.yaml", "--all-providers", "--tune", "order", "--budget-runs", "20", "--json")
    found = json.loads(told.out)
    assert found["file"] == "agent_routing.yaml"
    assert f"+tiers: {{boss: [{GROQ}, {CEREBRAS}], creative: [{GROQ}]}}" in found["diff"].splitlines()
    assert found["after"]["cost_usd"] < found["before"]["cost_usd"]
