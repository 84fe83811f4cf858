"""Embeddings through the gateway, from a provider that has them."""

from __future__ import annotations

import base64
import itertools
import time
from array import array
from pathlib import Path
from typing import Any

import pytest

from orchestrator.events import Event
from orchestrator.observe.open_spans import SpanRecord
from orchestrator.observe.spans import SpanTree
from orchestrator.server.gateway.keys import ClientKeys, KeyBudget
from orchestrator.server.gateway.store import spent_in
from orchestrator.server.observation import observation
from orchestrator.subscribers import CallEnded, Subject, Subscriber
from orchestrator.testing import scripted
from providers.catalog.file import load_catalog
from providers.client.manager import open_manager
from providers.emit import ignore
from providers.policy.parse import parse_policy
from providers.transport.over_httpx2 import HttpxTransport
from tests.local_servers import embeddings
from tests.orchestrator.server.served import served

pytestmark = pytest.mark.anyio
MODEL = "openai/text-embedding-3-small"


async def test_texts_become_vectors_as_numbers_or_in_base64(serve: Any, tmp_path: Path) -> None:
    upstream = serve({"POST /v1/embeddings": embeddings})
    policy, catalog = parse_policy({}, load_catalog())
    places = {"OPENAI_BASE_URL": f"{upstream.root}/v1", "OPENAI_API_KEY": "sk-x"}
    async with (
        HttpxTransport() as net,
        open_manager(policy, catalog, places, transport=net) as manager,
        served(manager, tmp_path) as server,
    ):
        asked = {"model": MODEL, "input": ["tea", "coffee"], "encoding_format": None}
        told = await server.http.post("/v1/embeddings", json=asked)
        assert told.status_code == 200, told.text
        numbers = [one["embedding"] for one in told.json()["data"]]
        assert (len(numbers), told.headers["x-orchestrator-provider"]) == (2, "openai")
        packed = await server.http.post("/v1/embeddings", json={**asked, "encoding_format": "base64"})
        found = [array("f", base64.b64decode(one["embedding"])) for one in packed.json()["data"]]
        assert [list(one) for one in found] == [list(array("f", one)) for one in numbers]
        for model in ("openai-x/none", "none", "tier/worker", "mistral/mistral-embed"):  # there is no key for the last
            unknown = await server.http.post("/v1/embeddings", json={"model": model, "input": "tea"})
            assert (unknown.status_code, unknown.json()["error"]["code"]) == (404, "model_not_found"), unknown.text


class SpansOfRequests(Subscriber):
    """Makes spans of what it hears."""

    traces = True

    def __init__(self) -> None:
        self.spans: list[SpanRecord] = []
        self._trees: dict[str, SpanTree] = {}
        self._ids = itertools.count(1)

    def hear(self, subject: Subject, event: Event) -> None:
        tree = self._trees.setdefault(subject.id, SpanTree(subject, lambda: f"{next(self._ids):016x}", str))
        self.spans += tree.hear(event)


async def test_a_request_for_vectors_is_told_as_one_and_as_one_also_where_it_fails(serve: Any, tmp_path: Path) -> None:
    upstream, failing = serve({"POST /v1/embeddings": embeddings}), serve({})
    policy, catalog = parse_policy({}, load_catalog())
    telling, counting = SpansOfRequests(), RequestsEnded()
    for root in (upstream.root, failing.root):
        places = {"OPENAI_BASE_URL": f"{root}/v1", "OPENAI_API_KEY": "sk-x"}
        async with (
            observation((telling, counting), ignore, time.time) as watch,
            HttpxTransport() as net,
            open_manager(policy, catalog, places, transport=net) as manager,
            served(manager, tmp_path, None, (), watch) as server,
        ):
            await server.http.post("/v1/embeddings", json={"model": MODEL, "input": "tea"})
    operations = [span for span in telling.spans if not span.name.startswith("attempt")]
    assert [span.name for span in operations] == ["embeddings text-embedding-3-small"] * 2
    assert [bool(span.error) for span in operations] == [False, True]
    assert operations[0].end > operations[0].start
    assert [call.operation for call in counting.calls] == ["embeddings", "embeddings"]


class RequestsEnded(Subscriber):
    """Keeps how requests ended."""

    def __init__(self) -> None:
        self.calls: list[CallEnded] = []

    def hear(self, _: Subject, event: Event) -> None:
        if isinstance(event.data, CallEnded):
            self.calls.append(event.data)


@pytest.mark.long
async def test_vectors_are_paid_by_the_key_that_may_ask_for_them(serve: Any, tmp_path: Path) -> None:
    upstream = serve({"POST /v1/embeddings": embeddings})
    policy, catalog = parse_policy({}, load_catalog())
    places = {"OPENAI_BASE_URL": f"{upstream.root}/v1", "OPENAI_API_KEY": "sk-x"}
    keys = ClientKeys(tmp_path)
    some = keys.make("some", 0.0, models=("openai/*",), tpm=1000, budgets=(KeyBudget(0.00001, "day"),))
    none = keys.make("none", 0.0, models=("tier/*",))
    async with (
        HttpxTransport() as net,
        open_manager(policy, catalog, places, transport=net) as manager,
        served(manager, tmp_path, keys) as server,
    ):

        async def ask(key: str, text: str) -> Any:
            asked = {"model": "text-embedding-3-small", "input": text}
            return await server.http.post("/v1/embeddings", json=asked, headers={"authorization": f"Bearer {key}"})

        told = await ask(some, "tea")
        assert (told.status_code, told.headers["x-ratelimit-limit-tokens"]) == (200, "1000")
        assert (await ask(none, "tea")).json()["error"]["code"] == "model_not_allowed"
        assert (await ask(some, "tea " * 900)).json()["error"]["code"] == "insufficient_quota"
        assert (await ask(some, "tea")).status_code == 200
    rows = spent_in(tmp_path)
    assert {whose.model: spending.embedded for whose, spending in rows.items()} == {"text-embedding-3-small": 2}


@pytest.mark.few(2)
@pytest.mark.parametrize("wrong", [[], ["a", " "], [1, 2], [[1]], None, ""])
async def test_what_is_no_text_is_refused(wrong: Any, tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        answer = await server.http.post("/v1/embeddings", json={"model": MODEL, "input": wrong})
        assert answer.status_code == 400
        assert answer.json()["error"]["param"].startswith("input")
        nobody = await server.http.post("/v1/embeddings", json={"model": "tier/worker", "input": "tea"})
        assert (nobody.status_code, nobody.json()["error"]["code"]) == (400, "unsupported_by_model")
