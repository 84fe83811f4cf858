"""A scenario's file: what it may leave out, and that each mistake is told with its path, before anything runs."""

from __future__ import annotations

import pytest

from providers.errors import CatalogError
from providers.simulation import load_scenario, shipped
from providers.simulation.scenario_file import parse_scenario
from tests.deep_yaml import DEEP, NAMES

ROWS = [(n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 9)]
BOMB = b"a0: &a0 [x, x, x, x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (n, n, row) for n, row in ROWS)
SMALL = {
    "title": "small",
    "policy": {"tiers": {"worker": ["groq/openai/gpt-oss-20b"]}},
    "providers": {"groq": None},
    "load": [{"count": 3, "over": "3s"}],
}


def problems(**changes) -> dict[str, str]:
    with pytest.raises(CatalogError) as failed:
        parse_scenario({**SMALL, **changes}, "test")
    return {".".join(map(str, path)): text for path, text in failed.value.problems}


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"titel": "x"}, "titel", "unknown key 'titel': did you mean 'title'?"),
        ({"providers": {"grok": None}}, "providers.grok", "unknown provider 'grok': did you mean 'groq'?"),
        ({"providers": {}}, "providers", "is empty"),
        ({"load": []}, "load", "is empty"),
        ({"load": [{}]}, "load.0", "needs a count, or `over` and `every`"),
        ({"load": [{"count": 1, "over": "1s", "every": "1s"}]}, "load.0", "two of them make the third"),
        ({"load": [{"over": "1s", "every": "1h"}]}, "load.0", "comes to 0 turns"),
        ({"load": [{"over": "1000000d", "every": "1ms"}]}, "load.0", "turns: 1 to 10,000,000 are possible"),
        ({"load": [{"count": 9_000_000, "agents": ["a", "b"]}]}, "load", "comes to 18,000,000 turns"),
        ({"load": [{"count": 1, "input_tokens": 3_000_000}]}, "load.0.input_tokens", "less than or equal to 2000000"),
        ({"load": [{"count": 0}]}, "load.0.count", "greater than or equal to 1"),
        ({"load": [{"count": 1, "deadline": "soon"}]}, "load.0.deadline", "'soon' is no duration: write 500ms"),
        ({"load": [{"count": 1, "tier": "workers"}]}, "load.0.tier", "unknown tier 'workers': did you mean 'worker'?"),
        ({"load": [{"count": 1, "model": "groq/gpt"}]}, "load.0.model", "unknown model 'groq/gpt'"),
        ({"load": [{"count": 1, "abilities": ["tool"]}]}, "load.0.abilities.0", "did you mean 'tools'?"),
        ({"providers": {"groq": {"region": "eu"}}}, "providers.groq.region", "unknown region 'eu'"),
        ({"providers": {"groq": {"errors": {"server": "110%"}}}}, "providers.groq.errors.server", "is no share"),
        ({"providers": {"groq": {"errors": {"server": 0.6, "hangs": 0.6}}}}, "providers.groq.errors", "more than all"),
        ({"providers": {"groq": {"errors": {"tired": 0.1}}}}, "providers.groq.errors.tired", "input should be"),
        ({"providers": {"groq": {"flaky": {"share": 1}}}}, "providers.groq.flaky.share", "less than 1"),
        (
            {"providers": {"groq": {"hidden_limits": [{"metric": "requests", "amount": 5}]}}},
            "providers.groq.hidden_limits.0",
            "needs an amount and a window, or a spacing",
        ),
        ({"claims": [{"text": "x", "of": "failed"}]}, "claims.0", "claims nothing: say exactly, at_least or at_most"),
        ({"claims": [{"text": "x", "of": [], "exactly": 1}]}, "claims.0.of", "is empty: name a figure"),
        ({"claims": [{"text": "x", "of": "failed", "exactly": "many"}]}, "claims.0.exactly", "is no share"),
        ({"policy": {"tiers": {"worker": ["groq/x"]}}}, "policy.tiers.worker.0", "groq serves no model 'x'"),
        ({"policy": ["groq"]}, "policy", "input should be a valid dictionary"),
        ({"instances": 0}, "instances", "greater than or equal to 1"),
        ({"starts": "tomorrow"}, "starts", "input should be a valid number"),
    ],
)
def test_a_mistake_is_told_with_its_path(changes, path, text):
    found = problems(**changes)
    assert text in found[path]


def test_mistakes_of_different_parts_are_told_together():
    found = problems(seed="x", policy={"strategy": "best"}, providers={"groq": {"latency": {"spread": -1}}})
    assert {"seed", "policy.strategy", "providers.groq.latency.spread"} <= set(found)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"title: [}", "is no YAML in line 1, column 9"),
        (b"- title", "holds no mapping"),
        (b"", "holds no mapping"),
        (b"title: \xff", "is not UTF-8: byte 7"),
        (b"[" * 900_000, "more than 50 levels"),
        (BOMB, "more than 20,000 values in line 5, column 25: write several scenarios"),
        (b"title: 2026-99-99", "is no YAML"),
        (b"#" * 1_000_001, "is larger than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_scenario_is_told_as_that(tmp_path, content, text):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(CatalogError, match=text):
        load_scenario(path)


@pytest.mark.parametrize("text", DEEP, ids=NAMES)
def test_too_many_levels_are_told_with_their_place(tmp_path, text):
    path = tmp_path / "deep.yaml"
    path.write_text(text[:1_000_000])
    line, column = DEEP[text]
    what = f"more than 50 levels in line {line}, column {column}: put fewer lists and mappings inside each other"
    with pytest.raises(CatalogError, match=what):
        load_scenario(path)


def test_a_name_that_leads_nowhere_gets_a_hint(tmp_path):
    with pytest.raises(CatalogError, match="no scenario 'outag': did you mean 'outage'"):
        load_scenario("outag")
    with pytest.raises(CatalogError, match="shipped are agents-split, availability"):
        load_scenario(str(tmp_path / "none.yaml"))
    with pytest.raises(CatalogError, match="cannot be read"):
        load_scenario(tmp_path)


def test_what_a_scenario_leaves_out_is_usual():
    scenario = parse_scenario(SMALL, "small")
    assert (scenario.instances, scenario.message_delay, scenario.seed) == (1, 0.0, 1)
    assert scenario.load[0].over == 3.0
    (load,) = parse_scenario({**SMALL, "load": [{"every": "2s", "over": "1m"}]}, "x").load
    assert (load.count, load.over) == (30, 60.0)
    assert parse_scenario({**SMALL, "starts": "2026-11-21T06:00:00+01:00"}, "x").starts == 1_795_237_200.0


def test_names_stand_for_one_load_each():
    loads = parse_scenario({**SMALL, "load": [{"count": 3, "agents": ["a", "b"], "personas": ["dev"]}]}, "x").load
    assert [(load.agent, load.persona, load.count) for load in loads] == [
        ("a", None, 3),
        ("b", None, 3),
        (None, "dev", 3),
    ]


def test_every_shipped_scenario_has_a_title_an_about_and_claims():
    for name in shipped():
        scenario = load_scenario(name)
        assert scenario.name == name
        assert scenario.title
        assert scenario.about
        assert scenario.claims
