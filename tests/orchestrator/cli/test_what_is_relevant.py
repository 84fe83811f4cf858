"""Messages about providers name those that are set up, or a few that could be; not all that exist."""

from __future__ import annotations

import pytest

from orchestrator.errors import NoProvider
from providers.errors import NoRoute, Reason, ReasonCode, in_short

SQUAD = "name: s\nagents: {mary: {persona: analyst}}\ntasks: {one: {agent: mary, description: Hi.}}\n"
LAB = """\
providers:
  lab:
    dialect: openai-chat
    base_url: https://lab.test/v1
    api_key_env: LAB_KEY
    models: {m: {context: 90000, max_output: 900}}
"""


def test_without_any_provider_the_first_ways_are_told_and_ones_own_stand_first(call, folder):
    (folder / "s.yaml").write_text(SQUAD)
    told = call("run", "s.yaml").err
    assert len(told.splitlines()) <= 8
    assert "OPENAI_API_KEY" in told
    assert "others: `orchestrator providers ls` lists them" in told
    (folder / "agent_routing.yaml").write_text(LAB)
    assert "\n  lab: no key: set LAB_KEY\n" in call("ask", "hi").err


def test_beside_a_provider_that_is_set_up_the_others_are_a_number():
    reasons = {
        "a/m": Reason(ReasonCode.NO_KEY, "no key: set A"),
        "lab/m": Reason(ReasonCode.TRIED, "asked before in this turn"),
        "b/m": Reason(ReasonCode.NOT_CONFIGURED, "not switched on: set B"),
    }
    assert in_short(reasons) == "lab/m: asked before in this turn; 2 further models not set up"
    assert "2 further models not set up" in str(NoRoute(reasons))


def test_where_none_is_set_up_a_few_say_what_they_need():
    reasons = {f"p{i}/m": Reason(ReasonCode.NO_KEY, f"no key: set P{i}") for i in range(13)}
    assert str(NoRoute(reasons)).count("no key: set P") == 3
    assert str(NoProvider(reasons)).count("no key: set P") == 4


def test_explain_names_the_refusals_of_the_providers_that_were_asked(call, folder, loopback):
    lab = LAB.replace("https://lab.test/v1", loopback.url("ok")).replace("    api_key_env: LAB_KEY\n", "")
    tier = "tiers: {boss: [openai/gpt-6-luna, groq/openai/gpt-oss-20b, gemini/*, mistral/*, nvidia/*, lab/m]}\n"
    (folder / "agent_routing.yaml").write_text(tier + lab)
    (folder / "s.yaml").write_text(SQUAD)
    assert call("run", "s.yaml").code == 0
    lines = [line for line in call("explain", "one").out.splitlines() if "refused:" in line]
    assert len(lines) == 4
    assert " more, of " in lines[-1]


@pytest.mark.parametrize("offline", [(), ("--offline",)])
@pytest.mark.parametrize("routing", [False, True])
def test_ask_suggests_the_nearest_tier_model_and_persona(call, folder, routing, offline):
    if routing:
        (folder / "agent_routing.yaml").write_text("tiers: {worker: [groq/openai/gpt-oss-20b]}\n")
    tier = call("ask", "--tier", "wrker", "hi", *offline)
    assert (tier.code, "no tier is called 'wrker' (did you mean 'worker'?)" in tier.err) == (2, True)
    model = call("ask", "--model", "grq/x", "hi", *offline)
    assert (model.code, "did you mean 'groq'?" in model.err) == (2, True)
    persona = call("ask", "--agent", "analist", "hi", *offline)
    assert (persona.code, "did you mean 'analyst'?" in persona.err) == (2, True)
