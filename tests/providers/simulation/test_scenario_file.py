"""A scenario's file: what it may leave out, and that each mistake is told with its path, before anything runs."""

from __future__ import annotations

import pytest

from providers.documents.problems import SpecError
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
    return {".".join(map(str, p.path)): f"{p.message} {p.hint}" for p in failed.value.problems}


@pytest.mark.parametrize(
    ("changes", "path", "text"),
    [
        ({"titel": "x"}, "titel", "'titel' is not a field of a scenario did you mean 'title'?"),
        ({"providers": {"grok": None}}, "providers.grok", "no provider is called 'grok' did you mean 'groq'?"),
        ({"providers": {}}, "providers", "is empty"),
        ({"load": []}, "load", "is empty"),
        ({"load": [{}]}, "load.0", "needs a count, or `over` and `every`"),
        ({"load": [{"count": 1, "over": "1s", "every": "1s"}]}, "load.0", "two of them make the third"),
        ({"load": [{"over": "1s", "every": "1h"}]}, "load.0", "comes to 0 turns"),
        ({"load": [{"over": "1000000d", "every": "1ms"}]}, "load.0", "turns: 1 to 10,000,000 are possible"),
        ({"load": [{"count": 9_000_000, "agents": ["a", "b"]}]}, "load", "come to 18,000,000 turns"),
        ({"load": [{"count": 1, "input_tokens": 3_000_000}]}, "load.0.input_tokens", "less than or equal to 2000000"),
        ({"load": [{"count": 0}]}, "load.0.count", "greater than or equal to 1"),
        ({"load": [{"count": 1, "deadline": "soon"}]}, "load.0.deadline", "'soon' is not a duration: write 500ms"),
        (
            {"load": [{"count": 1, "tier": "workers"}]},
            "load.0.tier",
            "'workers' did you mean 'worker'?",
        ),
        ({"load": [{"count": 1, "model": "groq/gpt"}]}, "load.0.model", "no model is called 'groq/gpt'"),
        ({"load": [{"count": 1, "abilities": ["tool"]}]}, "load.0.abilities.0", "did you mean 'tools'?"),
        ({"providers": {"groq": {"region": "eu"}}}, "providers.groq.region", "no region is called 'eu'"),
        ({"providers": {"groq": {"errors": {"server": "110%"}}}}, "providers.groq.errors.server", "is not a share"),
        (
            {"providers": {"groq": {"errors": {"server": 0.6, "hangs": 0.6}}}},
            "providers.groq.errors",
            "more than 100 %",
        ),
        (
            {"providers": {"groq": {"errors": {"tired": 0.1}}}},
            "providers.groq.errors.tired",
            "one of server,",
        ),
        ({"providers": {"groq": {"flaky": {"share": 1}}}}, "providers.groq.flaky.share", "less than 1"),
        (
            {"providers": {"groq": {"hidden_limits": [{"metric": "requests", "amount": 5}]}}},
            "providers.groq.hidden_limits.0",
            "needs an amount and a window, or a spacing",
        ),
        ({"claims": [{"text": "x", "of": "failed"}]}, "claims.0", "claims nothing: say exactly, at_least or at_most"),
        ({"claims": [{"text": "x", "of": [], "exactly": 1}]}, "claims.0.of", "is empty name a figure"),
        ({"claims": [{"text": "x", "of": "failed", "exactly": "many"}]}, "claims.0.exactly", "is not a share"),
        ({"policy": {"tiers": {"worker": ["groq/x"]}}}, "policy.tiers.worker.0", "groq serves no model 'x'"),
        ({"policy": ["groq"]}, "policy", "takes a mapping, not a list"),
        ({"instances": 0}, "instances", "greater than or equal to 1"),
        ({"starts": "tomorrow"}, "starts", "is not an instant: write 2026-11-21T06:00:00+01:00"),
    ],
)
def test_a_mistake_is_told_with_its_path(changes, path, text):
    found = problems(**changes)
    assert text in found[path]


def test_mistakes_of_different_parts_are_told_together():
    found = problems(seed="x", policy={"strategy": "best"}, providers={"groq": {"latency": {"spread": -1}}})
    assert {"seed", "policy.strategy", "providers.groq.latency.spread"} <= set(found)


@pytest.mark.parametrize(
    ("content", "line", "column", "code"),
    [
        (b"title: [}", 1, 9, "bad-yaml"),
        (b"- title", 1, 1, "wrong-type"),
        (b"", 1, 1, "empty-file"),
        (b"title: \xff", 1, 8, "not-utf8"),
        (b"[" * 900_000, 1, 51, "too-large"),
        (BOMB, 5, 30, "too-large"),
        (b"#" * 1_100_000, 1, 1, "too-large"),
    ],
)
def test_a_file_that_is_no_scenario_is_told_as_that(tmp_path, content, line, column, code):
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(SpecError) as failed:
        load_scenario(path)
    assert [(p.line, p.column, p.code) for p in failed.value.problems] == [(line, column, code)]


def test_a_mistake_in_a_file_has_its_place(tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "title: bad\npolicy:\n  tiers: {worker: [grok/x]}\n  providers: {lab: {dialekt: x}}\nproviders:\n"
        "  groq: {hidden_limits: [{metric: requests, amount: 1}], flaky: {share: 2}}\nload: [{count: 1, teir: x}]\n"
    )
    with pytest.raises(CatalogError) as failed:
        load_scenario(path)
    assert [(p.line, p.column, p.code) for p in failed.value.problems] == [
        (3, 20, "unknown-provider"),
        (4, 21, "unknown-field"),
        (6, 26, "bad-limit"),
        (6, 73, "invalid-value"),
        (7, 19, "unknown-field"),
    ]
    assert all(p.file == str(path) and p.source for p in failed.value.problems)


@pytest.mark.parametrize("text", DEEP, ids=NAMES)
def test_too_many_levels_are_told_with_their_place(tmp_path, text):
    path = tmp_path / "deep.yaml"
    path.write_text(text[:1_000_000])
    with pytest.raises(SpecError) as failed:
        load_scenario(path)
    (problem,) = failed.value.problems
    assert (problem.line, problem.column) == DEEP[text]
    assert problem.message == "the file has more than 50 levels"


def test_a_name_that_leads_nowhere_gets_a_hint(tmp_path):
    def hint(source):
        with pytest.raises(SpecError) as failed:
            load_scenario(source)
        (problem,) = failed.value.problems
        return problem.hint or problem.message

    assert hint("outag") == "did you mean 'outage'?"
    assert "shipped are agents-split, availability" in hint(str(tmp_path / "none.yaml"))
    assert "cannot read the file" in hint(tmp_path)


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
