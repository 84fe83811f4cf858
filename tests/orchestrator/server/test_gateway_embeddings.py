"""Embeddings through the gateway, from a provider that has them."""

from __future__ import annotations

import base64
from array import array
from pathlib import Path
from typing import Any

import pytest

from orchestrator.server.gateway.keys import ClientKeys, KeyBudget
from orchestrator.server.gateway.store import spent_in
from orchestrator.testing import scripted
from providers.catalog.file import load_catalog
from providers.client.manager import open_manager
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
        unknown = await server.http.post("/v1/embeddings", json={"model": "openai-x/none", "input": "tea"})
        assert unknown.status_code in (404, 503), unknown.text


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
