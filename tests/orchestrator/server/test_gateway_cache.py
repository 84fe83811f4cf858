"""Answers that the gateway gives again."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest

from orchestrator.server.gateway.kept_answers import TABLE, read_answer, write_answers
from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.server.gateway.store import spent_in
from providers.messages import FinishReason
from tests.orchestrator.server.priced import ASK, NOON, Answers, priced
from tests.orchestrator.server.served import Served, served

pytestmark = pytest.mark.anyio
CHAT = "/v1/chat/completions"


async def ask(server: Served, key: str, more: Mapping[str, Any] = {}, kept: str | None = None) -> httpx2.Response:
    headers = {"authorization": f"Bearer {key}", **({} if kept is None else {"x-orchestrator-cache": kept})}
    path = more.get("at", CHAT)
    return await server.http.post(path, json={**ASK, **more}, headers=headers)


async def test_an_answer_is_given_again_to_the_same_key_alone(tmp_path: Path) -> None:
    clock, answers, keys = [NOON], Answers(), ClientKeys(tmp_path)
    one, other = keys.make("one", NOON, cache_s=60.0), keys.make("other", NOON, cache_s=60.0)
    async with served(priced(answers, clock=lambda: clock[0]), tmp_path, keys) as server:

        async def told(key: str, more: Mapping[str, Any] = {}, kept: str | None = None) -> str | None:
            answer = await ask(server, key, more, kept)
            assert "Hi there" in answer.text.replace('"},"logprobs', "")
            found: str | None = answer.headers.get("x-orchestrator-cache")
            assert found != "hit" or more.get("stream") or answer.headers["x-orchestrator-cost-usd"] == "0.000000"
            return found

        assert [await told(one), await told(one), await told(other)] == ["miss", "hit", "miss"]
        assert await told(one, {"temperature": 0.5}) == "miss"
        assert await told(one, {"stream": True}) == "hit"
        assert await told(one, {"user": "somebody", "metadata": {"a": "b"}}) == "hit"
        assert await told(one, kept="no-store") is None
        assert (await ask(server, one, kept="soon")).status_code == 400
        assert len(answers.requests) == 4
    async with served(priced(answers, clock=lambda: clock[0]), tmp_path, keys) as server:  # a restart
        assert (await ask(server, one)).headers["x-orchestrator-cache"] == "hit"
        clock[0] += 61
        assert (await ask(server, one)).headers["x-orchestrator-cache"] == "miss"
    figures = {whose.key: figures for whose, figures in spent_in(tmp_path).items()}
    assert (figures["one"].turns, figures["one"].hits, figures["one"].cost) == (4, 4, 60_000)


@pytest.mark.long
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_whole_is_not_kept(stream: bool, tmp_path: Path) -> None:
    answers, keys = Answers(), ClientKeys(tmp_path)
    key = keys.make("one", NOON)
    failed = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "a", "name": "f", "input": {}}]},
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "a", "content": "timed out", "is_error": True}],
        },
    ]
    messages = {"at": "/v1/messages", "messages": failed}
    async with served(priced(answers), tmp_path, keys) as server:
        for finish, more in (
            (FinishReason.LENGTH, {}),
            (FinishReason.CONTENT_FILTER, {}),
            (FinishReason.STOP, messages),
        ):
            answers.finish = finish
            for _ in range(2):
                answer = await ask(server, key, {**more, "stream": stream}, "60")
                assert answer.headers["x-orchestrator-cache"] == "miss"
        answers.text = "x" * (2 << 20)  # more than is kept
        for _ in range(2):
            assert (await ask(server, key, {"seed": 0, "stream": stream}, "60")).headers[
                "x-orchestrator-cache"
            ] == "miss"
        answers.text = "Hi \ud800 👋"
        for expected in ("miss", "hit"):
            answer = await ask(server, key, {"seed": 1, "stream": stream}, "60")
            assert answer.headers["x-orchestrator-cache"] == expected
            assert "Hi ? 👋" in answer.text or "\\ud800" in answer.text


def test_what_is_kept_has_bounds() -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.executescript(TABLE)
        for at in range(4):
            write_answers(db, {b"%d" % at: (NOON + 60 + at, b"x" * 10)}, {b"0": NOON + at}, NOON + at, (3, 100))
        assert [read_answer(db, b"%d" % at, NOON + 4) is not None for at in range(4)] == [True, False, True, True]
        write_answers(db, {b"4": (NOON + 90, b"x" * 85)}, {}, NOON + 5, (3, 100))
        assert [read_answer(db, b"%d" % at, NOON + 5) is not None for at in (0, 2, 3, 4)] == [False, False, True, True]
        assert read_answer(db, b"4", NOON + 90) is None
