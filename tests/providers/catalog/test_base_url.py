"""Base URLs as people write them: what is meant is asked, what cannot be meant is told."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.catalog.base_url import endpoint, tidied, url_problem
from providers.catalog.file import load_catalog, overlay
from providers.client.manager import open_manager
from providers.errors import CatalogError
from providers.messages import Needs, Request, user
from providers.policy.parse import parse_policy
from providers.transport import OpenTransport
from providers.transport.over_httpx2 import HttpxTransport
from providers.transport.sockets import SocketTransport
from tests.local_servers import chat, generate, messages

CHAT, MESSAGES, GEMINI = "openai-chat", "anthropic-messages", "gemini"
OLLAMA = "http://127.0.0.1:11434/v1"
GROQ = "https://api.groq.com/openai/v1"
GOOGLE = "https://generativelanguage.googleapis.com/v1beta"
FOUNDRY = "https://r.services.ai.azure.com/models"
AZURE = "https://r.openai.azure.com/openai/deployments/d4"

OWN = [
    ("http://localhost:11434/v1/api", OLLAMA.replace("127.0.0.1", "localhost")),
    ("http://localhost:11434/v1", "http://localhost:11434/v1"),
    ("http://localhost:11434", "http://localhost:11434/v1"),
    ("http://localhost:11434/", "http://localhost:11434/v1"),
    ("http://localhost:11434/v1/", "http://localhost:11434/v1"),
    ("http://localhost:11434//v1//", "http://localhost:11434/v1"),
    ("http://localhost:11434/v1/chat/completions", "http://localhost:11434/v1"),
    ("http://localhost:11434/v1/chat/completions/", "http://localhost:11434/v1"),
    ("http://localhost:11434/v1/models", "http://localhost:11434/v1"),
    ("http://localhost:11434/v1/completions", "http://localhost:11434/v1"),
    ("http://localhost:11434/api", "http://localhost:11434/v1"),
    ("http://localhost:11434/api/chat", "http://localhost:11434/v1"),
    ("http://localhost:11434/api/generate", "http://localhost:11434/v1"),
    ("HTTP://LocalHost:11434/V1", "http://localhost:11434/v1"),
    ("localhost:11434", "http://localhost:11434/v1"),
    ("localhost:11434/v1", "http://localhost:11434/v1"),
    ("localhost", "http://localhost:11434/v1"),
    ("//localhost:11434/v1", "http://localhost:11434/v1"),
    ("http:/localhost:11434/v1", "http://localhost:11434/v1"),
    ("http://localhost:11434?", "http://localhost:11434/v1"),
    ("http:\\\\localhost:11434\\v1", "http://localhost:11434/v1"),
    (":11434", "http://127.0.0.1:11434/v1"),
    ("0.0.0.0:11434", "http://127.0.0.1:11434/v1"),
    ("http://0.0.0.0:11434/v1", "http://127.0.0.1:11434/v1"),
    ("http://[::1]:11434", "http://[::1]:11434/v1"),
    ("[::1]:11434", "http://[::1]:11434/v1"),
    ("::1", "http://[::1]:11434/v1"),
    ("http://[::]:11434/v1", "http://[::1]:11434/v1"),
    ("http://host.docker.internal:11434", "http://host.docker.internal:11434/v1"),
    ("host.docker.internal:11434/v1", "http://host.docker.internal:11434/v1"),
    ("ollama:11434", "http://ollama:11434/v1"),
    ("192.168.1.20:11434", "http://192.168.1.20:11434/v1"),
    (' "http://localhost:11434/v1" ', "http://localhost:11434/v1"),
    ("'http://localhost:11434/v1'\n", "http://localhost:11434/v1"),
    ("<http://localhost:11434/v1>", "http://localhost:11434/v1"),
    ("http://localhost:11434/v1/chat", "http://localhost:11434/v1"),
    ("http://localhost:11434/v1/v1", "http://localhost:11434/v1"),
    ("http://localhost:3000/api/chat/completions", "http://localhost:3000/api"),
    ("http://localhost:3000/ollama/v1", "http://localhost:3000/ollama/v1"),
    ("https://gpu.example.org/ollama", "https://gpu.example.org/ollama"),
    ("gpu.example.org", "https://gpu.example.org/v1"),
    ("gpu.example.org:8443/v1", "https://gpu.example.org:8443/v1"),
    ("https://gpu.example.org/chat/completions", "https://gpu.example.org"),
    ("https://proxy.example/https://api.openai.com/v1", "https://proxy.example/https://api.openai.com/v1"),
]
HOSTED = [
    (CHAT, GROQ, "https://api.groq.com", GROQ),
    (CHAT, GROQ, "https://api.groq.com/openai/", GROQ),
    (CHAT, GROQ, "https://api.groq.com/v1", GROQ),
    (CHAT, GROQ, "http://api.groq.com/openai/v1", GROQ),
    (CHAT, GROQ, "https://api.groq.com/openai/v1/openai/v1", "https://api.groq.com/openai/v1/openai/v1"),
    (CHAT, GROQ, "https://api.groq.com/openai/v1/chat/completions", GROQ),
    (CHAT, "https://openrouter.ai/api/v1", "https://openrouter.ai", "https://openrouter.ai/api/v1"),
    (CHAT, "https://api.deepseek.com", "https://api.deepseek.com/", "https://api.deepseek.com"),
    (CHAT, "https://api.deepseek.com", "https://api.deepseek.com/v1", "https://api.deepseek.com/v1"),
    (CHAT, "", "https://api.perplexity.ai", "https://api.perplexity.ai"),
    (CHAT, "", "https://r.openai.azure.com/", "https://r.openai.azure.com/openai/v1"),
    (CHAT, "", "https://r.openai.azure.com/v1", "https://r.openai.azure.com/openai/v1"),
    (CHAT, "", "https://r.openai.azure.com/openai/", "https://r.openai.azure.com/openai/v1"),
    (CHAT, "", f"{FOUNDRY}?api-version=2024-05-01-preview", f"{FOUNDRY}?api-version=2024-05-01-preview"),
    (CHAT, "", f"{FOUNDRY}/chat/completions?api-version=v1", f"{FOUNDRY}?api-version=v1"),
    (MESSAGES, "", "https://r.services.ai.azure.com/anthropic", "https://r.services.ai.azure.com/anthropic"),
    (CHAT, "", f"{AZURE}?api-version=2024-10-21", f"{AZURE}?api-version=2024-10-21"),
    (CHAT, "", f"{AZURE}/chat/completions?api-version=2024-10-21", f"{AZURE}?api-version=2024-10-21"),
    (CHAT, "", f"{AZURE}/?api-version=2025-04-01-preview", f"{AZURE}?api-version=2025-04-01-preview"),
    (MESSAGES, "", "https://api.anthropic.com", "https://api.anthropic.com/v1"),
    (MESSAGES, "", "https://api.anthropic.com/v1/messages", "https://api.anthropic.com/v1"),
    (MESSAGES, "", "https://gw.example/anthropic", "https://gw.example/anthropic"),
    (MESSAGES, "", "https://gw.example/v1/messages?beta=true", "https://gw.example/v1?beta=true"),
    (GEMINI, GOOGLE, "https://generativelanguage.googleapis.com", GOOGLE),
    (GEMINI, GOOGLE, f"{GOOGLE}/models/gemini-3.8-flash:generateContent", GOOGLE),
    (GEMINI, GOOGLE, f"{GOOGLE}/models/gemini-3.8-flash:streamGenerateContent?alt=sse", GOOGLE),
    (GEMINI, GOOGLE, f"{GOOGLE}/openai/chat/completions", GOOGLE),
    (GEMINI, GOOGLE, f"{GOOGLE}/models", GOOGLE),
    (GEMINI, GOOGLE, "https://gw.example/v1/a/google-ai-studio", "https://gw.example/v1/a/google-ai-studio/v1beta"),
    (GEMINI, "", "https://gw.example/p/models/x:generateContent", "https://gw.example/p"),
]


@pytest.mark.parametrize(("written", "meant"), OWN)
def test_an_address_of_an_own_server(written: str, meant: str):
    assert tidied(written, CHAT, OLLAMA) == meant
    assert url_problem(meant) is None


@pytest.mark.parametrize(("dialect", "known", "written", "meant"), HOSTED)
def test_an_address_of_a_vendor_or_a_gateway(dialect: str, known: str, written: str, meant: str):
    assert tidied(written, dialect, known) == meant
    assert url_problem(meant) is None


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("http://::1:11434/v1", "is written in brackets, as http://[::1]:11434"),
        ("http://localhost:port", "its port is not a number"),
        ("http://localhost:99999", "its port is not a number"),
        ("http://localhost:0", "its port is not a number"),
        ("ftp://host/v1", "must begin with http:// or https://"),
        ("somewhere", "must begin with http:// or https://"),
        ("my host:11434", "holds spaces"),
        ("http://me:geheim@host/v1", "keys go into the environment"),
        ("http://host/v1?key=geheim", "keys go into the environment"),
        ("http://host/v1?api-version=2024-10-21&sig=geheim", "keys go into the environment"),
        (f"http://host/v1?api-version={'geheim' * 6}", "keys go into the environment"),
        (f"{AZURE}", "add ?api-version="),
        (f"{AZURE}/chat/completions", "add ?api-version="),
    ],
)
def test_what_cannot_be_meant_is_told_and_not_shown(written: str, why: str):
    with pytest.raises(CatalogError) as failed:
        load_catalog().candidates({"OPENAI_API_KEY": "k", "OPENAI_BASE_URL": written})
    assert "OPENAI_BASE_URL" in str(failed.value)
    assert why in str(failed.value)
    assert "geheim" not in str(failed.value)


@given(st.text(), st.sampled_from([CHAT, MESSAGES, GEMINI, "scripted"]), st.sampled_from(["", OLLAMA, GROQ]))
def test_nothing_that_is_written_breaks_it(written: str, dialect: str, known: str):
    url_problem(tidied(written, dialect, known))
    url_problem(tidied(f"http://{written}", dialect, known))


def test_a_routing_file_writes_addresses_as_freely_as_the_environment():
    rows = overlay(load_catalog(), {"ollama": {"base_url": "LOCALHOST:11434/"}, "groq": {"base_url": "api.groq.com"}})
    assert rows.providers["ollama"].base_url == "http://localhost:11434/v1"
    assert rows.providers["groq"].base_url == GROQ


def test_a_query_stands_behind_every_path():
    assert endpoint("http://h/v1/?api-version=1", "/models") == "http://h/v1/models?api-version=1"
    assert endpoint("http://h?api-version=1", "/m:stream?alt=sse") == "http://h/m:stream?alt=sse&api-version=1"


# -- asked for real, over both clients

LIVE = [
    "{root}",
    "{root}/v1/",
    "{root}//v1",
    "{bare}",
    "{bare}/v1/chat/completions",
    " '{root}/V1' ",
    "HTTP://LOCALHOST:{port}",
    "http://0.0.0.0:{port}/v1",
    "{root}/api/chat",
]


@pytest.mark.anyio
@pytest.mark.parametrize("client", [SocketTransport, HttpxTransport])
class TestAsked:
    async def ask(self, client: type[OpenTransport], environ: dict[str, str], model: str, **rows: Any) -> str:
        policy, catalog = parse_policy({"providers": rows, "tiers": {"worker": [model]}}, load_catalog())
        request = Request((user("hi"),), max_output_tokens=20, needs=Needs(model=model))
        async with client() as net, open_manager(policy, catalog, environ, transport=net) as manager:
            return (await manager.complete(request)).text

    @pytest.mark.parametrize("written", LIVE)
    @pytest.mark.few(18)
    async def test_a_local_server_is_asked_however_its_address_is_written(self, client, serve, written):
        server = serve({"POST /v1/chat/completions": chat})
        url = written.format(root=server.root, bare=server.root.removeprefix("http://"), port=server.port)
        assert await self.ask(client, {"OLLAMA_BASE_URL": url}, "ollama/gpt-oss:20b")
        assert [each.path for each in server.chats] == ["/v1/chat/completions"]

    async def test_ipv6(self, client, serve):
        try:
            server = serve({"POST /v1/chat/completions": chat}, host="::1")
        except OSError:
            pytest.skip("this machine has no IPv6")
        assert await self.ask(client, {"OLLAMA_BASE_URL": f"[::1]:{server.port}"}, "ollama/gpt-oss:20b")
        assert server.chats[0].headers["host"] == f"[::1]:{server.port}"

    async def test_azure_gets_its_query_and_its_header_on_each_call(self, client, serve):
        server = serve({"POST /openai/deployments/d4/chat/completions": chat})
        url = f"{server.root}/openai/deployments/d4/chat/completions?api-version=2024-10-21"
        environ = {"OPENAI_BASE_URL": url, "OPENAI_API_KEY": "k" * 20}
        for _ in range(2):
            assert await self.ask(client, environ, "openai/gpt-6-luna")
        path = "/openai/deployments/d4/chat/completions?api-version=2024-10-21"
        assert [each.path for each in server.chats] == [path, path]
        assert {each.headers["api-key"] for each in server.chats} == {"k" * 20}
        assert not any("authorization" in each.headers for each in server.chats)

    async def test_a_gateway_names_its_own_header(self, client, serve):
        server = serve({"POST /team/v1/chat/completions": chat})
        row = {"base_url": f"{server.root}/team/v1", "quirks": {"key_header": "ocp-apim-subscription-key"}}
        assert await self.ask(client, {"GROQ_API_KEY": "k" * 20}, "groq/openai/gpt-oss-20b", groq=row)
        assert server.chats[0].headers["ocp-apim-subscription-key"] == "k" * 20
        assert "authorization" not in server.chats[0].headers

    @pytest.mark.parametrize("end", ["", "/v1", "/v1/messages"])
    async def test_messages(self, client, serve, end):
        server = serve({"POST /p/v1/messages": messages})
        environ = {"ANTHROPIC_BASE_URL": f"{server.root}/p{end}", "ANTHROPIC_API_KEY": "k" * 20}
        assert await self.ask(client, environ, "anthropic/claude-haiku-5-5")

    @pytest.mark.parametrize("end", ["", "/v1beta/", "/v1beta/models/x:generateContent"])
    async def test_gemini(self, client, serve, end):
        server = serve({"POST /p/v1beta/models/gemini-3.8-flash:generateContent": generate})
        environ = {"GEMINI_BASE_URL": f"{server.root}/p{end}", "GEMINI_API_KEY": "k" * 20}
        assert await self.ask(client, environ, "gemini/gemini-3.8-flash")
