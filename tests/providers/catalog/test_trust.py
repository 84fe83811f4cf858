"""Which keys files would send where: told apart by who says the address, the variable, and the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.environment import environment_of
from orchestrator.squad.routing import load_routing
from providers.catalog.trust import KeyUse, is_exposed, origin_of, refused
from providers.documents.problems import SpecError

ROUTING = """\
tiers: {worker: [lab/one]}
providers:
  lab: {dialect: openai-chat, base_url: "%s", models: {one: {context: 9000, max_output: 900}}%s}
"""
LAB = {"LAB_KEY": "of-the-lab"}


def needed(folder: Path, environ: dict[str, str], *, routing: str = "", env: str = "") -> set[tuple[str, str]]:
    """Return (address, variable) of what must be allowed in a folder with these files."""
    file = folder / "agent_routing.yaml"
    if routing:
        file.write_text(routing)
    if env:
        (folder / ".env").write_text(env)
    _, catalog = load_routing(file if routing else None)
    found = refused(
        (use for one in catalog.candidates(environment_of(folder, environ)) for use in one.uses), lambda _: False
    )
    assert all(use.folder in ("", str(folder.resolve())) for use in found)
    return {(use.address, use.variable) for use in found}


@pytest.mark.few(6)
@pytest.mark.parametrize(
    ("environ", "routing", "env", "expected"),
    [
        # The catalog's addresses, the user's own ones, and a file's with a key of the same file need nobody's word.
        ({"OPENAI_API_KEY": "k"}, "", "", set()),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://own.example/v1"}, "", "", set()),
        ({"OPENAI_API_KEY": "k"}, "", "OPENAI_BASE_URL=https://api.openai.com/v1", set()),
        ({"OPENAI_BASE_URL": "https://own.example"}, "", "OPENAI_API_KEY=k", set()),
        ({}, "", "OPENAI_BASE_URL=https://a.example\nOPENAI_API_KEY=k", set()),
        ({}, ROUTING % ("https://a.example/v1", ""), "", set()),
        (LAB, ROUTING % ("https://a.example/v1", ""), "", set()),
        # A file's address and the user's key do.
        ({"OPENAI_API_KEY": "k"}, "", "OPENAI_BASE_URL=https://a.example", {("https://a.example", "OPENAI_API_KEY")}),
        (
            {"OPENAI_API_KEY": "k", "OPENAI_API_KEY_2": "l"},
            "",
            "OPENAI_BASE_URL=https://a.example:8443/v1",
            {("https://a.example:8443", "OPENAI_API_KEY"), ("https://a.example:8443", "OPENAI_API_KEY_2")},
        ),
        # The environment's key wins over the file's own: it is the one that would be sent.
        (
            {"OPENAI_API_KEY": "k"},
            "",
            "OPENAI_BASE_URL=https://a.example\nOPENAI_API_KEY=bait",
            {("https://a.example", "OPENAI_API_KEY")},
        ),
        (
            LAB,
            ROUTING % ("http://127.0.0.1:8123/v1", ", api_key_env: LAB_KEY"),
            "",
            {("http://127.0.0.1:8123", "LAB_KEY")},
        ),
        ({"LAB_API_KEY": "k"}, ROUTING % ("https://a.example", ""), "", {("https://a.example", "LAB_API_KEY")}),
        # Two files are not the same file.
        ({}, ROUTING % ("https://a.example", ""), "LAB_API_KEY=k", {("https://a.example", "LAB_API_KEY")}),
        (
            {"OLLAMA_API_KEY": "k"},
            "",
            "OLLAMA_BASE_URL=https://a.example",
            {("https://a.example", "OLLAMA_API_KEY")},
        ),
        # A variable that is no key of this provider, even to the provider's own address.
        (
            {"AWS_SECRET_ACCESS_KEY": "k"},
            "providers: {openai: {api_key_env: [AWS_SECRET_ACCESS_KEY]}}",
            "",
            {("https://api.openai.com", "AWS_SECRET_ACCESS_KEY")},
        ),
        (
            {"ANTHROPIC_API_KEY": "k"},
            "providers: {groq: {api_key_env: ANTHROPIC_API_KEY}}",
            "",
            {("https://api.groq.com", "ANTHROPIC_API_KEY")},
        ),
        ({"GROQ_API_KEY_2": "k"}, "providers: {groq: {api_key_env: [GROQ_API_KEY_2]}}", "", set()),
        # A new name for a vendor's own address, with the vendor's own key.
        (
            {"OPENAI_API_KEY": "k"},
            ROUTING % ("https://api.openai.com/v1", ", api_key_env: OPENAI_API_KEY"),
            "",
            set(),
        ),
        # What is put into an address is sent there.
        (
            {"DATABASE_URL": "postgres"},
            ROUTING % ("https://a.example/{DATABASE_URL}/v1", ""),
            "",
            {("https://a.example", "DATABASE_URL")},
        ),
        (
            {"DATABASE_URL": "postgres", "OPENAI_API_KEY": "k"},
            "",
            "OPENAI_BASE_URL=https://api.openai.com/{DATABASE_URL}/v1",
            {("https://api.openai.com", "DATABASE_URL")},
        ),
        # A host whose name a file fills in is the file's.
        (
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "https://{PLACE}.example/v1"},
            "",
            "PLACE=evil",
            {("https://evil.example", "OPENAI_API_KEY")},
        ),
        # Plain http to another machine, whoever says so.
        (
            {"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://10.0.0.5:8080/v1"},
            "",
            "",
            {("http://10.0.0.5:8080", "OPENAI_API_KEY")},
        ),
        (
            {},
            "",
            "OPENAI_BASE_URL=http://10.0.0.5/v1\nOPENAI_API_KEY=k",
            {("http://10.0.0.5", "OPENAI_API_KEY")},
        ),
        ({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": "http://127.0.0.1:8080/v1"}, "", "", set()),
        ({"LOCAL_BASE_URL": "http://10.0.0.5:8080/v1"}, "", "", set()),
    ],
)
def test_what_must_be_allowed(tmp_path, environ, routing, env, expected):
    assert needed(tmp_path, environ, routing=routing, env=env) == expected


def test_a_server_that_a_file_had_looked_for_gets_no_key_of_the_users(tmp_path):
    (tmp_path / ".env").write_text("OLLAMA_HOST=127.0.0.1:9999")
    _, catalog = load_routing(None)
    found = {"OLLAMA_BASE_URL": "http://127.0.0.1:9999/v1"}
    for environ, count in (({"OLLAMA_API_KEY": "k"}, 1), ({"OLLAMA_API_KEY": "k", "OLLAMA_HOST": ":9999"}, 0)):
        candidates = catalog.candidates(environment_of(tmp_path, environ).over(found))
        assert len(refused((use for one in candidates for use in one.uses), lambda _: False)) == count


def test_what_is_allowed_is_the_folder_the_address_and_the_variable():
    use = KeyUse("/a", "https://x.example", "KEY")
    assert use == KeyUse("/a", "https://x.example", "KEY", "other", "file", needed=False, plain=True)
    for other in ("/b", "https://x.example", "KEY"), ("/a", "https://y.example", "KEY"), ("/a", use.address, "OTHER"):
        assert use != KeyUse(*other)


@pytest.mark.parametrize(
    ("url", "origin", "exposed"),
    [
        ("https://api.openai.com/v1", "https://api.openai.com", False),
        ("https://API.openai.com.:443/v1", "https://api.openai.com", False),
        ("https://api.openai.com:444", "https://api.openai.com:444", False),
        ("http://localhost:80/v1", "http://localhost", False),
        ("http://127.9.9.9:81", "http://127.9.9.9:81", False),
        ("http://[::1]:11434/v1", "http://[::1]:11434", False),
        ("http://[::ffff:127.0.0.1]/v1", "http://[::ffff:127.0.0.1]", False),
        ("http://[::ffff:10.0.0.1]/v1", "http://[::ffff:10.0.0.1]", True),
        ("http://localhost.evil.com", "http://localhost.evil.com", True),
        ("http://evil.localhost", "http://evil.localhost", True),
        ("http://127.0.0.1.evil.com/v1", "http://127.0.0.1.evil.com", True),
        ("http://xn--localhost-abc", "http://xn--localhost-abc", True),
        ("http://192.168.1.7", "http://192.168.1.7", True),
        ("http://0x7f.1", "http://0x7f.1", True),
        ("https://api.openai.com@evil.example/v1", "https://evil.example", False),
    ],
)
def test_an_address_is_its_scheme_host_and_port(url, origin, exposed):
    assert (origin_of(url), is_exposed(url)) == (origin, exposed)


@pytest.mark.parametrize("header", ["Host", "host", "Transfer-Encoding", "proxy-authorization"])
def test_a_row_gives_no_header_that_says_whose_request_it_is(tmp_path, header):
    file = tmp_path / "agent_routing.yaml"
    for quirks in (f"extra_headers: {{{header}: evil.example}}", f"key_header: {header}"):
        file.write_text(f"providers: {{openai: {{quirks: {{{quirks}}}}}}}")
        with pytest.raises(SpecError) as found:
            load_routing(file)
        assert [problem.code for problem in found.value.problems] == ["bad-header"]
