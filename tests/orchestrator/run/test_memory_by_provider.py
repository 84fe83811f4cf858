"""Memory by a provider's vectors in a run: found by meaning, billed, never a reason to fail, and made once."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import anyio
import pytest

from agents.events import MemoryByWords, TextsEmbedded
from agents.memory.meaning import ProviderMeaning
from agents.memory.records import made_record
from agents.memory.store import MemoryStore
from agents.memory.use import MemoryUse, ProviderEmbeddings
from agents.run_context import RunContext
from orchestrator import Squad
from orchestrator.errors import PlanError
from orchestrator.journal.memory import MemoryJournal
from orchestrator.rerun.replay import replay
from orchestrator.run.history import history_of
from orchestrator.run.spending import asked_by, spending
from providers.catalog.file import load_catalog
from providers.client.manager import open_manager
from providers.messages import Usage
from providers.policy.parse import parse_policy
from providers.transport.over_httpx2 import HttpxTransport
from tests.components import imported
from tests.local_servers import Asked, Said, chat, embeddings
from tests.orchestrator.squads import Answers, of_type, run, squad, types

pytestmark = pytest.mark.anyio
imported("numpy", "embeddings")
CATALOG = load_catalog()
MODEL = "openai/text-embedding-3-small"
ROUTES = {"POST /v1/embeddings": embeddings, "POST /v1/chat/completions": chat}
FACT = "Every invoice is due in 30 days."


def remembering(embeddings: Any = None, description: str = "Plan the payment.", **more: Any) -> Squad:
    persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
    memory = {"embeddings": {"model": MODEL} if embeddings is None else embeddings}
    return squad({"a": description}, people={"ann": {"persona": persona, "memory": memory}}, **more)


class Both(Answers):
    """Answers turns by a function, and makes vectors by a real manager."""

    def __init__(self, manager: Any, answer: Any = None) -> None:
        super().__init__(answer)
        self.embed = manager.embed


@asynccontextmanager
async def served(server: Any, answer: Any = None, environ: dict[str, str] | None = None):
    policy, catalog = parse_policy({}, CATALOG)
    places = {"OPENAI_BASE_URL": f"{server.root}/v1", **({"OPENAI_API_KEY": "sk-x"} if environ is None else environ)}
    async with HttpxTransport() as net, open_manager(policy, catalog, places, transport=net) as manager:
        yield Both(manager, answer)


def stored(*texts: str, scope: str = "test") -> MemoryStore:
    store = MemoryStore.open()
    store.remember([made_record(text, scope, "user", 1e9) for text in texts], 1e9)
    return store


def sent(server: Any) -> list[list[str]]:
    return [one.body["input"] for one in server.asked if "input" in one.body]


async def test_records_are_found_by_meaning_and_their_vectors_are_made_once_and_billed(serve) -> None:
    server, store, journal = serve(ROUTES), stored(FACT, "Zebras are striped."), MemoryJournal()
    with store:
        store.remember([made_record("Another squad's secret plan.", "other", "user", 1e9)], 1e9)
        async with served(server) as both:
            _, events = await run(remembering(), both, memory=store, journal=journal, run_id="r")
            await run(remembering(), both, memory=store)
    assert FACT in both.prompts("ann")[0]
    assert "Zebras" not in both.prompts("ann")[0]
    [question], records, again = sent(server)
    assert "payment" in question
    assert sorted(records) == sorted([FACT, "Zebras are striped."])  # no other squad's are sent
    assert again == [question]
    made = of_type(events, "texts.embedded")
    assert [(one.agent, one.texts, one.cost) for one in made] == [("ann", 1, 1), ("ann", 2, 1)]
    spent, total = spending(await journal.spent([asked_by("agent")]), "agent", UTC)
    assert (total.embedded, total.turns, spent["ann"].cost) == (2, 1, 12)
    assert (await replay(journal, "r")).is_equal
    paid = history_of(await journal.events("r")).paid
    assert sorted(one.turns for one in paid) == [0, 0, 1]


@pytest.mark.long
async def test_what_an_agent_remembers_gets_its_vector_and_its_search_asks_for_one(serve) -> None:
    from tests.orchestrator.run.test_memory import once

    server, journal = serve(ROUTES), MemoryJournal()
    with MemoryStore.open() as store:
        kept = once("remember", text=FACT)
        async with served(server, kept.answer) as both:
            await run(remembering(description="Note it."), both, memory=store, journal=journal, run_id="r")
        assert [FACT] in sent(server)
        searched = once("search_memory", query="payment terms")
        async with served(server, searched.answer) as both:
            given = remembering({"model": MODEL, "dimensions": 4}, "Note it.")
            _, events = await run(given, both, memory=store)
        [ended] = of_type(events, "tool.ended")
        assert FACT in ended.result
    assert (await replay(journal, "r")).is_equal


def _fails(_: Asked) -> Said:
    return Said(500, {"error": {"message": "broken"}})


@pytest.mark.parametrize(
    "reply",
    [
        pytest.param(_fails, marks=pytest.mark.long),
        pytest.param(Said(200, {"data": []}), marks=pytest.mark.long),
        Said(401, {"error": {"message": "bad key"}}),
    ],
)
async def test_a_provider_that_fails_leaves_memory_to_words_which_is_told_once(serve, reply: Any) -> None:
    server = serve({**ROUTES, "POST /v1/embeddings": reply})
    tasks = {"a": "Plan the invoice.", "b": {"agent": "ann", "description": "Plan the invoice.", "needs": ["a"]}}
    persona = {"name": "Tester", "role": "Answers.", "tier": "worker"}
    given = squad(tasks, people={"ann": {"persona": persona, "memory": {"embeddings": {"model": MODEL}}}})
    with stored(FACT) as store:
        async with served(server) as both:
            result, events = await run(given, both, memory=store)
    assert result.status == "done"
    assert [FACT in prompt for prompt in both.prompts("ann")] == [True, True]
    assert types(events).count("memory.by_words") == 1
    asked = [one.body["input"] for one in server.asked]  # after a failure there is a rest
    assert asked in ([["Plan the invoice."]] * 4, [["Plan the invoice."]])


async def test_offline_or_without_a_key_memory_goes_by_words_and_says_why(serve) -> None:
    with stored(FACT) as store:
        async with served(serve({}), environ={}) as both:
            result, events = await run(remembering(), both, memory=store)
        assert result.status == "done"
        [told] = of_type(events, "memory.by_words")
        assert "no key: set OPENAI_API_KEY" in told.reason
        _, events = await run(remembering(), Answers(), memory=store)
        [told] = of_type(events, "memory.by_words")
        assert told.reason == "what answers this run makes no vectors"
        async with open_manager(offline=True) as manager:
            _, events = await run(remembering(), Both(manager), memory=store)
        [told] = of_type(events, "memory.by_words")
        assert "the offline stub makes no vectors" in told.reason


async def test_one_who_never_answers_is_waited_for_so_long_and_no_longer() -> None:
    class Silent:
        asked = 0

        async def embed(self, texts: Any, **_: Any) -> Any:
            self.asked += 1
            await anyio.sleep_forever()

    events: list[Any] = []
    silent = Silent()
    with stored(FACT) as store:
        meaning = ProviderMeaning(ProviderEmbeddings((MODEL,)), silent, within_s=0.01)
        ctx = RunContext(emit=events.append)
        assert await meaning.asked("payment", store, ["test"], "ann", ctx) is None
        assert await meaning.asked("payment", store, ["test"], "ann", ctx) is None
        assert await meaning.asked(" ", store, ["test"], "ann", ctx) is None
    assert silent.asked == 1
    assert [type(event) for event in events] == [MemoryByWords]
    assert "within 0.01 s" in events[0].reason


@pytest.mark.long
async def test_two_at_once_pay_for_a_record_s_vector_once(serve) -> None:
    server = serve(ROUTES)
    with stored(FACT, "Zebras are striped.") as store:
        async with served(server) as both:
            meaning = ProviderMeaning(ProviderEmbeddings((MODEL,)), both)
            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(meaning.asked, "payment", store, ["test"], "ann", RunContext())
    assert [len(one) for one in sent(server)].count(2) == 1


async def test_a_key_in_what_is_asked_is_not_sent(serve) -> None:
    server, key = serve(ROUTES), "sk-proj-abcdefghijklmnopqrstuvwxyz0123456789ABCD"
    with stored(FACT) as store:
        async with served(server) as both:
            await run(remembering(description=f"Pay with the key {key}."), both, memory=store)
    assert sent(server)
    assert key not in json.dumps(sent(server))


@pytest.mark.long
async def test_vectors_draw_on_the_budget_and_count_as_no_turn(serve) -> None:
    server = serve(ROUTES)
    with stored(FACT) as store:
        async with served(server) as both:
            result, events = await run(remembering(budget={"max_turns": 1}), both, memory=store)
            assert (result.status, types(events).count("texts.embedded")) == ("done", 2)
            _, events = await run(remembering(budget={"max_tokens": 5}), both, memory=store)
    assert "memory.by_words" in types(events)


def problems(embeddings: Any) -> list[tuple[Any, str]]:
    with pytest.raises(PlanError) as refused:
        remembering(embeddings)
    return [(problem.path[3:], problem.code) for problem in refused.value.problems]


@pytest.mark.parametrize(
    ("given", "where", "code"),
    [
        ({"model": "openai/text-embedding-9"}, "model", "unknown-model"),
        ({"model": "nobody/embed"}, "model", "unknown-model"),
        ({"model": "embed"}, "model", "unknown-model"),
        ({"provider": "opnai", "model": "text-embedding-3-small"}, "provider", "unknown-model"),
        ({"model": "openai/gpt-6-luna"}, "model", "bad-embeddings"),
        ({"model": "anthropic/claude-haiku-5-5"}, "model", "bad-embeddings"),
        ({"model": MODEL, "dimensions": 4096}, "dimensions", "bad-embeddings"),
        ({"model": "mistral/mistral-embed", "dimensions": 256}, "dimensions", "bad-embeddings"),
        ({"dimensions": 3}, "model", "missing-field"),
        ({"model": MODEL, "dimensions": 0}, "dimensions", "out-of-range"),
    ],
)
def test_a_model_that_makes_no_vectors_is_told_before_anything_is_spent(given: Any, where: str, code: str) -> None:
    assert [(path[-1], code) for path, code in problems(given)] == [(where, code)]


def test_both_forms_become_what_an_agent_uses() -> None:
    for written in ({"model": MODEL, "dimensions": 256}, {"provider": "openai", "model": MODEL[7:], "dimensions": 256}):
        use = remembering(written).outline().agents["ann"].memory
        assert use == MemoryUse("test", "ann", embeddings=ProviderEmbeddings((MODEL,), 256))
    for model in ("text-embedding-3-small", "ollama/whatever", "mistral/mistral-embed"):
        assert remembering({"model": model}).warnings == ()


def test_that_no_provider_has_a_key_is_a_warning() -> None:
    given = remembering()
    [warning] = given.warnings_in({})
    assert (warning.code, warning.severity) == ("unreachable-embeddings", "warning")
    assert "set OPENAI_API_KEY" in warning.message
    assert list(given.warnings_in({"OPENAI_API_KEY": "sk-x"})) == []
    assert len(remembering({"model": "ollama/nomic-embed-text"}).warnings_in({})) == 1


def test_a_bill_of_vectors_is_read_from_a_journal_and_an_older_one_lacks_none() -> None:
    from orchestrator.journal.codec import pack, unpack

    made = TextsEmbedded("ann", 2, "openai", "m", Usage(7), 1)
    packed = pack(made)
    assert unpack(packed.data, packed.bodies.__getitem__) == made


@pytest.mark.long
async def test_the_folder_of_a_run_s_state_keeps_vectors_apart_by_model_and_length(serve, tmp_path: Path) -> None:
    server = serve(ROUTES)
    with stored(FACT) as store:
        async with served(server) as both:
            for embeddings in ({"model": MODEL}, {"model": MODEL, "dimensions": 3}, {"model": MODEL}):
                await run(remembering(embeddings), both, memory=store, state=tmp_path)
                assert FACT in both.prompts("ann")[-1]
        assert len([one for one in sent(server) if one == [FACT]]) == 2


@pytest.mark.parametrize(
    ("written", "meant"), [("models/x", "teams/models/x"), ("/models/x", "/models/x"), ("~/models/x", "~/models/x")]
)
def test_the_folder_of_a_sub_squads_model_stands_beside_its_own_file(written: str, meant: str) -> None:
    assert MemoryUse("s", "ann", embeddings=written).below("teams").embeddings == meant
    by_provider = MemoryUse("s", "ann", embeddings=ProviderEmbeddings((MODEL,)))
    assert by_provider.below("teams") == by_provider
    assert MemoryUse("s", "ann", embeddings=written).below("").embeddings == written
