"""What a server of one's own takes at once is asked of it, and never assumed where it says so."""

from __future__ import annotations

import threading
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from providers.catalog.file import load_catalog
from providers.client.contexts import Told, llama_context, ollama_context, running_context, studio_context, vllm_context
from providers.client.manager import ProviderManager, open_manager
from providers.errors import NoRoute
from providers.messages import Request, user
from providers.policy.parse import parse_policy
from providers.transport.over_httpx2 import HttpxTransport
from providers.transport.sockets import SocketTransport
from tests.llama import CONTEXT
from tests.local_servers import GO, Asked, Said, chat, llama_cpp, lm_studio, ollama, vllm
from tests.loopback import ANSWER
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.anyio
SHOWN = {
    "parameters": 'stop                           "<|eot_id|>"\nnum_ctx                        16384',
    "model_info": {"general.architecture": "llama", "llama.context_length": 131072},
    "capabilities": ["completion", "tools"],
}
BARE = {"model_info": {"llama.context_length": 131072}}


def of(tokens: int) -> Request:
    """Return a request of about so many tokens."""
    request = Request((user("word " * int(tokens * 0.6)),), max_output_tokens=50)
    assert tokens * 0.8 < request.input_tokens < tokens * 1.25
    return request


@asynccontextmanager
async def asking(client: Any, server: Any, model: str, provider: str = "ollama", **rows: Any):
    """Yield a manager of this model alone."""
    data = {"tiers": {"worker": [f"{provider}/{model}"]}, "timeouts": {"first_token": "5m", "total": "20m"}}
    policy, catalog = parse_policy({**data, **({"providers": rows} if rows else {})}, load_catalog())
    environ = {f"{provider.upper()}_BASE_URL": f"{server.root}/v1"}
    async with client() as net, open_manager(policy, catalog, environ, transport=net) as manager:
        yield patient(manager)


def patient(manager: ProviderManager) -> ProviderManager:
    """Let it wait for a busy machine."""
    assert manager.contexts is not None
    manager.contexts.within = PATIENCE_S
    return manager


def context(manager: ProviderManager) -> int:
    [name] = manager.fleet.policy.tiers["worker"]
    return manager.fleet.states[name].candidate.model.context


async def ask(manager: ProviderManager, request: Request, how: str = "complete") -> str:
    if how == "complete":
        return (await manager.complete(request)).text
    async with manager.stream(request) as deltas:
        async for _ in deltas:
            pass
    assert deltas.response is not None
    return deltas.response.text


@pytest.mark.parametrize("client", [SocketTransport, HttpxTransport])
@pytest.mark.parametrize("how", ["complete", "stream"])
@pytest.mark.parametrize(
    ("routes", "provider", "model", "tokens"),
    [
        (ollama("llama3.2:latest", loaded={"llama3.2:latest": 32768}), "ollama", "llama3.2", 32768),
        (ollama("llama3.2:latest", loaded={"llama3.2:latest": 2048}), "ollama", "llama3.2:latest", 2048),
        (ollama("a/b:q4", shows={"a/b:q4": SHOWN}), "ollama", "a/b:q4", 16384),
        (ollama("llama3.2:latest", shows={"llama3.2": BARE}), "ollama", "llama3.2", 4096),
        (llama_cpp("/m/q.gguf", 16384), "local", "q", 16384),
        (
            lm_studio({"id": "q", "state": "loaded", "max_context_length": 131072, "loaded_context_length": 9000}),
            "local",
            "q",
            9000,
        ),
        (vllm("Qwen/Qwen3-8B", 40960), "local", "Qwen/Qwen3-8B", 40960),
        ({"POST /v1/chat/completions": chat}, "local", "q", 8192),
    ],
)
@pytest.mark.few(32)
async def test_the_server_says_what_it_takes(client, how, serve, routes, provider, model, tokens):
    server = serve(dict(routes), GO)
    async with asking(client, server, model, provider) as manager:
        for _ in range(2):
            assert await ask(manager, of(200), how) == ANSWER
        assert context(manager) == tokens
        if tokens > 8192:
            assert await ask(manager, of(7000), how) == ANSWER
        else:
            with pytest.raises(NoRoute, match=f"do not fit its context of {tokens}"):
                await ask(manager, of(tokens + 500), how)
    assert all("word" not in str(each.body) for each in server.asked if each not in server.chats)


async def test_it_is_asked_once(serve):
    server = serve(llama_cpp(), GO)
    async with asking(SocketTransport, server, "q", "local") as manager:
        for _ in range(5):
            await ask(manager, of(100))
        async with anyio.create_task_group() as tasks:
            for _ in range(5):
                tasks.start_soon(ask, manager, of(100))
    assert [each.path for each in server.asked].count("/props") == 1
    assert len(server.chats) == 10


async def test_a_model_that_was_not_in_memory_is_asked_for_again_once_it_is(serve):
    server = serve(ollama("llama3.2:latest"), GO)
    async with asking(SocketTransport, server, "llama3.2") as manager:
        await ask(manager, of(100))
        assert context(manager) == 4096
        server.routes.update(ollama("llama3.2:latest", loaded={"llama3.2:latest": 32768}))
        manager.contexts._due = dict.fromkeys(manager.contexts._due, 0.0)  # a second has passed
        assert await ask(manager, of(7000)) == ANSWER
        assert context(manager) == 32768


async def test_an_older_ollama_that_names_no_context_is_asked_once(serve):
    routes = ollama("m:latest", shows={"m": SHOWN})
    routes["GET /api/ps"] = Said(200, {"models": [{"name": "m:latest", "model": "m:latest", "digest": "a"}]})
    server = serve(routes, GO)
    async with asking(SocketTransport, server, "m") as manager:
        await ask(manager, of(100))
        assert context(manager) == 16384
        assert not manager.contexts._due.get("ollama/m")


async def test_a_large_request_has_the_model_loaded_first(serve):
    server = serve(ollama("llama3.2:latest", shows={"llama3.2": BARE}), GO)

    def load(asked: Asked) -> Said:
        server.routes.update(ollama("llama3.2:latest", loaded={"llama3.2:latest": 32768}))
        return Said(200, {"model": asked.body["model"], "done": True, "done_reason": "load"})

    server.routes["POST /api/generate"] = load
    async with asking(SocketTransport, server, "llama3.2") as manager:
        assert await ask(manager, of(7000)) == ANSWER
    [loaded] = [each for each in server.asked if each.path == "/api/generate"]
    assert loaded.body == {"model": "llama3.2"}


async def test_a_figure_of_ones_own_is_lowered_and_never_raised(serve):
    for loaded, known in ((32768, 6000), (5000, 5000)):
        server = serve(ollama("m:latest", loaded={"m:latest": loaded}), GO)
        rows = {"ollama": {"models": {"m": {"context": 6000, "max_output": 1000}}}}
        async with asking(SocketTransport, server, "m", **rows) as manager:
            await ask(manager, of(100))
            assert context(manager) == known


@pytest.mark.parametrize("body", ["", "no JSON", [], {}, {"models": 1}, {"models": [1]}, {"data": [1]}, None, 7])
async def test_nonsense_changes_nothing_and_fails_nothing(serve, body):
    said = Said(200, body)
    routes = {f"GET {path}": said for path in ("/api/ps", "/props", "/api/v0/models", "/v1/models")}
    server = serve({**routes, "POST /api/show": said, "POST /v1/chat/completions": chat}, GO)
    async with asking(SocketTransport, server, "m", "local") as manager:
        assert await ask(manager, of(100)) == ANSWER
        assert context(manager) in (8192, 4096)


async def test_a_server_that_says_nothing_costs_a_share_of_the_deadline(serve):
    server = serve({"POST /v1/chat/completions": chat}, GO)
    over = threading.Event()
    server.routes["GET /props"] = lambda _: Said(200 if over.wait(PATIENCE_S) else 500, {})
    try:
        async with asking(SocketTransport, server, "m", "local") as manager:
            manager.contexts.within = 0.05
            assert await ask(manager, of(100)) == ANSWER
            assert context(manager) == 8192
    finally:
        over.set()


async def test_what_a_real_server_says_is_understood(llama):
    data = {"tiers": {"worker": ["local/any"]}, "timeouts": {"first_token": "5m", "total": "10m"}}
    policy, catalog = parse_policy(data, load_catalog())
    async with open_manager(policy, catalog, {"LOCAL_BASE_URL": llama.base_url}) as manager:
        contexts = patient(manager).contexts
        assert contexts is not None
        await contexts.learn(Request((user("hi"),), max_output_tokens=5))
        assert context(manager) == CONTEXT


def test_what_the_servers_say_is_read():
    assert running_context("m", {"models": [{"name": "m:latest", "context_length": 8}]}) == Told(8)
    assert running_context("m:q8", {"models": [{"name": "m:latest", "context_length": 8}]}) is None
    assert running_context("m", {"models": [{"model": "m:latest", "context_length": "x"}]}) == Told(None)
    assert ollama_context({"parameters": "num_ctx 200000", "model_info": {"l.context_length": 8192}}).context == 8192
    assert ollama_context({"model_info": {"bert.context_length": 512}}) == Told(512, certain=False, most=512)
    assert ollama_context(None) == Told(4096, certain=False)
    assert studio_context("m", {"data": [{"id": "m", "state": "not-loaded", "max_context_length": 32768}]}) == Told(
        None, certain=False, most=32768
    )
    assert vllm_context("x", {"data": [{"id": "m", "max_model_len": 5}]}) == Told(5)
    assert llama_context({"default_generation_settings": {"n_ctx": 0}}) is None
