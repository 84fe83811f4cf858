"""The tools of memory and knowledge at work: bound to a store and to indexes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from agents.memory.knowledge import FoundChunk, KnowledgeIndex
from agents.memory.meaning import PLACE, ProviderMeaning
from agents.memory.records import NotStorable, RecordSource, RecordTrust, made_record
from agents.memory.store import MemoryStore
from agents.memory.tools import REMEMBER, SEARCH, UNBOUND, UNBOUND_KNOWLEDGE
from agents.memory.use import MemoryUse, chunk_in_words, in_words
from agents.memory.vectors import NamedVector
from agents.run_context import RunContext
from agents.threads import in_thread
from agents.tool_context import ToolContext
from agents.tools import Tool
from agents.untrusted import Untrusted
from providers.documents.secrets import MASK


def memory_tools(
    store: MemoryStore,
    use: MemoryUse,
    clock: Callable[[], float],
    trust: RecordTrust = "agent",
    meaning: ProviderMeaning | None = None,
) -> tuple[Tool, ...]:
    """Return `remember` and `search_memory`, bound to the store. What is remembered has the trust `trust`.

    With a `meaning`, a provider makes the vectors. What blocks is done in the thread of the call.
    """

    def remember(context: ToolContext, text: str, tags: list[str] | None = None) -> str | Awaitable[str]:
        source = RecordSource("agent", use.agent, context.run or "", context.unit)
        has_read = context.around is not None and bool(context.around.untrusted)
        whose: RecordTrust = "untrusted" if has_read else trust
        now = clock()
        try:
            made = made_record(text, use.written, whose, now, source=source, ttl_s=use.ttl_s, tags=tags or ())
        except NotStorable as error:
            raise ValueError(str(error)) from None
        [(kept, is_new)] = store.remember([made], now)
        hidden = "; what looks like a key was left out" if MASK in made.text and MASK not in text else ""
        told = f"{'remembered' if is_new else 'remembered already'}: {kept.id}{hidden}"
        return told if meaning is None else filled(meaning, context, told)

    async def filled(meaning: ProviderMeaning, context: ToolContext, told: str) -> str:
        await meaning.fill(store, use.read, use.agent, *_place_of(context))
        return told

    def search_memory(context: ToolContext, query: str, limit: int = 5) -> str | Awaitable[str]:
        return searched(query, limit) if meaning is None else by_meaning(meaning, context, query, limit)

    async def by_meaning(meaning: ProviderMeaning, context: ToolContext, query: str, limit: int) -> str:
        asked = await meaning.asked(query, store, use.read, use.agent, *_place_of(context))
        told: str = await in_thread(partial(searched, query, limit, asked))
        return told

    def searched(query: str, limit: int, asked: NamedVector | None = None) -> str:
        found = store.search(query, use.read, clock(), limit, asked=asked)
        told = "\n".join(in_words(one.record) for one in found) or "nothing that was remembered has these words"
        return Untrusted(told) if any(one.record.trust == "untrusted" for one in found) else told

    bound: dict[str, Callable[..., Any]] = {REMEMBER: remember, SEARCH: search_memory}
    return tuple(replace(one, function=bound[one.name]) for one in UNBOUND)


def _place_of(context: ToolContext) -> tuple[RunContext, str]:
    """Return what surrounds a call, and the place below it where vectors are made."""
    return context.around or RunContext(), f"{PLACE}-{context.call}"


def knowledge_tool(indexes: Sequence[KnowledgeIndex]) -> Tool:
    """Return `search_knowledge`, bound to these indexes."""

    def search_knowledge(query: str, limit: int = 5) -> str:
        found = looked_up(indexes, query, limit)
        told = [chunk_in_words(one.citation, one.chunk.heading, one.chunk.text) for one in found]
        return "\n".join(told) or "nothing in the documents has these words"

    return replace(UNBOUND_KNOWLEDGE, function=search_knowledge)


def looked_up(indexes: Sequence[KnowledgeIndex], query: str, limit: int) -> list[FoundChunk]:
    """Return the best chunks of all the indexes."""
    found = [one for index in indexes for one in index.search(query, limit)]
    return sorted(found, key=lambda one: -one.score)[:limit]
