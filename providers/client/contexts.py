"""How much the models of one's own servers take at once: asked of the servers, for they alone know it.

What counts is what a server will use, not what a model was trained for: Ollama cuts longer prompts without a word.
Sources: docs/sources.md#local-servers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import anyio

from providers.adapters import HttpRequest
from providers.adapters.encoding import to_json
from providers.catalog.model import Candidate
from providers.client.adapter_table import AdapterTable
from providers.client.discovery import json_of
from providers.client.probes import list_request
from providers.errors import AuthFailed, ProviderError
from providers.messages import Request
from providers.routing.candidate_state import CandidateState
from providers.routing.choice import choose
from providers.routing.fleet import Fleet
from providers.routing.ranking import Route

WITHIN_S = 1.0
"""How long a turn waits for what a server says."""
AGAIN_S = 1.0
"""After so long a model is asked for again that was not in memory: once it is, its server knows."""
DOWN_S = 60.0
"""The same for a server that did not answer."""
LOAD_S = 600.0
"""How long a model may take into memory; whoever waits for it stops before."""
SHARE = 0.25
"""How much of a turn's deadline the asking may take."""
OLLAMA_ASSUMES = 4096
"""What Ollama uses for a model that names nothing, with less than 24 GiB of graphics memory."""
_num_ctx = re.compile(r"^\s*num_ctx\s+(\d+)\s*$", re.MULTILINE).search


class Told(NamedTuple):
    """What a server says of a model's context, in tokens. `certain`: it is in memory with that; else it is a guess.

    `most` is what it could be at the most, where that is known.
    """

    context: int | None = None
    certain: bool = True
    most: int | None = None


NOTHING = Told()


class OwnContexts:
    """Asks the servers of a fleet that are one's own, before the first turn that would go there. Never fails."""

    def __init__(self, fleet: Fleet, adapters: AdapterTable, clock: Callable[[], float]) -> None:
        self._fleet, self._adapters, self._clock = fleet, adapters, clock
        self._states: Mapping[str, CandidateState] = {}
        self._due: dict[str, float] = {}
        """The candidates that are to be asked for, and from when on (of the event loop's clock)."""
        self._asking = anyio.Lock()
        self.within = WITHIN_S

    async def learn(self, request: Request) -> None:
        """Return once it is known what the server takes that this request would go to first; after a second at most.

        Where the model is not in memory yet and the request may be too large for it, the server is told to load it:
        that may take as long as the turn may.
        """
        if self._states is not self._fleet.states:  # another policy was adopted
            self._states = self._fleet.states
            self._due = {name: 0.0 for name, state in self._states.items() if _is_own(state.candidate)}
        if not self._due or not self._concerned(request):
            return
        allowed = request.needs.deadline_s or self._fleet.policy.timeouts.total
        patience = min(self.within, SHARE * allowed)
        with anyio.move_on_after(allowed):
            await self._ask_in_turn(request, patience)

    async def _ask_in_turn(self, request: Request, patience: float) -> None:
        async with self._asking, anyio.create_task_group() as tasks:
            for name in self._concerned(request):
                tasks.start_soon(self._ask, self._states[name], request, patience)

    def _concerned(self, request: Request) -> list[str]:
        """Return the candidates to ask for: the one that comes first, or where none fits, all that might."""
        now, decision = anyio.current_time(), choose(self._fleet, request, self._clock())
        names = decision.names[:1] if isinstance(decision, Route) else decision.reasons
        return [name for name in names if self._due.get(name, now + 1) <= now]

    async def _ask(self, state: CandidateState, request: Request, patience: float) -> None:
        server = _Server(self._adapters, state.candidate, patience)
        told: Told | None = None
        with anyio.move_on_after(patience):
            told = await server.told()
        if told is None:
            self._due[state.name] = anyio.current_time() + DOWN_S
            return
        _adopt(state, told)
        if not told.certain and self._is_too_large(state, request, told):
            with anyio.move_on_after(request.needs.deadline_s or self._fleet.policy.timeouts.total):
                await server.load()
                told = await server.told() or told
                _adopt(state, told)
        if told.certain:
            self._due.pop(state.name, None)
        else:
            self._due[state.name] = anyio.current_time() + AGAIN_S

    def _is_too_large(self, state: CandidateState, request: Request, told: Told) -> bool:
        """Whether the request does not fit what is known, and may fit once the model is in memory."""
        needed = self._fleet.demands(request)[0] + (request.max_output_tokens or state.room)
        return needed > state.candidate.model.context and (told.most is None or needed <= told.most)


def _is_own(candidate: Candidate) -> bool:
    row = candidate.provider
    return not row.hosted and row.dialect == "openai-chat" and bool(row.base_url)


def _adopt(state: CandidateState, told: Told) -> None:
    """Go on with what the server says; a figure that somebody wrote down is never raised."""
    model = state.candidate.model
    if told.context is None:
        return
    context = told.context if model.assumed else min(told.context, model.context)
    known = replace(model, context=context, max_output=min(model.max_output, context))
    state.adopt(replace(state.candidate, model=known))


class _Server:
    """One server, as a candidate reaches it."""

    def __init__(self, adapters: AdapterTable, candidate: Candidate, within: float) -> None:
        self._adapters, self._candidate, self._within = adapters, candidate, within
        self._base = candidate.provider.base_url
        self._root = self._base.removesuffix("/v1")

    async def told(self) -> Told | None:
        """Return what the server says of the model, None where it cannot be reached."""
        said: dict[str, Any] = {}
        paths = {"ps": f"{self._root}/api/ps", "props": f"{self._root}/props", "v1": f"{self._base}/models"}
        paths["v0"] = f"{self._root}/api/v0/models"
        async with anyio.create_task_group() as tasks:
            for name, url in paths.items():
                tasks.start_soon(self._get, name, url, said)
        if not said:
            return None
        name = self._candidate.model.name
        if is_ollama(said.get("ps")):
            running = running_context(name, said["ps"])
            if running is not None and running.context is not None:
                return running
            told = ollama_context(await self._post("/api/show", {"model": name}))
            return told if running is None else told._replace(certain=True)
        return (
            studio_context(name, said.get("v0"))
            or vllm_context(name, said.get("v1"))
            or llama_context(said.get("props"))
            or NOTHING
        )

    async def load(self) -> None:
        """Have the model brought into memory: a request without a prompt does that."""
        await self._post("/api/generate", {"model": self._candidate.model.name}, LOAD_S)

    async def _get(self, name: str, url: str, said: dict[str, Any]) -> None:
        """Note what a path says; None: there is nothing of the kind."""
        try:
            request = list_request(self._adapters.remote[self._candidate.provider.dialect], self._candidate)
            said[name] = await self._json(replace(request, url=url), self._within)
        except ProviderError as error:
            if isinstance(error, AuthFailed):
                said[name] = None

    async def _post(self, path: str, body: Mapping[str, Any], seconds: float | None = None) -> Any:
        adapter = self._adapters.remote[self._candidate.provider.dialect]
        try:
            headers = {**list_request(adapter, self._candidate).headers, "content-type": "application/json"}
            return await self._json(
                HttpRequest("POST", f"{self._root}{path}", headers, to_json(body)), seconds or self._within
            )
        except ProviderError:
            return None

    async def _json(self, request: HttpRequest, seconds: float) -> Any:
        send, connect = self._adapters.transport.send, self._within / 2
        return json_of(await send(request, connect_s=connect, first_byte_s=seconds, idle_s=seconds, total_s=seconds))


# -- what the servers say


def is_ollama(running: Any) -> bool:
    """Whether what `/api/ps` says is Ollama's list of what is in memory."""
    return isinstance(running, dict) and isinstance(running.get("models"), list)


def running_context(name: str, running: Any) -> Told | None:
    """Return the context with which Ollama has the model in memory, None where it has not. Older ones name none."""
    for entry in running["models"]:
        if isinstance(entry, dict) and tagged(name) in (tagged(entry.get("name")), tagged(entry.get("model"))):
            return Told(_tokens(entry.get("context_length")))
    return None


def tagged(name: Any) -> str:
    """Return the name of a model with its tag, as Ollama lists it."""
    text = str(name or "")
    return text if ":" in text.rpartition("/")[2] else f"{text}:latest"


def ollama_context(shown: Any) -> Told:
    """Return what Ollama would give a model that is not in memory: its own parameter, else what it assumes."""
    shown = shown if isinstance(shown, dict) else {}
    info = shown.get("model_info")
    trained = [
        value for key, value in (info.items() if isinstance(info, dict) else ()) if str(key).endswith(".context_length")
    ]
    most = next(filter(None, map(_tokens, trained)), None)
    own = _num_ctx(parameters) if isinstance(parameters := shown.get("parameters"), str) else None
    context = int(own[1]) if own else OLLAMA_ASSUMES
    return Told(min(context, most or context), certain=False, most=most)


def studio_context(name: str, listed: Any) -> Told | None:
    """Return what LM Studio has the model in memory with; where it has not, at the most what the model can take."""
    entries = _entries(listed)
    entry = next((each for each in entries if each.get("id") == name), None)
    if entry is None:
        loaded = [each for each in entries if each.get("state") == "loaded"]
        entry = loaded[0] if len(loaded) == 1 else None
    if entry is None or "max_context_length" not in entry:
        return None
    most, context = _tokens(entry["max_context_length"]), _tokens(entry.get("loaded_context_length"))
    if entry.get("state") == "loaded" and context is not None:
        return Told(context)
    return Told(most if most is not None and most < OLLAMA_ASSUMES else None, certain=False, most=most)


def vllm_context(name: str, listed: Any) -> Told | None:
    """Return the model's length as vLLM lists it: of this model, or of the one that it serves."""
    entries = [each for each in _entries(listed) if _tokens(each.get("max_model_len")) is not None]
    entry = next((each for each in entries if each.get("id") == name), entries[0] if len(entries) == 1 else None)
    return None if entry is None else Told(_tokens(entry["max_model_len"]))


def llama_context(props: Any) -> Told | None:
    """Return the context of a slot of llama.cpp's server."""
    settings = props.get("default_generation_settings") if isinstance(props, dict) else None
    context = _tokens(settings.get("n_ctx")) if isinstance(settings, dict) else None
    return None if context is None else Told(context)


def _entries(listed: Any) -> list[Mapping[str, Any]]:
    data = listed.get("data") if isinstance(listed, dict) else None
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def _tokens(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
