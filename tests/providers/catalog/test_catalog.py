"""The packaged catalog, overlays, and what the environment makes of them."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields, replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog.file import lay_over, load_catalog, overlay
from providers.catalog.model import Catalog, Limit, Price
from providers.catalog.quirks import Quirks
from providers.catalog.shapes import ProviderShape, QuirksShape
from providers.documents.findings import Findings
from providers.documents.nodes import tree_of
from providers.errors import CatalogError
from providers.messages import Capability, Usage
from providers.windows import Calendar, Fixed, Paced, Rolling

HOSTED = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "groq": "GROQ_API_KEY",
    "cerebras": "CEREBRAS_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "nvidia": "NVIDIA_API_KEY",
    "cloudflare": "CLOUDFLARE_API_TOKEN",
    "deepseek": "DEEPSEEK_API_KEY",
    "together": "TOGETHER_API_KEY",
}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none(), inner, max_size=3)
    ),
)
NEW = {"dialect": "openai-chat", "base_url": "http://127.0.0.1:9/v1", "models": {"m": {"context": 8, "max_output": 4}}}
MODEL = "openai/gpt-oss-120b"


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return load_catalog()


def problems(catalog: Catalog, rows: object) -> dict[str, str]:
    with pytest.raises(CatalogError) as failed:
        overlay(catalog, rows)
    return {".".join(map(str, p.path)): f"{p.message} {p.hint}" for p in failed.value.problems}


def opened(catalog: Catalog, environ: dict[str, str]) -> set[str]:
    return {candidate.provider.name for candidate in catalog.candidates(environ)}


class TestPackagedRows:
    def test_holds_every_provider(self, catalog):
        assert set(catalog.providers) == {*HOSTED, "local", "ollama", "stub"}
        assert {name for name, row in catalog.providers.items() if row.hosted} == set(HOSTED)

    def test_every_fact_has_a_source_and_a_date(self, catalog):
        for row in catalog.providers.values():
            prices = [model.price for model in row.models.values() if model.price]
            assert row.source
            assert row.as_of
            assert all(fact.source and fact.as_of for fact in [*prices, *row.limits]), row.name

    def test_unknown_prices_are_absent_not_zero(self, catalog):
        assert all(model.price is None for model in catalog.providers["nvidia"].models.values())
        _, auto = catalog.find("openrouter/auto")
        assert auto.price is None

    @pytest.mark.parametrize(
        ("provider", "quirk", "value"),
        [
            ("mistral", "max_tokens_field", "max_tokens"),
            ("mistral", "seed_field", "random_seed"),
            ("mistral", "stream_options", False),
            ("mistral", "tool_ids", "alnum9"),
            ("local", "tool_ids", "template"),
            ("deepseek", "json_mode", "object"),
            ("anthropic", "default_max_tokens", 8192),
            ("anthropic", "sampling", False),
            ("openai", "sampling", False),
            ("cerebras", "default_max_tokens", 4096),
            ("cloudflare", "default_max_tokens", 4096),
        ],
    )
    def test_quirks(self, catalog, provider, quirk, value):
        assert getattr(catalog.providers[provider].quirks, quirk) == value

    def test_openai_sends_its_own_token_field(self, catalog):
        own = Quirks(sampling=False, gives_way={"effort": ["tools"]}, effort_off="none", base64_vectors=True)
        assert catalog.providers["openai"].quirks == own

    def test_a_file_can_set_every_quirk(self):
        assert set(QuirksShape.model_fields) == {field.name for field in fields(Quirks)}

    def test_a_spacing_is_a_paced_limit(self, catalog):
        paced = [limit for limit in catalog.providers["mistral"].limits if isinstance(limit.window, Paced)]
        assert [(limit.metric, limit.amount, limit.window) for limit in paced] == [("requests", 1, Paced(1))]

    def test_geminis_day_ends_at_midnight_pacific(self, catalog):
        (day,) = [limit for limit in catalog.providers["gemini"].limits if isinstance(limit.window, Calendar)]
        assert (day.metric, day.amount, day.window) == ("requests", 500, Calendar("day", "America/Los_Angeles"))


class TestNames:
    def test_a_wire_name_that_names_its_provider_is_not_prefixed_twice(self, catalog):
        names = [candidate.name for candidate in catalog.candidates({"OPENROUTER_API_KEY": "k"})]
        assert "openrouter/auto" in names
        assert "openrouter/openai/gpt-oss-120b" in names

    @pytest.mark.parametrize("name", ["openrouter/auto", "openrouter/openrouter/auto"])
    def test_both_spellings_find_the_wire_name(self, catalog, name):
        provider, model = catalog.find(name)
        assert (provider.name, model.name) == ("openrouter", "openrouter/auto")

    @pytest.mark.parametrize("name", ["", "groq", "groq/", "groq/none", "none/openai/gpt-oss-120b", "/"])
    def test_what_is_not_there_is_not_found(self, catalog, name):
        assert catalog.find(name) is None

    def test_every_listed_name_is_found(self, catalog):
        names = list(catalog.names())
        assert len(names) == len(set(names))
        assert all(catalog.find(name) for name in names)


class TestEnvironment:
    def test_nothing_is_configured_without_a_key(self, catalog):
        assert catalog.candidates({}) == ()
        assert set(catalog.unconfigured({})) == set(catalog.providers)
        assert str(catalog.unconfigured({})["groq"]) == "no key: set GROQ_API_KEY"

    @pytest.mark.parametrize(("provider", "variable"), HOSTED.items())
    def test_one_key_opens_one_provider(self, catalog, provider, variable):
        environ = {variable: " a-key\n", "CLOUDFLARE_ACCOUNT_ID": "acc"}
        found = catalog.candidates(environ)
        assert {candidate.provider.name for candidate in found} == {provider}
        assert {candidate.key for candidate in found} == {"a-key"}
        assert len(found) == len(catalog.providers[provider].models)
        assert set(catalog.unconfigured(environ)) == set(catalog.providers) - {provider}

    def test_the_generic_variable_is_read_too(self, catalog):
        environ = {"CLOUDFLARE_API_KEY": "k", "CLOUDFLARE_ACCOUNT_ID": "acc"}
        assert opened(catalog, environ) == {"cloudflare"}

    @pytest.mark.parametrize("blank", ["", "  ", "\n"])
    def test_a_blank_key_is_no_key(self, catalog, blank):
        assert catalog.candidates({"GROQ_API_KEY": blank}) == ()

    @given(st.text(min_size=1), st.sampled_from(["\n", "\x00", "\x7f", "é", "\u200b", "“"]), st.text(min_size=1))
    def test_a_key_that_can_be_none_is_named_and_never_shown(self, catalog, before, odd, after):
        key = f"s3cret{before}{odd}{after}s3cret"
        with pytest.raises(CatalogError) as failed:
            catalog.candidates({"GROQ_API_KEY": key, "OPENAI_BASE_URL": "ftp://x"})
        assert [problem.path for problem in failed.value.problems] == [
            ("environment", "OPENAI_BASE_URL"),
            ("environment", "GROQ_API_KEY"),
        ]
        assert "s3cret" not in str(failed.value)

    def test_no_repr_shows_a_key(self, catalog):
        assert "s3cret" not in repr(catalog.candidates({"GROQ_API_KEY": "s3cret"}))

    def test_a_base_url_from_the_environment_wins(self, catalog):
        environ = {"GROQ_API_KEY": "k", "GROQ_BASE_URL": "http://127.0.0.1:9/v1/"}
        assert {c.provider.base_url for c in catalog.candidates(environ)} == {"http://127.0.0.1:9/v1"}

    @pytest.mark.parametrize("provider", ["local", "ollama"])
    def test_a_server_of_your_own_waits_for_its_address(self, catalog, provider):
        variable = f"{provider.upper()}_BASE_URL"
        assert str(catalog.unconfigured({})[provider]) == f"not switched on: set {variable}"
        assert opened(catalog, {variable: "http://127.0.0.1:9/v1"}) == {provider}
        assert opened(overlay(catalog, {provider: {"base_url": "http://127.0.0.1:9/v1"}}), {}) == {provider}
        assert opened(overlay(catalog, {provider: {"limits": []}}), {}) == set()

    def test_a_key_of_your_own_server_is_used_where_set(self, catalog):
        environ = {"LOCAL_BASE_URL": "http://127.0.0.1:9/v1"}
        assert [c.key for c in catalog.candidates(environ)] == [None]
        assert [c.key for c in catalog.candidates({**environ, "LOCAL_API_KEY": "k"})] == ["k"]

    def test_the_stub_answers_only_when_asked_for(self, catalog):
        assert "stub" in catalog.unconfigured({})
        assert [c.name for c in catalog.enable("stub").candidates({})] == ["stub/stub"]

    def test_the_account_stands_in_the_address(self, catalog):
        key = {"CLOUDFLARE_API_TOKEN": "k"}
        assert str(catalog.unconfigured(key)["cloudflare"]) == "no address: set CLOUDFLARE_ACCOUNT_ID"
        first, *_ = catalog.candidates({**key, "CLOUDFLARE_ACCOUNT_ID": "../a?b"})
        assert first.provider.base_url.endswith("/accounts/..%2Fa%3Fb/ai/v1")


class TestAccounts:
    def accounts(self, catalog: Catalog, environ: dict[str, str]) -> list[tuple[str, str | None, str | None]]:
        found = [c for c in catalog.candidates(environ) if c.model.name in (MODEL, "m", "@cf/openai/gpt-oss-120b")]
        return [(c.name, c.key, c.provider.key_env) for c in found]

    def test_numbered_keys_are_found_and_a_gap_ends_nothing(self, catalog):
        environ = {f"GROQ_API_KEY{end}": f"k{end}" for end in ("", "_2", "_4", "_10")}
        name = f"groq/{MODEL}"
        assert self.accounts(catalog, environ) == [
            (name, "k", "GROQ_API_KEY"),
            (f"{name}#2", "k_2", "GROQ_API_KEY_2"),
            (f"{name}#4", "k_4", "GROQ_API_KEY_4"),
            (f"{name}#10", "k_10", "GROQ_API_KEY_10"),
        ]

    def test_a_models_accounts_stand_side_by_side(self, catalog):
        names = [c.name for c in catalog.candidates({"GROQ_API_KEY": "a", "GROQ_API_KEY_2": "b"})]
        assert names[:4] == [f"groq/{MODEL}", f"groq/{MODEL}#2", "groq/openai/gpt-oss-20b", "groq/openai/gpt-oss-20b#2"]

    @pytest.mark.parametrize(
        ("environ", "keys"),
        [
            ({"GROQ_API_KEY_1": "a", "GROQ_API_KEY_2": "b"}, {1: "a", 2: "b"}),
            ({"GROQ_API_KEY": "a", "GROQ_API_KEY_1": "b"}, {1: "a"}),
            ({"GROQ_API_KEY": "", "GROQ_API_KEY_3": "c"}, {3: "c"}),
            ({"GROQ_API_KEY": "a", "GROQ_API_KEY_2": "a", "GROQ_API_KEY_3": " a "}, {1: "a"}),
            ({"GROQ_API_KEY": "a", "GROQ_API_KEY_02": "b", "GROQ_API_KEY_X": "c", "GROQ_API_KEY_100": "d"}, {1: "a"}),
        ],
    )
    def test_an_account_has_its_variables_number_and_a_key_counts_once(self, catalog, environ, keys):
        assert {c.account: c.key for c in catalog.candidates(environ)} == keys

    def test_a_list_names_the_accounts_and_no_other_is_looked_for(self, catalog):
        laid = overlay(catalog, {"groq": {"api_key_env": ["TEAM_KEY", "OWN_KEY"]}})
        assert str(laid.unconfigured({"GROQ_API_KEY": "k"})["groq"]) == "no key: set TEAM_KEY or OWN_KEY"
        environ = {"OWN_KEY": "b", "TEAM_KEY_2": "x", "GROQ_API_KEY_2": "y"}
        assert self.accounts(laid, environ) == [(f"groq/{MODEL}#2", "b", "OWN_KEY")]
        assert len(self.accounts(laid, {**environ, "TEAM_KEY": "a"})) == 2

    def test_the_address_of_an_account_may_be_its_own(self, catalog):
        environ = {"CLOUDFLARE_API_TOKEN": "a", "CLOUDFLARE_API_TOKEN_2": "b", "CLOUDFLARE_API_KEY_3": "c"}
        environ |= {"CLOUDFLARE_ACCOUNT_ID": "one", "CLOUDFLARE_ACCOUNT_ID_2": "two"}
        found = {c.key: c.provider.base_url.split("/")[-3] for c in catalog.candidates(environ)}
        assert found == {"a": "one", "b": "two", "c": "one"}

    def test_a_further_key_that_can_be_none_is_named_by_its_variable(self, catalog):
        with pytest.raises(CatalogError) as failed:
            catalog.candidates({"GROQ_API_KEY": "k", "GROQ_API_KEY_2": "s3crét"})
        assert [problem.path for problem in failed.value.problems] == [("environment", "GROQ_API_KEY_2")]
        assert "s3cr" not in str(failed.value)

    @pytest.mark.parametrize(
        ("row", "where", "said"),
        [
            ({"api_key": "gsk_abc"}, "api_key", "api_key_env names its variable"),
            ({"api_key_env": "gsk_abcdefGHIJKL0123456789"}, "api_key_env", "looks like a key"),
            ({"api_key_env": "sk-s3cret"}, "api_key_env", "is not the name of a variable"),
            ({"api_key_env": []}, "api_key_env", "is not the name of a variable"),
            ({"api_key_env": ["A", 1]}, "api_key_env", "is not the name of a variable"),
            ({"api_key_env": ["A", "A"]}, "api_key_env", "twice"),
            ({"models": {"m#2": {"context": 8, "max_output": 4}}}, "models.m#2", "ends as the name of an account"),
        ],
    )
    def test_what_cannot_be_is_told_without_a_key(self, catalog, row, where, said):
        found = problems(catalog, {"groq": row})
        assert found.keys() == {f"providers.groq.{where}"}
        assert said in found[f"providers.groq.{where}"]
        assert not any(word in str(found) for word in ("gsk_", "s3cret"))


class TestOverlay:
    def test_what_a_row_leaves_out_stays(self, catalog):
        groq = overlay(catalog, {"groq": {"quirks": {"sampling": False}}}).providers["groq"]
        own = Quirks(request_window=86400, gives_way={"schema": ["tools", "stream"]}, description_limit=None)
        assert groq.quirks == replace(own, sampling=False)
        assert groq.models == catalog.providers["groq"].models
        assert groq.key_env == "GROQ_API_KEY"
        assert catalog.providers["groq"].quirks == own

    def test_models_merge_field_by_field(self, catalog):
        rows = {"groq": {"models": {"openai/gpt-oss-20b": {"tools": False, "vision": True, "price": None}}}}
        model = overlay(catalog, rows).providers["groq"].models["openai/gpt-oss-20b"]
        assert model.capabilities == {Capability.JSON_SCHEMA, Capability.REASONING, Capability.VISION}
        assert (model.context, model.price) == (131072, None)

    def test_a_limit_replaces_the_one_on_the_same_thing(self, catalog):
        rows = {
            "nvidia": {
                "limits": [{"metric": "requests", "amount": 10, "window": 60}, {"metric": "requests", "spacing": "1m"}]
            }
        }
        assert overlay(catalog, rows).providers["nvidia"].limits == (
            Limit("requests", 10, Rolling(60)),
            Limit("requests", 1, Paced(60)),
        )

    def test_a_limit_on_a_calendar_replaces_the_one_of_as_long_a_window(self, catalog):
        row = {"metric": "requests", "amount": 9, "calendar": "day", "timezone": "America/Los_Angeles", "model": "m"}
        rows = {"lab": {**NEW, "limits": [{**row, "calendar": None, "window": "1d"}]}}
        laid = overlay(overlay(catalog, rows), {"lab": {"limits": [row]}})
        assert laid.providers["lab"].limits == (Limit("requests", 9, Calendar("day", "America/Los_Angeles"), "m"),)

    def test_a_pool_of_models_shares_a_limit(self, catalog):
        limit = {"metric": "total", "amount": 9, "window": "1h", "fixed": True, "pool": ["m"], "reserves": "input"}
        (found,) = overlay(catalog, {"lab": {**NEW, "limits": [limit]}}).providers["lab"].limits
        assert (found.window, found.pool, found.reserves) == (Fixed(3600), ("m",), "input")
        assert found.covers("m")
        assert not found.covers("other")

    @pytest.mark.parametrize(
        ("changed", "said"),
        [
            ({"timezone": "Europe/Berlim"}, "unknown timezone"),
            ({"calendar": "day"}, "has a window and a calendar"),
            ({"model": "m", "pool": ["m"]}, "for one model or for a pool"),
            ({"window": None}, "needs an amount and a window"),
            ({"amount": None, "window": None, "spacing": 1, "metric": "input"}, "only requests can be spaced"),
        ],
    )
    def test_a_limit_that_cannot_be_is_refused(self, catalog, changed, said):
        limit = {"metric": "requests", "amount": 9, "window": 60, **changed}
        assert said in problems(catalog, {"lab": {**NEW, "limits": [limit]}})["providers.lab.limits.0"]

    def test_the_documentations_example_is_sound(self, catalog):
        text = (Path(__file__).parents[3] / "docs" / "guides" / "limits.md").read_text("utf-8")
        rows = yaml.safe_load(re.search(r"```yaml\n(.*?)```", text, re.DOTALL)[1])["providers"]
        groq = overlay(catalog, rows).providers["groq"]
        assert len([limit for limit in groq.limits if not limit.published]) == 5
        assert len(groq.kept_limits(MODEL)) == 4 + 2

    def test_published_limits_are_kept_only_on_their_plan(self, catalog):
        def kept(row):
            return [limit.amount for limit in overlay(catalog, {"groq": row}).providers["groq"].kept_limits(MODEL)]

        assert kept({}) == []
        assert kept({"plan": "free"}) == [1000, 8000]
        assert kept({"plan": "developer"}) == []
        assert kept({"limits": [{"metric": "requests", "amount": 5, "window": "1m"}]}) == [5]
        assert kept({"plan": "free", "limits": [{"metric": "requests", "amount": 5, "window": "1d"}]}) == [
            1000,
            8000,
            5,
        ]

    def test_a_new_provider_on_a_known_dialect(self, catalog):
        assert opened(overlay(catalog, {"tech-lab": NEW}), {}) == {"tech-lab"}
        keyed = overlay(catalog, {"tech-lab": {**NEW, "api_key_env": "LAB_KEY"}})
        assert str(keyed.unconfigured({})["tech-lab"]) == "no key: set LAB_KEY"
        assert [c.key for c in keyed.candidates({"TECH_LAB_API_KEY": "k"})] == ["k"]

    def test_a_key_can_be_dropped(self, catalog):
        assert opened(overlay(catalog, {"openai": {"api_key_env": None}}), {}) == {"openai"}

    def test_all_problems_at_once(self, catalog):
        found = problems(
            catalog,
            {
                "a": {},
                "b": {**NEW, "models": {}},
                "c": {**NEW, "models": {"m": {"context": 4, "max_output": 8}}},
                "d": {**NEW, "dialect": "openai"},
                "e": {**NEW, "base_urll": "x"},
                "f/g": NEW,
                "groq": {
                    "limits": [{"metric": "requests", "amount": 1, "window": "1 fortnight"}],
                    "models": {"new": {}},
                },
                "mistral": {
                    "limits": [{"metric": "requests"}, {"metric": "input", "amount": 1, "window": 1, "model": "x"}]
                },
                "openrouter": {"models": {"auto": {"context": 8, "max_output": 4}}},
            },
        )
        assert found.keys() == {
            "providers.a.dialect",
            "providers.a.base_url",
            "providers.a.models",
            "providers.b.models",
            "providers.c.models.m.max_output",
            "providers.d.dialect",
            "providers.e.base_urll",
            "providers.f/g",
            "providers.groq.limits.0.window",
            "providers.mistral.limits.0",
            "providers.openrouter.models.auto",
        }
        assert "did you mean 'base_url'?" in found["providers.e.base_urll"]
        assert "'openrouter/auto'" in found["providers.openrouter.models.auto"]

    def test_a_new_model_states_its_window(self, catalog):
        found = problems(catalog, {"groq": {"models": {"new": {}}}})
        assert found.keys() == {"providers.groq.models.new.context", "providers.groq.models.new.max_output"}

    def test_a_limit_on_a_model_that_is_not_there(self, catalog):
        limit = {"metric": "input", "amount": 1, "window": 1, "model": "codestral"}
        found = problems(catalog, {"mistral": {"limits": [limit]}})
        assert "did you mean 'codestral-latest'?" in found["providers.mistral.limits.0.model"]

    @pytest.mark.parametrize(
        "url",
        [
            "ftp://host/v1",
            "host/v1",
            "http://",
            "http://user:key@host/v1",
            "http://host/v1?key=1",
            "http://host/{OPENAI_API_KEY}",
            "http://hôst/v1",
            "http://[::1/v1",
            "http://host/v1\nx: y",
        ],
    )
    def test_an_address_that_can_be_none(self, catalog, url):
        assert problems(catalog, {"lab": {**NEW, "base_url": url}}).keys() == {"providers.lab.base_url"}

    @given(
        st.dictionaries(
            st.text() | st.just("lab"),
            JSON | st.dictionaries(st.sampled_from(sorted(ProviderShape.model_fields)), JSON),
        )
    )
    def test_no_mapping_breaks_it(self, rows):
        findings = Findings(tree_of({"providers": rows}))
        catalog = lay_over(Catalog({}), findings)
        assert {str(problem.path[1]) for problem in findings.found} | set(catalog.providers) >= set(map(str, rows))


def test_a_price_is_rounded_up():
    assert Price(0.1, 0.5).cost(Usage(input=1)) == 1
    assert Price(2, 10, cache_read=0.1).cost(Usage(input=1000, cache_read=1000, output=100, reasoning=100)) == 4100


def test_importing_reads_nothing():
    """The library that reads files is loaded by reading one, not by importing the catalog."""
    imports = "import sys, providers.catalog.model, providers.policy.model"
    code = imports + "; print(sorted({'yaml', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
