"""What looks like a secret is not shown; what is none is."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from pydantic import BaseModel

import providers.catalog
import providers.policy
import providers.simulation
from providers.documents.problems import Problem, to_text, without_secrets
from providers.documents.secrets import hidden, may_hold_a_secret, recordable

SECRET = "q1W2e3R4t5Z6u7I8"


@pytest.mark.parametrize(
    "text",
    [
        f"authorization: Bearer {SECRET}",
        f'{{"x-api-key": "{SECRET}"}}',
        f"https://host.example/v1?key={SECRET}&alt=sse",
        f"https://host.example/v1?alt=sse&access_token={SECRET}",
        f"https://me:{SECRET}@host.example/",
        f"redis://:{SECRET}@host.example/0",
        f"sk-proj-{SECRET}",
        f"ghp_{SECRET}",
        f"AIza{SECRET}{SECRET}",
        f"eyJhbGciOiJI.{SECRET}.{SECRET}",
        f"api_key={SECRET}",
        f"password: {SECRET}",
        f"the value {SECRET} is not one of",
    ],
)
def test_a_secret_is_hidden_whole(text):
    assert SECRET not in hidden(text)
    assert "***" in hidden(text)
    assert may_hold_a_secret(text)


KEYS_BEGIN = (
    *("sk", "gsk", "csk", "xai", "pk", "hf", "r8", "nvapi", "pplx", "glpat", "xoxb", "xoxs", "ghp", "ghu"),
    *("github_pat", "rk", "ya29", "SK", "Ghp", "\u017fk", "s\u212a"),
)
"""The last two hold a long s and the sign of kelvin, which `re` takes for letters where it ignores case."""


@pytest.mark.parametrize("prefix", KEYS_BEGIN)
def test_a_key_is_known_by_how_it_begins_in_any_case(prefix):
    for between in "-_.":
        assert hidden(f"I use {prefix}{between}abcdefghijklm here", guess=False) == "I use *** here"
        assert "abcdefghijklm" in hidden(f"I use a{prefix}{between}abcdefghijklm here", guess=False)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("BA\u017f\u0130C abcdefgh", "BA\u017f\u0130C ***"),
        ("Bearer abcdefgh", "Bearer ***"),
        ("a?x=1&SIG=abc", "a?x=1&SIG=***"),
        ("a?api-key=abc", "a?api-key=***"),
        ("AKIAABCDEFGHIJKL", "***"),
        ("pa\u017f\u017fword: hunter-22", "pa\u017f\u017fword: ***"),
        ("author\u0131sation = 'hunter-22'", "author\u0131sation = '***'"),
        ("secret=a1?sig=b,c", "secret=***"),
        ("secret=a1?sig=,c", "secret=***"),
    ],
)
def test_a_secret_is_known_by_the_name_before_it_in_any_case(text, shown):
    assert hidden(text, guess=False) == shown


@pytest.mark.parametrize(
    "text",
    [
        "api_key_env: LAB_KEY",
        "unknown field 'token': did you mean 'tokens'?",
        "default_max_tokens: 256",
        "orchestrator runs resume sprint-20261121-101112-ab12 --state /tmp/Ab12Cd34",
        "groq/openai/gpt-oss-120b: https://api.groq.com/openai/v1 (HTTP 401)",
        "meta-llama/Llama-4-Scout-17B-16E-Instruct",
        "8f14e45fceea167a5a36dedd4bea2543",
    ],
)
def test_what_is_no_secret_is_shown(text):
    assert hidden(text) == text


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"a: {{api_key: {SECRET}, b: 1}}", "a: {api_key: hidden, b: 1}"),
        (f"a:\n  token: '{SECRET}' # mine\n  b: 1", "a:\n  token: hidden # mine\n  b: 1"),
        (
            "quirks: {extra_headers: {x-a: foo, b: 'c'}, any_root: true}",
            "quirks: {extra_headers: {x-a: hidden, b: hidden}, any_root: true}",
        ),
        (
            "x:\n  extra_headers:\n    x-team: foo\n  any_root: true\n",
            "x:\n  extra_headers:\n    x-team: hidden\n  any_root: true\n",
        ),
        ("limits: [{metric: total, amount: 5}]\nmax_tokens: 3", "limits: [{metric: total, amount: 5}]\nmax_tokens: 3"),
    ],
)
def test_a_record_keeps_a_file_without_its_secrets(text, kept):
    assert recordable(text) == kept


@pytest.mark.parametrize("package", [providers.catalog, providers.policy, providers.simulation])
def test_no_field_of_our_own_files_is_taken_for_a_secret(package) -> None:
    names = [one.name for one in pkgutil.iter_modules(package.__path__)]
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    shapes = [each for module in modules for each in vars(module).values() if isinstance(each, type(BaseModel))]
    lines = [f"{field.alias or name}: 10s" for shape in shapes for name, field in shape.model_fields.items()]
    assert len(lines) > 10
    assert [line for line in lines if recordable(line) != line] == []


def test_a_time_to_the_first_token_is_no_token() -> None:
    text = "timeouts: {connect: 2s, first_token: 10s}\nlatency: {per_token: 2ms}\n"
    assert recordable(text) == text
    assert not may_hold_a_secret("first_token: 10s")
    assert "hunter12" not in recordable("my_token: hunter12\nfirsttoken: hunter12\n")


@pytest.mark.parametrize(
    "path",
    [
        *(("providers", "lab", name) for name in ("api_keyy", "apikye", "aki_key", "pass", "org", "heders", "x")),
        *(("apikey_",), ("tokn",), ("my_password",), ("secrets",), ("budget", "webhook"), ("agents", "a", "api_kye")),
    ],
)
def test_what_stands_in_a_misspelt_field_is_not_repeated_whatever_it_looks_like(path):
    """`hunter-two` has the shape of no key."""
    line = f"    {path[-1]}: hunter-two"
    shown = Problem("f.yaml", 1, 5, 4, "unknown-field", f"'{path[-1]}' is not a field", path=path, source=line)
    assert "hunter-two" not in to_text([shown]) + str(without_secrets([shown]))
    assert f"'{path[-1]}' is not a field" in to_text([shown])


@pytest.mark.parametrize("path", [("agents", "ann", "persoan"), ("tiers_",), ("tasks", "a", "neds")])
def test_the_line_of_another_misspelt_field_is_shown(path):
    shown = Problem("f.yaml", 1, 1, 4, "unknown-field", "no field", path=path, source=f"{path[-1]}: dev")
    assert f"{path[-1]}: dev" in to_text([shown])
