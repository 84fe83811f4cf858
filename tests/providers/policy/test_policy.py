"""The built-in policy, the user's, and what is wrong with one."""

from __future__ import annotations

import re
from pathlib import Path
from types import MappingProxyType

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog.file import load_catalog
from providers.catalog.model import Catalog
from providers.documents.problems import SpecError
from providers.documents.quantities import parse_duration, parse_share
from providers.errors import CatalogError
from providers.messages import Capability
from providers.policy.environment import with_environment
from providers.policy.model import AgentPolicy, DailyBudget, Timeouts
from providers.policy.parse import default_policy, parse_policy
from providers.policy.shapes import PolicyShape
from providers.windows import Paced, Rolling

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT.parent / "shared/design/examples/agent_routing.yaml"
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none(), inner, max_size=3)
    ),
)
GROQ = "groq/openai/gpt-oss-20b"
ONLY_GROQ = {"environment": "production", "only": {"production": ["groq"]}}
LAB = {"dialect": "openai-chat", "base_url": "http://127.0.0.1:9/v1", "models": {"m": {"context": 8, "max_output": 4}}}


class Here(dict):
    pass


class Lines(list):
    pass


class Line(str):
    __slots__ = ()


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def problems(catalog: Catalog, data: object) -> dict[str, str]:
    with pytest.raises(CatalogError) as failed:
        parse_policy(data, catalog)
    return {".".join(map(str, p.path)): f"{p.message} {p.hint}" for p in failed.value.problems}


def read(path: Path) -> object:
    return yaml.safe_load(path.read_text("utf-8"))


class TestDuration:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("500ms", 0.5),
            ("5s", 5),
            ("10m", 600),
            ("2h", 7200),
            ("3d", 259200),
            ("1.5 h", 5400),
            ("7", 7),
            (7, 7),
            (0.25, 0.25),
            (0, 0),
        ],
    )
    def test_seconds(self, text, seconds):
        assert parse_duration(text) == pytest.approx(seconds)

    @pytest.mark.parametrize(
        "text",
        [
            "",
            "s",
            "5 sec",
            "-1s",
            "1h30m",
            "٥s",
            "1e3",
            "inf",
            "nan",
            None,
            True,
            [5],
            -1,
            float("nan"),
            float("inf"),
            10**400,
            "9" * 400,
        ],
    )
    def test_what_is_none(self, text):
        with pytest.raises(ValueError, match="is not a duration: write 500ms"):
            parse_duration(text)

    @given(JSON)
    def test_never_anything_else(self, value):
        try:
            assert parse_duration(value) >= 0
        except ValueError as error:
            assert len(str(error)) < 150  # noqa: PT017  # either ending is right


class TestShare:
    @pytest.mark.parametrize(
        ("text", "share"), [("20%", 0.2), ("0%", 0), ("100 %", 1), ("12.5%", 0.125), (0.2, 0.2), (1, 1)]
    )
    def test_shares(self, text, share):
        assert parse_share(text) == pytest.approx(share)

    @pytest.mark.parametrize("text", ["20", "101%", 20, -0.1, True, None, "-1%", float("nan")])
    def test_what_is_none(self, text):
        with pytest.raises(ValueError, match="is not a share"):
            parse_share(text)


class TestBuiltIn:
    def test_first_choices(self, catalog):
        tiers = default_policy(catalog).tiers
        assert {name: names[0] for name, names in tiers.items()} == {
            "boss": "groq/openai/gpt-oss-120b",
            "worker": "cerebras/gpt-oss-120b",
            "creative": "gemini/gemini-3.1-flash-lite",
            "fallback": "openrouter/auto",
        }
        assert tiers["fallback"][-2:] == ("local/*", "ollama/*")

    def test_affinity(self, catalog):
        policy = default_policy(catalog)
        of = {tier: {who for who, theirs in policy.affinity.items() if theirs == tier} for tier in policy.tiers}
        assert of["boss"] == {"analyst", "pm", "architect"}
        assert of["worker"] == {"dev", "sm", "tea"}
        assert of["creative"] == {"tech-writer", "ux-designer"}
        assert policy.default == AgentPolicy(tier="worker")
        assert policy.last_resort == ("fallback",)

    def test_any_one_key_serves_every_tier_with_tools(self, catalog):
        policy = default_policy(catalog)
        hosted = {name for name, row in catalog.providers.items() if row.hosted}
        for tier, names in policy.tiers.items():
            found = [catalog.find(name) for name in names if not name.endswith("/*")]
            assert {provider.name for provider, _ in found} == hosted, tier
            assert all(Capability.TOOLS in model.capabilities for _, model in found), tier

    def test_default_numbers(self, catalog):
        policy = default_policy(catalog)
        assert policy.factors == {"cost": 30, "quota": 20, "health": 30, "latency": 10, "task": 15, "environment": 20}
        assert policy.timeouts == Timeouts()
        assert (policy.attempts_per_turn, policy.retry_budget, policy.on_break) == (4, 0.2, "error")
        assert policy.budget == DailyBudget()


class TestUsersFile:
    @pytest.mark.skipif(not REFERENCE.exists(), reason="the reference policy is not beside this checkout")
    def test_the_reference_loads(self, catalog):
        policy, wider = parse_policy(read(REFERENCE), catalog)
        assert policy.agents["pricing"].chain[0] == "openrouter/cohere/command-r-plus"
        assert policy.agents["dev"] == AgentPolicy(tier="worker", task_type="code")
        assert policy.budget == DailyBudget(5_000_000, (0.5, 0.8, 1.0))
        assert policy.task_types == {"code": ("openai",), "research": ("gemini",)}
        assert [limit.window for limit in wider.providers["groq"].limits[-2:]] == [Rolling(60), Paced(0.5)]
        assert [c.name for c in wider.candidates({"LAB_API_KEY": "k"})] == ["lab/small"]

    def test_our_example_loads(self, catalog):
        policy, _ = parse_policy(read(ROOT / "examples/agent_routing.yaml"), catalog)
        assert policy.timeouts == Timeouts(5, 10, 30, 120)
        assert policy.budget == DailyBudget(2_500_000, (0.5, 0.9))

    def test_caps_on_money(self, catalog):
        budget = {
            "max_cost_per_day": 5,
            "providers": {"openai": 2.5},
            "models": {"openai/gpt-6-luna": 0.1},
            "timezone": "Europe/Berlin",
            "unknown_price": "allow",
            "webhook_env": "HOOK",
        }
        policy, _ = parse_policy({"budget": budget}, catalog)
        assert policy.budget == DailyBudget(
            5_000_000,
            (0.5, 0.8, 1.0),
            {"openai": 2_500_000},
            {"openai/gpt-6-luna": 100_000},
            "Europe/Berlin",
            "allow",
            "HOOK",
        )

    def test_a_url_in_place_of_its_variable_is_not_repeated(self, catalog):
        with pytest.raises(CatalogError) as caught:
            parse_policy({"budget": {"max_cost_per_day": 1, "webhook_env": "https://hooks.test/s3cret"}}, catalog)
        assert "BUDGET_WEBHOOK_URL" in str(caught.value)
        assert "s3cret" not in str(caught.value)

    def test_the_documentations_examples_load(self, catalog):
        blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/guides/routing.md").read_text("utf-8"), re.DOTALL)
        policy, _ = parse_policy(
            {key: value for text in blocks for key, value in yaml.safe_load(text).items()}, catalog
        )
        assert [len(agent.chain) for agent in policy.agents.values()] == [0, 2, 4, 0]
        assert policy.only["development"] == ("local", "ollama")

    def test_one_section_leaves_the_others_built_in(self, catalog):
        policy, _ = parse_policy({"environment": "development", "factors": {"cost": 0}, "agents": None}, catalog)
        assert policy.tiers == default_policy(catalog).tiers
        assert (policy.factors["cost"], policy.factors["quota"]) == (0, 20)

    def test_a_file_with_tiers_asks_nobody_else(self, catalog):
        policy, _ = parse_policy({"tiers": {"private": ["local/*"], "boss": ["openai/gpt-6-luna"]}}, catalog)
        assert policy.tiers == {"private": ("local/*",), "boss": ("openai/gpt-6-luna",)}
        assert policy.default == AgentPolicy(tier="private")
        assert policy.last_resort == ()
        assert set(policy.affinity.values()) == {"boss"}

    def test_naming_the_stub_switches_it_on(self, catalog):
        _, wider = parse_policy({"tiers": {"t": ["stub/*"]}}, catalog)
        assert [c.name for c in wider.candidates({})] == ["stub/stub"]
        assert catalog.candidates({}) == ()

    def test_naming_a_local_server_does_not(self, catalog):
        _, wider = parse_policy({"tiers": {"t": ["local/*"]}}, catalog)
        assert wider.candidates({}) == ()

    def test_a_server_of_any_model_serves_what_is_named(self, catalog):
        data = {"tiers": {"t": ["ollama/qwen3:8b"]}, "providers": {"ollama": {"base_url": "http://127.0.0.1:9/v1"}}}
        _, wider = parse_policy(data, catalog)
        assert [(c.name, c.model.context) for c in wider.candidates({})] == [
            ("ollama/gpt-oss:20b", 4096),
            ("ollama/qwen3:8b", 4096),
        ]

    def test_names_are_spelt_as_candidates_are(self, catalog):
        policy, _ = parse_policy({"tiers": {"t": ["openrouter/openrouter/auto"]}}, catalog)
        assert policy.tiers["t"] == ("openrouter/auto",)

    def test_any_mapping_will_do(self, catalog):
        policy, _ = parse_policy(MappingProxyType({"strategy": "latency"}), catalog)
        assert policy.strategy == "latency"

    def test_a_reader_may_keep_positions_on_its_values(self, catalog):
        """A strict reader's own kinds of dict, list and str, which know their line, are what they derive from."""
        data = Here(
            {Line("tiers"): Here({Line("t"): Lines([Line("lab/m")])}), Line("providers"): Here({"lab": Here(LAB)})}
        )
        policy, wider = parse_policy(data, catalog)
        assert policy.tiers == {"t": ("lab/m",)}
        assert wider.find("lab/m")


class TestChains:
    def test_a_chain_may_name_its_members_by_rank(self, catalog):
        ranked = {"last_resort": "openrouter/auto", "secondary": "openai/gpt-6-luna", "primary": GROQ}
        policy, _ = parse_policy({"agents": {"a": {"chain": ranked}}, "default": {"chain": {"primary": GROQ}}}, catalog)
        assert policy.agents["a"].chain == (GROQ, "openai/gpt-6-luna", "openrouter/auto")
        assert policy.default.chain == (GROQ,)

    def test_checks_are_every_minute_where_nothing_else_is_said(self, catalog):
        policy, _ = parse_policy({"checks": {"providers": ["local", "groq"]}}, catalog)
        assert (policy.checks.every, policy.checks.providers) == (60, ("local", "groq"))
        assert default_policy(catalog).checks is None

    def test_an_agent_may_have_one_model_and_nobody_else(self, catalog):
        policy, _ = parse_policy({"agents": {"a": {"model": "openrouter/openrouter/auto"}}}, catalog)
        assert policy.agents["a"] == AgentPolicy(model="openrouter/auto")


class TestProblems:
    @pytest.mark.parametrize(
        ("data", "where", "text"),
        [
            ({"tires": {}}, "tires", "did you mean 'tiers'?"),
            ({"version": 2}, "version", "is one of 1"),
            ({"strategy": "tiers"}, "strategy", "did you mean 'tier'?"),
            ({"strategy": "weighted"}, "weights", "over 0"),
            ({"strategy": "weighted", "weights": {"groq": 0}}, "weights", "over 0"),
            ({"strategy": "chain"}, "strategy", "needs a chain"),
            ({"tiers": {}}, "tiers", "is empty"),
            ({"tiers": {"t": []}}, "tiers.t", "is empty"),
            ({"tiers": {"t": ["groq"]}}, "tiers.t.0", "write provider/model"),
            ({"tiers": {"t": ["groq/"]}}, "tiers.t.0", "write provider/model"),
            ({"tiers": {"t": ["grok/x"]}}, "tiers.t.0", "did you mean 'groq'?"),
            ({"tiers": {"t": ["groq/gpt-oss-120b"]}}, "tiers.t.0", "did you mean 'groq/openai/gpt-oss-120b'?"),
            ({"tiers": {"t": ["groq/*", "groq/openai/gpt-oss-20b"]}}, "tiers.t.1", "never reached"),
            ({"tiers": {"t": ["openrouter/*", "openrouter/auto"]}}, "tiers.t.1", "never reached"),
            ({"tiers": {"t": ["groq/*", "groq/openai/gpt-oss-20b#2"]}}, "tiers.t.1", "never reached"),
            ({"tiers": {"t": ["openrouter/auto", "openrouter/auto#2"]}}, "tiers.t.1", "never reached"),
            ({"tiers": {"t": ["openrouter/auto", "openrouter/openrouter/auto"]}}, "tiers.t.1", "never reached"),
            ({"agents": {"a": {"tier": "bos"}}}, "agents.a.tier", "did you mean 'boss'?"),
            ({"agents": {"a": {"chain": []}}}, "agents.a.chain", "is empty"),
            (
                {"agents": {"a": {"chain": ["openai/gpt-5.6-lunar"]}}},
                "agents.a.chain.0",
                "did you mean 'openai/gpt-5.6-luna'?",
            ),
            ({"affinity": {"a": "creativ"}}, "affinity.a", "did you mean 'creative'?"),
            ({"default": {}}, "default", "needs a tier, a model or a chain"),
            ({"default": {"tier": "x"}}, "default.tier", "no tier is called 'x'"),
            ({"last_resort": ["fallbacks"]}, "last_resort.0", "did you mean 'fallback'?"),
            ({"weights": {"antropic": 1}}, "weights.antropic", "did you mean 'anthropic'?"),
            ({"weights": {"groq": -1}}, "weights.groq", "greater than or equal to 0"),
            ({"weights": {"groq": float("nan")}}, "weights.groq", "finite"),
            ({"task_types": {"code": {"prefer": ["openia"]}}}, "task_types.code.prefer.0", "did you mean 'openai'?"),
            ({"factors": {"costs": 1}}, "factors.costs", "did you mean 'cost'?"),
            ({"timeouts": {"total": "soon"}}, "timeouts.total", "is not a duration"),
            ({"timeouts": {"total": 0}}, "timeouts.total", "more than 0"),
            ({"attempts": {"retry_budget": "200%"}}, "attempts.retry_budget", "is not a share"),
            ({"attempts": {"per_turn": 0}}, "attempts.per_turn", "greater than or equal to 1"),
            ({"attempts": {"per_turn": True}}, "attempts.per_turn", "a whole number"),
            ({"budget": {"alert_at": [50]}}, "budget.alert_at.0", "is not a share"),
            ({"budget": {"max_cost_per_day": float("inf")}}, "budget.max_cost_per_day", "finite"),
            ({"budget": {"alert_at": ["0%"]}}, "budget.alert_at.0", "before anything is spent"),
            ({"budget": {"providers": {"opnai": 1}}}, "budget.providers.opnai", "did you mean 'openai'?"),
            ({"budget": {"models": {"openai/*": 1}}}, "budget.models.openai/*", "names several models"),
            ({"budget": {"models": {"openai/gpt-6-lun": 1}}}, "budget.models.openai/gpt-6-lun", "gpt-6-luna"),
            ({"budget": {"max_cost_per_day": 1, "providers": {"openai": 2}}}, "budget.providers.openai", "is less"),
            (
                {"budget": {"providers": {"openai": 1}, "models": {"openai/gpt-6-luna": 2}}},
                "budget.models.openai/gpt-6-luna",
                "is less",
            ),
            ({"budget": {"max_cost_per_day": 1, "timezone": "Mars/Base"}}, "budget.timezone", "Europe/Berlin"),
            ({"budget": {"webhook_env": "HOOK"}}, "budget.webhook_env", "there is no cap, so there are no alerts"),
            ({"budget": {"webhook_secret_env": "X"}}, "budget.webhook_secret_env", "there is no 'webhook_env'"),
            ({"stream": {"on_break": "retry"}}, "stream.on_break", "restart"),
            ({"default": {"tier": "boss", "chain": ["groq/*"]}}, "default.tier", "is never read"),
            ({"agents": {"a": {"tier": "boss", "chain": ["groq/*"]}}}, "agents.a.tier", "is never read"),
            ({"agents": {"dev": {"tier": "boss"}}, "affinity": {"dev": "worker"}}, "affinity.dev", "never read"),
            ({"agents": {"a": {"model": "groq/*"}}}, "agents.a.model", "names several models"),
            ({"agents": {"a": {"model": "groq/x"}}}, "agents.a.model", "serves no model 'x'"),
            ({"agents": {"a": {"model": GROQ, "tier": "boss"}}}, "agents.a.tier", "the model next to it counts"),
            ({"agents": {"a": {"model": GROQ, "chain": ["openai/*"]}}}, "agents.a.chain", "model next to it"),
            (
                {"agents": {"a": {"task_type": "cod"}}, "task_types": {"code": {"prefer": ["groq"]}}},
                "agents.a.task_type",
                "did you mean 'code'?",
            ),
            ({"tiers": {"t": ["tier:boss"]}}, "tiers.t.0", "write provider/model"),
            ({"checks": {"providers": ["locall"]}}, "checks.providers.0", "did you mean 'local'?"),
            ({"checks": {"providers": ["local", "stub"]}}, "checks.providers.1", "nothing to check"),
            ({"checks": {"providers": ["local", "local"]}}, "checks.providers.1", "twice"),
            ({"checks": {"every": "1ms", "providers": ["local"]}}, "checks.every", "greater than or equal to 1"),
            ({"agents": {"a": {"chain": {"secondary": GROQ}}}}, "agents.a.chain.primary", "a chain needs 'primary'"),
            (
                {"agents": {"a": {"chain": {"primary": GROQ, "tertiary": "openai/*"}}}},
                "agents.a.chain",
                "has a tertiary and no secondary",
            ),
            (
                {"default": {"chain": {"primary": GROQ, "first": "x"}}},
                "default.chain.first",
                "is not a field of a chain",
            ),
            (
                {"agents": {"a": {"chain": {"last_resort": "groq/x", "primary": GROQ}}}},
                "agents.a.chain.last_resort",
                "serves no model 'x'",
            ),
            (
                {"default": {"chain": {"primary": GROQ, "secondary": "openai/*", "last_resort": GROQ}}},
                "default.chain.last_resort",
                "is never reached",
            ),
            ({"default": {"chain": {"primary": None}}}, "default.chain.primary", "takes text, not nothing"),
            ({"only": {"development": ["locall"]}}, "only.development.0", "did you mean 'local'?"),
            ({"only": {"staging": ["local"]}}, "only.staging", "one of production, development"),
            ({"only": {"development": []}}, "only.development", "is empty"),
            ({"only": {"development": ["local", "ollama", "local"]}}, "only.development.2", "twice"),
            ({"only": {"development": ["stub"]}}, "only.development", "no provider is left to be asked"),
            (
                ONLY_GROQ | {"tiers": {"boss": ["openai/*", "local/*"], "worker": ["groq/*"]}},
                "tiers.boss",
                "no model of this is ever asked: in production only groq may be",
            ),
            (ONLY_GROQ | {"default": {"chain": ["openai/*"]}}, "default.chain", "no model of this is ever asked"),
            (ONLY_GROQ | {"agents": {"a": {"model": "openai/gpt-6-luna"}}}, "agents.a.model", "no model of this"),
            ({"attempts": {"hedge_after": "2m"}}, "attempts.hedge_after", "total of timeouts is not more"),
            ({"attempts": {"hedge_after": "2s", "per_turn": 1}}, "attempts.hedge_after", "no second attempt"),
            ({"attempts": {"per_turn": 1}, "stream": {"on_break": "restart"}}, "stream.on_break", "no second attempt"),
            (
                {"environment": "production", "only": {"development": ["local"]}},
                "only.development",
                "is never read: the environment is production",
            ),
            ({"last_resort": ["fallback", "boss", "fallback"]}, "last_resort.2", "never reached"),
            ({"timeouts": {"first_token": "3m", "total": "2m"}}, "timeouts.first_token", "total is less"),
            (
                {"strategy": "weighted", "weights": {"groq": 0, "openai": 1}, "tiers": {"t": ["groq/*"]}},
                "tiers.t",
                "no model of the tier 't' is ever asked",
            ),
            (
                {
                    "tiers": {"t": ["lab/m"]},
                    "providers": {"lab": {**LAB, "models": {"m": {"context": 5, "max_output": 1}}}},
                },
                "tiers.t.0",
                "no request fits",
            ),
            ({"providers": {"groq": {"dialect": "openai"}}}, "providers.groq.dialect", "openai-chat"),
        ],
    )
    def test_each_is_told_where_it_stands(self, catalog, data, where, text):
        found = problems(catalog, data)
        assert found.keys() == {where}
        assert text in found[where]

    @pytest.mark.parametrize(
        "data",
        [
            {"agents": {"dev": {"task_type": "code"}}, "affinity": {"dev": "boss"}},
            {"tiers": {"t": ["ollama/m", "ollama/n"]}},
            {"tiers": {"t": ["openrouter/auto#2", "openrouter/auto#3", "openrouter/auto"]}},
            {"timeouts": {"total": "5s"}},
            {"timeouts": {"first_token": "30s", "total": "30s"}},
            {"weights": {"groq": 0}, "tiers": {"t": ["groq/*"]}},
            {"strategy": "weighted", "weights": {"groq": 0, "openai": 1}},
            {"task_types": {"code": {"prefer": ["openai"]}}, "tiers": {"t": ["groq/*"]}},
            {"task_types": {"code": {"prefer": ["openai"]}}, "agents": {"a": {"task_type": "speed"}}},
            {"only": {"development": ["local", "ollama"], "production": ["openai"]}},
            {"environment": "development", "only": {"development": ["local"]}},
            {"environment": "development", "only": {"development": ["lab"]}, "tiers": {"t": ["lab/*"]}}
            | {"providers": {"lab": LAB}},
        ],
    )
    def test_no_false_alarms(self, catalog, data):
        parse_policy(data, catalog)

    def test_an_object_that_no_file_could_hold_is_named_by_its_class(self, catalog):
        found = problems(catalog, {"tiers": {"t": [object()]}, "ledger": {1, 2}})
        assert found["tiers.t.0"].strip() == "'t' takes text, not an object put it in quotes"
        assert found["ledger"].startswith("'ledger' takes text, not a set")

    def test_a_mapping_that_holds_itself_is_refused(self, catalog):
        endless: dict[str, object] = {}
        endless["tiers"] = endless
        with pytest.raises(SpecError, match="the data has more than 50 levels"):
            parse_policy(endless, catalog)

    def test_all_at_once(self, catalog):
        found = problems(
            catalog,
            {
                "tires": 1,
                "tiers": {"a": [], "b": ["grok/x"]},
                "agents": {"x": {"tier": "a"}, "y": {"teir": "b"}, "z": {"tier": "c"}},
                "weights": {"groq": -1, "grok": 1},
                "timeouts": {"total": "soon"},
                "providers": {"lab": {}, "groq": {"base_url": "nowhere"}},
            },
        )
        assert found.keys() == {
            "tires",
            "tiers.a",
            "tiers.b.0",
            "agents.y.teir",
            "agents.z.tier",
            "weights.groq",
            "weights.grok",
            "timeouts.total",
            "providers.lab.dialect",
            "providers.lab.base_url",
            "providers.lab.models",
            "providers.groq.base_url",
        }

    def test_a_broken_provider_is_told_once(self, catalog):
        data = {"tiers": {"t": ["lab/small", "lab/*"]}, "weights": {"lab": 1}, "providers": {"lab": {"dialekt": "x"}}}
        assert problems(catalog, data).keys() == {"providers.lab.dialekt"}
        data = {"tiers": {"t": ["groq/new"]}, "providers": {"groq": {"models": {"new": {"context": 8}}}}}
        assert problems(catalog, data).keys() == {"providers.groq.models.new.max_output"}

    @given(
        st.dictionaries(st.sampled_from(sorted(PolicyShape.model_fields)), JSON)
        | st.dictionaries(st.text() | st.integers(), JSON)
    )
    def test_no_mapping_breaks_it(self, catalog, data):
        try:
            policy, _ = parse_policy(data, catalog)
        except CatalogError as error:
            assert error.problems  # noqa: PT017  # either ending is right
        else:
            assert policy.tiers


class TestEnvironment:
    def under(self, catalog, policy=None, **environ):
        policy = default_policy(catalog) if policy is None else policy
        return with_environment(policy, catalog, environ)

    def test_nothing_said_changes_nothing(self, catalog):
        policy = default_policy(catalog)
        assert self.under(catalog, policy, GROQ_API_KEY="k", MODEL_PROVIDER=" ") == (policy, catalog)

    def test_a_providers_model_stands_wherever_a_tier_names_the_provider(self, catalog):
        policy, _ = self.under(catalog, GROQ_MODEL="qwen/qwen3.8-27b")
        for names in policy.tiers.values():
            assert [name for name in names if name.startswith("groq/")] == ["groq/qwen/qwen3.8-27b"]

    def test_chains_stay_as_they_are_written(self, catalog):
        policy, catalog = parse_policy({"agents": {"a": {"chain": ["groq/openai/gpt-oss-20b"]}}}, catalog)
        policy, _ = self.under(catalog, policy, GROQ_MODEL="qwen/qwen3.8-27b", MODEL_PROVIDER="openai")
        assert policy.agents["a"].chain == ("groq/openai/gpt-oss-20b",)

    def test_the_model_provider_leads(self, catalog):
        assert self.under(catalog, MODEL_PROVIDER="groq")[0].lead == "groq/*"
        assert self.under(catalog, MODEL_PROVIDER="openai", OPENAI_MODEL="gpt-6-luna")[0].lead == "openai/gpt-6-luna"

    def test_a_server_of_any_model_serves_what_is_named(self, catalog):
        policy, wider = self.under(catalog, OLLAMA_MODEL="qwen3:8b")
        assert policy.tiers["fallback"][-1] == "ollama/qwen3:8b"
        assert wider.find("ollama/qwen3:8b")

    @pytest.mark.parametrize(
        ("environ", "where", "text"),
        [
            ({"MODEL_PROVIDER": "grok"}, "environment.MODEL_PROVIDER", "did you mean 'groq'?"),
            ({"OPENAI_MODEL": "gpt-6-lunar"}, "environment.OPENAI_MODEL", "did you mean 'openai/gpt-6-luna'?"),
        ],
    )
    def test_what_does_not_exist_is_named_with_its_variable(self, catalog, environ, where, text):
        with pytest.raises(CatalogError) as failed:
            self.under(catalog, **environ)
        (problem,) = failed.value.problems
        assert ".".join(map(str, problem.path)) == where
        assert text in problem.hint

    @pytest.mark.parametrize(
        ("written", "environ", "is_"),
        [
            ("auto", {}, "auto"),
            ("auto", {"ENVIRONMENT": "Prod"}, "production"),
            ("auto", {"ORCHESTRATOR_ENV": "dev", "ENVIRONMENT": "production"}, "development"),
            ("auto", {"ENVIRONMENT": "staging"}, "auto"),
            ("production", {"ORCHESTRATOR_ENV": "dev"}, "production"),
        ],
    )
    def test_where_this_runs(self, catalog, written, environ, is_):
        policy, _ = parse_policy({"environment": written}, catalog)
        assert self.under(catalog, policy, **environ)[0].environment == is_
