"""The memory and knowledge of a run, opened: its stores, the indexes of its documents, and what agents are told."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from threading import Event as Stop
from typing import Any

from agents.errors import AgentError
from agents.events import KnowledgeRead, MemoryRecalled
from agents.memory.bound import knowledge_tool, looked_up, memory_tools
from agents.memory.database import MemoryUnusable
from agents.memory.embedders import LocalEmbedder
from agents.memory.folder import KnowledgeFolder
from agents.memory.knowledge import Indexed, KnowledgeIndex, index_file
from agents.memory.meaning import ProviderMeaning
from agents.memory.model_folder import NO_NUMPY, NUMPY_HINT
from agents.memory.records import RecordTrust
from agents.memory.store import MOST_FOUND, MemoryStore
from agents.memory.use import (
    OF_CHUNKS,
    OF_RECORDS,
    KnowledgeSource,
    KnowledgeUse,
    MemoryUse,
    ProviderEmbeddings,
    Recalled,
    chunk_in_words,
    in_words,
    recalled,
)
from agents.memory.vectors import NamedVector
from agents.run_context import RunContext
from agents.threads import in_thread
from agents.tools import Tool
from orchestrator.run.memory_setting import FILE, MemorySetting
from orchestrator.squad.plan import AgentPlan, Plan

MOST_TOLD = 20
"""Files that cannot be read which an event names."""


@dataclass(frozen=True, slots=True)
class OpenedMemory:
    """One run's memory. `news` says what was read for its knowledge."""

    stores: Mapping[str | None, MemoryStore]
    """By the folder of the model by which records are found, None: by words, or by vectors that a provider makes. All
    are of one file."""
    run: str
    clock: Callable[[], float]
    knowledge: Mapping[KnowledgeSource, KnowledgeIndex] = field(default_factory=dict)
    news: list[KnowledgeRead] = field(default_factory=list)
    meanings: Mapping[ProviderEmbeddings, ProviderMeaning] = field(default_factory=dict)

    def tools(self, agent: AgentPlan, others: Iterable[Tool] = ()) -> tuple[Tool, ...]:
        found: tuple[Tool, ...] = ()
        trust: RecordTrust = "untrusted" if any(one.untrusted for one in others) else "agent"
        if agent.memory is not None:
            store, meaning = self._by(agent.memory)
            found = memory_tools(store, agent.memory, self.clock, trust, meaning)
        if agent.knowledge is not None:
            found = (*found, knowledge_tool(self._indexes(agent.knowledge)))
        return found

    def _by(self, use: MemoryUse) -> tuple[MemoryStore, ProviderMeaning | None]:
        """Return the store of an agent, and what makes vectors for it, where that is a provider."""
        if isinstance(use.embeddings, ProviderEmbeddings):
            return self.stores[None], self.meanings[use.embeddings]
        return self.stores[use.embeddings], None

    def _indexes(self, use: KnowledgeUse) -> list[KnowledgeIndex]:
        return [self.knowledge[source] for source in use.sources]

    async def told(self, agent: AgentPlan, about: str, ctx: RunContext, *, is_apart: bool) -> tuple[str, str]:
        records, passages = Recalled(), Recalled()
        if (use := agent.memory) is not None and use.recall:
            store, meaning = self._by(use)
            asked = None if meaning is None else await meaning.asked(about, store, use.read, agent.id, ctx)
            apart_from = ctx.unit if is_apart else None
            records = await in_thread(partial(self._remembered, store, use, about, apart_from, asked))
        if (documents := agent.knowledge) is not None and documents.recall:
            passages = await in_thread(lambda: self._looked_up(documents, about))
        ctx.emit(MemoryRecalled(agent.id, records.names, passages.names))
        return records.text, passages.text

    def _remembered(
        self, store: MemoryStore, use: MemoryUse, about: str, apart_from: str | None, asked: NamedVector | None
    ) -> Recalled:
        here = None if apart_from is None else (self.run, apart_from)
        found = [one.record for one in store.search(about, use.read, self.clock(), MOST_FOUND, asked=asked)]
        told = [one for one in found if (one.source.run, one.source.unit) != here][: use.recall]
        mark = f"memory {secrets.token_hex(8)}"
        return recalled([(one.id, in_words(one)) for one in told], OF_RECORDS, mark, use.max_tokens)

    def _looked_up(self, use: KnowledgeUse, about: str) -> Recalled:
        found = looked_up(self._indexes(use), about, use.recall)
        entries = ((one.citation, chunk_in_words(one.citation, one.chunk.heading, one.chunk.text)) for one in found)
        return recalled(entries, OF_CHUNKS, f"documents {secrets.token_hex(8)}", use.max_tokens)


@asynccontextmanager
async def opened(plan: Plan, setting: MemorySetting) -> AsyncIterator[OpenedMemory]:
    """Open what `open_memory` yields."""
    agents = plan.agents.values()
    sources = dict.fromkeys(one for agent in agents if agent.knowledge for one in agent.knowledge.sources)
    with ExitStack() as stack:
        uses = dict.fromkeys(agent.memory.embeddings for agent in agents if agent.memory is not None)
        meanings = {one: _meaning(setting, one) for one in uses if isinstance(one, ProviderEmbeddings)}
        folders = dict.fromkeys(None if isinstance(one, ProviderEmbeddings) else one for one in uses)
        stores = {one: stack.enter_context(await in_thread(partial(_store, setting, one))) for one in folders}
        knowledge = {source: stack.enter_context(_index(setting, source)) for source in sources}
        memory = OpenedMemory(stores, setting.run, setting.clock, knowledge, meanings=meanings)
        for source, index in knowledge.items():
            memory.news.append(_news(source, await _updated(source, index)))
        yield memory


def _meaning(setting: MemorySetting, use: ProviderEmbeddings) -> ProviderMeaning:
    """Return what makes vectors. Raise `MemoryUnusable` where nothing can compare them."""
    if find_spec("numpy") is None:
        raise MemoryUnusable(use.models[0], NO_NUMPY, NUMPY_HINT, what="embedding model")
    return ProviderMeaning(use, setting.answers)


@contextmanager
def _kept_open(store: MemoryStore) -> Iterator[MemoryStore]:
    yield store


def _store(setting: MemorySetting, embeddings: str | None) -> Any:
    """Return the store as a context that closes what was opened here."""
    if isinstance(setting.given, MemoryStore):
        return _kept_open(setting.given)
    embedder = None if embeddings is None else LocalEmbedder(setting.beside / Path(embeddings).expanduser())
    state = setting.state
    path = setting.given if setting.given is not None else None if state is None else state / FILE
    return MemoryStore.open(path, embedder=embedder)


@contextmanager
def _index(setting: MemorySetting, source: KnowledgeSource) -> Iterator[KnowledgeIndex]:
    folder = KnowledgeFolder(setting.beside, source.path, source.include, source.most_chars)
    index = KnowledgeIndex.open(folder, None if setting.state is None else index_file(folder, setting.state))
    try:
        yield index
    finally:
        index.close()


async def _updated(source: KnowledgeSource, index: KnowledgeIndex) -> Indexed:
    """Bring an index up to date, in a thread that stops between two files where nobody waits any more."""
    stop = Stop()
    try:
        made: Indexed = await in_thread(lambda: index.update(stop.is_set))
    except MemoryUnusable:
        raise
    except (OSError, AgentError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        hint = "it is a folder or file beside the squad"
        raise MemoryUnusable(source.path, reason, hint, what="knowledge") from error
    finally:
        stop.set()
    return made


def _news(source: KnowledgeSource, made: Indexed) -> KnowledgeRead:
    unread: Sequence[str] = [f"{one.path}: {one.why}" for one in made.unread]
    return KnowledgeRead(
        source.path, made.files, made.chunks, made.changed, made.gone, tuple(unread[:MOST_TOLD]), len(unread)
    )
