"""Chat Completions against a real engine: what llama.cpp's server refuses, for ever and with a 500, is never sent."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

from providers.adapters.openai.encode import OpenAIChat
from providers.catalog.file import load_catalog
from providers.catalog.model import Candidate
from providers.messages import Request, ToolCall, ToolResult, assistant, tool, user
from tests.llama import CALLING, Llama, serving
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.e2e

BROKEN = ['{"city": "Ber', "null", "", "[]", '[{"a": 1}]', "7", '"{}"', '"\\"{}\\""', '{"a": NaN}', '{"a": 1e999}',
          '{"a": "x\ny"}', '{"a": "\\ud83d"}', '{"a": 1, "a": 2}', "nope", "[" * 500]  # fmt: skip


@pytest.fixture(scope="module")
def calling(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    yield from serving(tmp_path_factory.mktemp("calling"), CALLING)


def status(llama: Llama, body: bytes) -> int:
    url, headers = f"{llama.base_url}/chat/completions", {"content-type": "application/json"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=PATIENCE_S) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_llama_takes_any_history_of_calls(calling: Llama):
    provider = load_catalog().providers["local"]
    row = Candidate(provider, provider.models["default"])
    statuses = {}
    for arguments in BROKEN:
        history = (user("hi"), assistant(ToolCall("a", "f", arguments)), tool(ToolResult("a", "f", "ok")))
        sent = OpenAIChat().encode(Request(history, max_output_tokens=1), row, stream=True)
        statuses[arguments] = status(calling, sent.body)
    assert statuses == dict.fromkeys(BROKEN, 200)
