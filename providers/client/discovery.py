"""Model servers on this machine, found at their usual ports where nothing else is configured.

Only this machine is asked, and only for lists of models: no words go to what has not shown, by the shape of its list,
that it is a model server. Sources: docs/sources.md#local-servers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio

from providers.adapters import HttpReply, HttpRequest
from providers.catalog.base_url import is_loopback, tidied, url_problem
from providers.documents.problems import variable_problem
from providers.errors import CatalogError, ProviderError
from providers.transport import Transport, open_transport

SWITCH = "ORCHESTRATOR_LOCAL_SERVERS"
"""`off`, `on`, or the addresses to look at; unset it is on."""
WAIT = "ORCHESTRATOR_LOCAL_WAIT"
"""Seconds for all of the search."""
WAIT_S = 0.8
OFF = frozenset({"off", "0", "no", "false", "none"})
ON = frozenset({"on", "1", "yes", "true"})
USUAL = ("http://127.0.0.1:11434", "http://127.0.0.1:8080", "http://127.0.0.1:1234", "http://127.0.0.1:8000")
"""Where Ollama, llama.cpp, LM Studio and vLLM listen unless told otherwise, in the order in which they are used."""
OLLAMA_HOST = "OLLAMA_HOST"
MAX_LIST = 4 * 1024 * 1024
OLLAMA = "ollama"
KINDS = {"llamacpp": "llama.cpp", "vllm": "vLLM", "library": OLLAMA}
"""Who a server is by what it says owns its models."""

OF_A_TAG = {"details", "digest", "model", "modified_at", "size"}
"""What stands beside the name of a model in Ollama's lists."""

_no_chat = re.compile(
    r"embed|rerank|whisper|\btts\b|\bclip\b|moderation|(?:^|[/_-])(?:bge|gte|e5|all-minilm|minilm|paraphrase)(?:[-_:/.]|$)",
    re.IGNORECASE,
).search
_of_the_cloud = re.compile(r"[:-]cloud$").search


class ServedModel(NamedTuple):
    """A model in a server's list: it takes words and answers (`chats`), and is in memory already (`loaded`)."""

    name: str
    loaded: bool
    chats: bool


@dataclass(frozen=True, slots=True)
class LocalServer:
    """A model server that was found. `provider` is the row that it answers as; `models` those that chat, best first."""

    provider: str
    kind: str
    root: str
    models: tuple[str, ...]

    @property
    def base_url(self) -> str:
        return f"{self.root}/v1"

    def variables(self) -> dict[str, str]:
        """Return what one would set to use it."""
        prefix = self.provider.upper()
        return {f"{prefix}_BASE_URL": self.base_url, f"{prefix}_MODEL": self.models[0]}

    def __str__(self) -> str:
        return f"{self.kind} at {self.root}"


async def local_servers(environ: Mapping[str, str]) -> list[LocalServer]:
    """Return the model servers that answer at this machine's usual ports, in the order of those.

    Takes `ORCHESTRATOR_LOCAL_WAIT` seconds (0.8) at the most. Raises `CatalogError` for variables that cannot be used.
    """
    roots, wait = _roots(environ), _wait(environ)
    if not roots:
        return []
    found: dict[str, LocalServer] = {}
    async with open_transport() as net:
        with anyio.move_on_after(wait):
            async with anyio.create_task_group() as tasks:
                for root in roots:
                    tasks.start_soon(_look, _Asker(net, root, wait), found)
    return [found[root] for root in roots if root in found]


def _roots(environ: Mapping[str, str]) -> list[str]:
    """Return the addresses to look at; none where the search is off."""
    said = environ.get(SWITCH, "").strip()
    if said.lower() in OFF:
        return []
    if said and said.lower() not in ON:
        return list(dict.fromkeys(map(_root, filter(None, map(str.strip, said.split(","))))))
    own = tidied(environ.get(OLLAMA_HOST, ""), "openai-chat", USUAL[0])
    is_here = own and not url_problem(own) and is_loopback(urlsplit(own).hostname or "")
    return list(dict.fromkeys((*([own.removesuffix("/v1")] if is_here else []), *USUAL)))


def _root(written: str) -> str:
    url = tidied(written, "openai-chat")
    if url_problem(url) or not is_loopback(urlsplit(url).hostname or ""):
        text = "the value is neither on nor off, nor addresses of this machine as 127.0.0.1:11434"
        raise CatalogError([variable_problem(SWITCH, text)])
    return url.removesuffix("/v1")


def _wait(environ: Mapping[str, str]) -> float:
    said = environ.get(WAIT, "").strip().removesuffix("s")
    try:
        wait = float(said or WAIT_S)
    except ValueError:
        wait = -1.0
    if not 0 < wait <= 600:
        raise CatalogError([variable_problem(WAIT, "the value is not a number of seconds")])
    return wait


@dataclass(frozen=True, slots=True)
class _Asker:
    """Asks one address, and takes nothing but JSON."""

    net: Transport
    root: str
    wait: float

    async def get(self, path: str) -> Any:
        """Return the JSON that is there, None where there is none."""
        request = HttpRequest("GET", f"{self.root}{path}", {"accept": "application/json"}, b"")
        try:
            reply = await self.net.send(
                request, connect_s=self.wait, first_byte_s=self.wait, idle_s=self.wait, total_s=self.wait
            )
        except ProviderError:
            return None
        return json_of(reply)


def json_of(reply: HttpReply) -> Any:
    """Return the JSON of a sound reply, None for any other."""
    if reply.status != 200 or len(reply.body) > MAX_LIST:
        return None
    try:
        return json.loads(reply.body)
    except (ValueError, RecursionError):
        return None


async def _look(asker: _Asker, found: dict[str, LocalServer]) -> None:
    """Note the model server at an address, if it is one."""
    models = ollama_models(await asker.get("/api/tags"))
    if models is not None:
        loaded = {model.name for model in ollama_models(await asker.get("/api/ps")) or ()}
        known = [model._replace(loaded=model.name in loaded) for model in models]
        found[asker.root] = LocalServer(OLLAMA, OLLAMA, asker.root, best_first(known))
        return
    listed = await asker.get("/v1/models")
    served = listed_models(listed)
    if served is None:
        return
    owners = {entry.get("owned_by") for entry in listed["data"]}
    kind = next((KINDS[owner] for owner in owners if owner in KINDS), "")
    if not kind and (known_here := studio_models(await asker.get("/api/v0/models"))) is not None:
        kind, served = "LM Studio", known_here
    if asker.root == USUAL[0]:
        kind = kind or OLLAMA
    provider = OLLAMA if kind == OLLAMA else "local"
    found[asker.root] = LocalServer(provider, kind or "a model server", asker.root, best_first(served))


def ollama_models(listed: Any) -> list[ServedModel] | None:
    """Return the models of `/api/tags` or `/api/ps` that run here, None where that is no such list."""
    entries = listed.get("models") if isinstance(listed, dict) else None
    # llama.cpp's server answers in both shapes at once.
    if not isinstance(entries, list) or "data" in listed or not all(map(_is_of_ollama, entries)):
        return None
    here = [each for each in entries if not (each.get("remote_host") or _of_the_cloud(each["name"]))]
    return [ServedModel(each["name"], False, _chats_at_ollama(each)) for each in here]


def _is_of_ollama(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("name"), str) and bool(OF_A_TAG & entry.keys())


def _chats_at_ollama(entry: Mapping[str, Any]) -> bool:
    details, capabilities = entry.get("details"), entry.get("capabilities")
    if isinstance(capabilities, list) and capabilities:
        return "completion" in capabilities
    family = str(details.get("family", "")) if isinstance(details, dict) else ""
    return "bert" not in family and not _no_chat(entry["name"])


def listed_models(listed: Any) -> list[ServedModel] | None:
    """Return the models of `/v1/models`, None where that is no such list. They count as loaded."""
    if not isinstance(listed, dict) or listed.get("object") != "list":
        return None
    entries = listed.get("data")
    if not isinstance(entries, list) or not entries or not all(map(_is_listed, entries)):
        return None
    return [ServedModel(each["id"], True, not _no_chat(each["id"])) for each in entries]


def _is_listed(entry: Any) -> bool:
    return isinstance(entry, dict) and isinstance(entry.get("id"), str) and entry.get("object") == "model"


def studio_models(listed: Any) -> list[ServedModel] | None:
    """Return the models of LM Studio's `/api/v0/models`, None where that is no such list."""
    entries = listed.get("data") if isinstance(listed, dict) else None
    if not isinstance(entries, list) or not all(isinstance(e, dict) and isinstance(e.get("id"), str) for e in entries):
        return None
    return [
        ServedModel(
            each["id"],
            each.get("state") == "loaded",
            each.get("type") in (None, "llm", "vlm") and not _no_chat(each["id"]),
        )
        for each in entries
    ]


def best_first(models: list[ServedModel]) -> tuple[str, ...]:
    """Return the names of those that chat: what is in memory first, then in the server's own order."""
    return tuple(_in_order([model for model in models if model.chats]))


def _in_order(models: list[ServedModel]) -> Iterator[str]:
    yield from (model.name for model in models if model.loaded)
    yield from (model.name for model in models if not model.loaded)
