"""`simulate` of a scenario with a cluster: what is told of workers and servers, and what they carry by formulas."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from orchestrator.cli.ui.cluster import seconds_word

EXAMPLE = Path(__file__).parents[3] / "examples/cluster.yaml"
MINE = """\
title: Mine
policy:
  tiers: {worker: [groq/openai/gpt-oss-20b]}
  providers: {groq: {limits: [{metric: requests, amount: 100, window: 1m}]}}
providers:
  groq: {}
load:
  - {count: 300, over: 2m}
cluster: {workers: 2, run: {tasks: 1, turns: 2}}
"""


@pytest.fixture
def mine(folder: Path) -> str:
    (folder / "mine.yaml").write_text(MINE)
    return "mine.yaml"


def test_the_report_tells_what_is_short_and_what_to_do(call, mine):
    done = call("simulate", mine)
    assert done.code == 0
    rows = {line.split("  ")[0]: line for line in done.out.splitlines()}
    assert {"providers *", "task slots", "worker CPU", "PostgreSQL", "connections", "Redis"} <= set(rows)
    assert " that came\n" in done.out
    assert "0 calls exceeded a provider's limit" in rows["limits"]
    assert "  - providers: their limits allow 5,7" in done.out
    assert done.out.isascii()
    assert call("validate", mine).code == 0


def test_claims_may_be_of_the_cluster(call, folder, mine):
    claims = (
        "claims:\n"
        "  - {text: enough is done, of: cluster.reached, at_least: 1000}\n"
        "  - {text: half of the slots, of: [cluster, resources, task slots, used], at_most: 50%}\n"
        "  - {text: more than can be, of: cluster.reached, at_least: 1000000}\n"
    )
    (folder / mine).write_text(MINE + claims)
    done = call("simulate", mine)
    assert done.code == 1
    assert [line.split()[-4:][0] for line in done.out.splitlines() if "cluster." in line][:2]
    assert done.out.count("  yes  ") == 2


def test_another_number_of_workers_is_tried(call, mine):
    report = json.loads(call("simulate", mine, "--workers", "7", "--json").out)["reports"][0]
    assert report["cluster"]["workers"] == 7
    assert report["cluster"]["resources"]["connections"]["used"] == 0.35


def test_the_table_of_capacity_has_a_row_for_each_size_and_marks_the_own(call, mine):
    done = call("simulate", mine, "--capacity")
    assert done.code == 0
    sizes = [line.split()[0] for line in done.out.splitlines() if line[:1].isdecimal()]
    assert sizes == ["1", "2", "10", "100", "1,000", "10,000"]
    assert "\n2 *  " in done.out
    document = json.loads(call("simulate", mine, "--capacity", "--json").out)
    assert document["schema_version"] == 1
    assert [size["first"] for size in document["sizes"]][-1] == "connections"
    assert all(size["offered"] == pytest.approx(9000) for size in document["sizes"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("simulate", "development", "--capacity"), "for a scenario with a cluster"),
        (("simulate", "development", "--workers", "3"), "for a scenario with a cluster"),
        (("simulate", "--traffic", "recorded", "--capacity"), "without --traffic and --tune"),
        (("simulate", "mine.yaml", "--tune", "order", "--workers", "3"), "without --traffic and --tune"),
        (("simulate", "mine.yaml", "--workers", "10001"), "10001"),
        (("simulate", str(EXAMPLE), "--workers", "1"), "1 of 1 workers die"),
    ],
)
def test_what_makes_no_sense_is_told(call, mine, arguments, text):
    done = call(*arguments)
    assert done.code == 2
    assert text in done.err
    assert done.out == ""


def test_two_policies_are_compared_by_what_they_carry_too(call, folder, mine):
    (folder / "other.yaml").write_text(
        "tiers: {worker: [groq/openai/gpt-oss-20b]}\n"
        "providers: {groq: {limits: [{metric: requests, amount: 9000, window: 1m}]}}\n"
    )
    out = call("simulate", mine, "--policy", "own", "--policy", "other.yaml").out
    assert "turns an hour on the cluster" in out


@pytest.mark.long
def test_the_example_holds(call):
    done = call("simulate", str(EXAMPLE))
    assert done.code == 0, done.out
    assert "they are paid for, and made again" in done.out


@pytest.mark.parametrize(
    ("seconds", "word"),
    [(0.0, "-"), (0.000147, "147 us"), (0.00726, "7.26 ms"), (1.5, "1.5 s"), (7200.0, "2 h")],
)
def test_a_time_is_told_in_its_own_unit(seconds, word):
    assert seconds_word(seconds) == word
