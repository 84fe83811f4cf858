"""Vectors through the manager: split, routed among one model's endpoints, tried again, limited and paid."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from providers.catalog.file import load_catalog
from providers.client.manager import open_manager
from providers.embeddings import EmbeddingResponse
from providers.errors import AllAttemptsFailed, BudgetSpent, NoRoute
from providers.events import AttemptEnded, AttemptStarted
from providers.messages import Needs, Request, Usage, user
from providers.policy.parse import parse_policy
from providers.transport.over_httpx2 import HttpxTransport
from tests.local_servers import Said, chat, embeddings, meaning_of
from tests.loopback import Loopback
from tests.patience import PATIENCE_S
from tests.providers.client.test_manager import Budgets

pytestmark = pytest.mark.anyio
CATALOG = load_catalog()
ROUTE = "POST /v1/embeddings"


@asynccontextmanager
async def managing(server: Any, provider: str = "ollama", policy: dict[str, Any] | None = None, **environ: str):
    """Yield a manager whose `provider` is the server."""
    given, catalog = parse_policy(policy or {}, CATALOG)
    places = {f"{provider.upper()}_BASE_URL": f"{server.root}/v1", **environ}
    async with HttpxTransport() as net, open_manager(given, catalog, places, transport=net) as manager:
        yield manager


def asked_for(server: Any) -> list[list[str]]:
    return [asked.body["input"] for asked in server.asked if asked.path == "/v1/embeddings"]


def rounded(vectors: Any) -> list[list[float]]:
    return [[round(number, 5) for number in vector] for vector in vectors]


async def test_each_text_gets_its_vector_in_order_however_many_requests_that_takes(serve) -> None:
    server, texts = serve({ROUTE: embeddings}), [f"text {n} " + "zebra " * (n % 2) for n in range(70)]
    heard: list[EmbeddingResponse] = []
    async with managing(server) as manager:
        made = await manager.embed(texts, model="ollama/nomic-embed-text", hear=heard.append)
    assert rounded(made.vectors) == rounded(map(meaning_of, texts))
    assert [text for part in asked_for(server) for text in part] == texts
    assert [len(part) for part in asked_for(server)] == [32, 32, 6]
    assert made.usage == sum((one.usage for one in heard), Usage())
    assert (made.model, made.cost, len(made.attempts), len(heard)) == ("nomic-embed-text", 0, 3, 3)


async def test_a_rows_own_limits_and_price_hold_and_base64_is_asked_for(serve) -> None:
    server = serve({ROUTE: embeddings})
    async with managing(server, "openai", OPENAI_API_KEY="sk-x") as manager:
        made = await manager.embed(
            ["a zebra"] * 3, model="openai/text-embedding-3-small", dimensions=4, needs=Needs(agent="ann")
        )
    assert rounded(made.vectors) == rounded([meaning_of("zebra")] * 3)
    [asked] = server.asked
    assert (asked.body["dimensions"], asked.body["encoding_format"]) == (4, "base64")
    assert (made.usage, made.cost, made.model) == (
        Usage(6),
        1,
        "text-embedding-3-small@4",
    )
    assert (made.provider, made.model_asked) == ("openai", "text-embedding-3-small")


async def test_a_failure_is_tried_again_with_another_key_and_never_with_another_model(serve) -> None:
    replies = iter([Said(401, {"error": {"message": "bad key"}})])
    server = serve({ROUTE: lambda asked: next(replies, None) or embeddings(asked)})
    events: list[Any] = []
    async with managing(server, "openai", OPENAI_API_KEY="sk-bad", OPENAI_API_KEY_2="sk-good") as manager:
        made = await manager.embed(["a"], model="openai/text-embedding-3-small", emit=events.append)
        with pytest.raises(NoRoute, match="serves no such model"):
            await manager.embed(["a"], model="openai/text-embedding-4")
    assert [(one.outcome, one.account) for one in made.attempts] == [("failed", 1), ("ok", 2)]
    assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer sk-bad", "Bearer sk-good"]
    assert [type(event) for event in events].count(AttemptEnded) == 2
    assert "sk-bad" not in str(events)


async def test_a_models_own_name_goes_to_all_that_serve_it(serve) -> None:
    full, well = serve({ROUTE: Said(503, {"error": {"message": "full"}})}), serve({ROUTE: embeddings})
    rows = {
        name: {"dialect": "openai-chat", "base_url": f"{server.root}/v1", "embeddings": {model: {"context": 100}}}
        for name, server, model in (("one", full, "BAAI/bge-m3"), ("two", well, "bge-m3"))
    }
    policy, catalog = parse_policy({"providers": rows}, CATALOG)
    async with HttpxTransport() as net, open_manager(policy, catalog, {}, transport=net) as manager:
        made = await manager.embed(["a"], model="bge-m3")
        with pytest.raises(AllAttemptsFailed):
            await manager.embed(["a"], model="one/BAAI/bge-m3", needs=Needs(deadline_s=0.0))
        assert (await manager.embed(["a"], model=["one/BAAI/bge-m3", "two/bge-m3"])).provider == "two"
    assert (made.provider, made.model_asked) == ("two", "bge-m3")


@pytest.mark.few(2)
@pytest.mark.parametrize(
    "reply",
    [
        Said(200, {"data": []}),
        Said(200, {"data": [{"index": 0, "embedding": [1, 2]}, {"index": 1, "embedding": [1]}]}),
        Said(200, '{"data": [{"index": 0, "embedding": [NaN]}, {"index": 1, "embedding": [1]}]}'),
        Said(200, "<html>"),
    ],
)
async def test_a_reply_of_unsound_vectors_is_no_answer(serve, reply: Said) -> None:
    replies = iter([reply])
    server = serve({ROUTE: lambda asked: next(replies, None) or embeddings(asked)})
    async with managing(server, "openai", OPENAI_API_KEY="a" * 8, OPENAI_API_KEY_2="b" * 8) as manager:
        made = await manager.embed(["a", "b"], model="openai/text-embedding-3-small")
    assert [one.error for one in made.attempts] == ["BadReply", None]


async def test_what_has_no_embeddings_says_so_and_nothing_is_sent(serve) -> None:
    server = serve({})
    async with managing(server, "anthropic", ANTHROPIC_API_KEY="sk-x") as manager:
        with pytest.raises(NoRoute, match="the dialect anthropic-messages has no embeddings"):
            await manager.embed(["a"], model="anthropic/claude-haiku-5-5")
        with pytest.raises(NoRoute, match="no key: set OPENAI_API_KEY"):
            await manager.embed(["a"], model="openai/text-embedding-3-small")
        with pytest.raises(ValueError, match="several"):
            await manager.embed(["a"], model=["openai/text-embedding-3-small", "gemini/gemini-embedding-001"])
        with pytest.raises(ValueError, match="text 2 of 2 is blank"):
            await manager.embed(["a", " \n"], model="openai/text-embedding-3-small")
        assert (await manager.embed([], model="openai/text-embedding-3-small")).vectors == ()
    async with open_manager(offline=True) as manager:
        with pytest.raises(NoRoute, match="the offline stub makes no vectors"):
            await manager.embed(["a"], model="openai/text-embedding-3-small")
    assert server.asked == []


async def test_no_turn_goes_to_an_embedding_model(serve) -> None:
    server = serve({ROUTE: embeddings, "POST /v1/chat/completions": chat})
    async with managing(server, "openai", OPENAI_API_KEY="sk-x") as manager:
        assert not [name for name in manager.configured if "embedding" in name]
        with pytest.raises(NoRoute):
            await manager.complete(Request((user("hi"),), needs=Needs(model="openai/text-embedding-3-small")))
        await manager.complete(Request((user("hi"),), needs=Needs(chain=("openai/*",))))


@pytest.mark.long
async def test_limits_of_an_account_count_turns_and_vectors_together(serve) -> None:
    server = serve({ROUTE: embeddings, "POST /v1/chat/completions": chat})
    limits = [{"metric": "requests", "amount": 2, "window": "1h"}]
    policy = {"providers": {"openai": {"base_url": f"{server.root}/v1", "limits": limits}}}
    async with managing(server, "openai", policy, OPENAI_API_KEY="sk-x") as manager:
        await manager.complete(Request((user("hi"),), needs=Needs(chain=("openai/gpt-6-luna",))))
        await manager.embed(["a"], model="openai/text-embedding-3-small")
        with pytest.raises(NoRoute):
            await manager.embed(["a"], model="openai/text-embedding-3-small", needs=Needs(deadline_s=0.01))
    assert len(server.asked) == 2


async def test_the_runs_budgets_pay_and_no_turn_is_counted(serve) -> None:
    server, purse, events = serve({ROUTE: embeddings}), Budgets(room=1), list[Any]()
    async with managing(server, "openai", OPENAI_API_KEY="sk-x") as manager:
        await manager.embed(["a b c"], model="openai/text-embedding-3-small", budgets=purse, emit=events.append)
        with pytest.raises(BudgetSpent):
            await manager.embed(["a"], model="openai/text-embedding-3-small", budgets=purse)
    assert (purse.settled, purse.turns, purse.closed_once()) == ([(1, 3)], [0], True)
    [started] = [event for event in events if isinstance(event, AttemptStarted)]
    assert (started.reserved, started.reserved_tokens) == (1, started.reckoned)
    assert len(server.asked) == 1


@pytest.mark.long
async def test_a_text_that_is_too_long_is_refused_or_cut(serve) -> None:
    server, long = serve({ROUTE: embeddings}), "word " * 5000
    row = {"ollama": {"base_url": f"{server.root}/v1", "embeddings": {"small": {"context": 100, "inputs": 2}}}}
    async with managing(server, "ollama", {"providers": row}) as manager:
        with pytest.raises(NoRoute, match="do not fit its context of 100"):
            await manager.embed([long], model="ollama/small")
        assert server.asked == []
        await manager.embed([long, "b", long], model="ollama/small", shorten=True)
    assert all(len(text) <= 300 for part in asked_for(server) for text in part)
    assert [len(part) for part in asked_for(server)] == [1, 1, 1]


async def test_a_provider_that_stalls_is_given_up_in_time_and_leaves_nothing_open(loopback: Loopback) -> None:
    purse = Budgets()
    policy = {"providers": {"openai": {"base_url": loopback.by(lambda seen: "hang")}}}
    given, catalog = parse_policy(policy, CATALOG)
    environ = {"OPENAI_API_KEY": "sk-x"}
    async with HttpxTransport() as net, open_manager(given, catalog, environ, transport=net) as manager:
        with anyio.fail_after(PATIENCE_S), pytest.raises(AllAttemptsFailed):
            await manager.embed(
                ["a"], model="openai/text-embedding-3-small", budgets=purse, needs=Needs(deadline_s=0.2)
            )
        state = manager.embeddings.fleet.states["openai/text-embedding-3-small"]
        assert state.in_flight == 0
    assert purse.closed_once()


@pytest.mark.long
async def test_another_policy_brings_other_embedding_models(serve) -> None:
    server = serve({ROUTE: embeddings})
    async with managing(server, "openai", OPENAI_API_KEY="sk-x") as manager:
        row = {"ollama": {"base_url": f"{server.root}/v1"}, "openai": {"embeddings": {"new": {"context": 50}}}}
        policy, catalog = parse_policy({"providers": row}, CATALOG)
        manager.adopt(policy, catalog, {"OPENAI_API_KEY": "sk-x", "OPENAI_BASE_URL": f"{server.root}/v1"})
        assert (await manager.embed(["a"], model="openai/new")).model_asked == "new"
        assert (await manager.embed(["a"], model="ollama/any")).model_asked == "any"
