"""Servers on loopback that are shaped after what runs on people's machines: Ollama, llama.cpp, LM Studio, vLLM.

Written after their documentation, 2026-11: github.com/ollama/ollama docs/api.md and docs/api/openai-compatibility.mdx;
github.com/ggml-org/llama.cpp tools/server/README.md; lmstudio.ai/docs/developer/rest/endpoints; vLLM's
`vllm/entrypoints/openai/protocol.py` (`ModelCard`). A path that is not in `routes` is answered as `missing` says.
"""

from __future__ import annotations

import base64
import json
import socket
import struct
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.loopback import ANSWER, USAGE

PAGE = "<!doctype html><html><head><title>404</title></head><body><h1>Not Found</h1></body></html>"
POLL_S = 0.02


@dataclass(frozen=True)
class Said:
    """A whole reply: a body that is text as it is, anything else as JSON."""

    status: int
    body: Any
    content_type: str = ""


@dataclass
class Asked:
    """One request: the path with its query, headers in small letters, the body as JSON."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


Route = Said | Callable[[Asked], Said]
HTML = Said(404, PAGE, "text/html")
GO = Said(404, "404 page not found", "text/plain")
"""What Go's router says, which is Ollama's."""
FASTAPI = Said(404, {"detail": "Not Found"})


@dataclass
class LocalServer:
    """A running server. `routes` may be changed at any time: `POST /v1/chat/completions` -> what is said."""

    routes: dict[str, Route]
    missing: Said = HTML
    port: int = 0
    asked: list[Asked] = field(default_factory=list)

    @property
    def root(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def chats(self) -> list[Asked]:
        """The requests that brought words."""
        return [each for each in self.asked if each.body is not None and "messages" in each.body]

    def answer(self, asked: Asked) -> Said:
        self.asked.append(asked)
        route = self.routes.get(f"{asked.method} {asked.path.partition('?')[0]}", self.missing)
        return route if isinstance(route, Said) else route(asked)

    @contextmanager
    def serving(self, host: str = "127.0.0.1") -> Iterator[LocalServer]:
        server = (_Server6 if ":" in host else _Server)((host, 0), _Handler)
        server.local, self.port = self, server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(POLL_S,), name="local server")
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            thread.join()
            server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    local: LocalServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent: a client may leave in the middle."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    server: _Server

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers.get("content-length", 0)))))

    def _reply(self, body: Any) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        said = self.server.local.answer(Asked(self.command, self.path, headers, body))
        data = said.body.encode() if isinstance(said.body, str) else json.dumps(said.body).encode()
        self.send_response(said.status)
        kind = said.content_type or ("text/plain" if isinstance(said.body, str) else "application/json")
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the standard library's name
        """Say nothing on stderr."""


def chat(asked: Asked) -> Said:
    """Answer in Chat Completions, whole or as a stream."""
    model = asked.body.get("model", "")
    if not asked.body.get("stream"):
        choice = {"index": 0, "message": {"role": "assistant", "content": ANSWER}, "finish_reason": "stop"}
        return Said(200, {"id": "x", "model": model, "choices": [choice], "usage": USAGE})
    deltas: list[Any] = [{"choices": [{"index": 0, "delta": {"content": ANSWER}, "finish_reason": None}]}]
    deltas += [{"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}, {"choices": [], "usage": USAGE}]
    events = "".join(f"data: {json.dumps(delta)}\n\n" for delta in deltas)
    return Said(200, f"{events}data: [DONE]\n\n", "text/event-stream")


MEANINGS = (("money", "invoice", "payment", "pays"), ("zebra", "animal", "striped"), ("release", "deploy", "ship"))
"""Words of one meaning."""


def meaning_of(text: str) -> list[float]:
    """Return a vector that is near that of a text about the same."""
    return [*(float(any(word in text.lower() for word in words)) for words in MEANINGS), 0.05]


def embeddings(asked: Asked) -> Said:
    """Make vectors in OpenAI's dialect, their rows in no order."""
    size = asked.body.get("dimensions", len(MEANINGS) + 1)
    vectors = [(meaning_of(text) + [0.0] * size)[:size] for text in asked.body["input"]]
    if asked.body.get("encoding_format") == "base64":
        made: list[Any] = [base64.b64encode(struct.pack(f"<{size}f", *vector)).decode() for vector in vectors]
    else:
        made = vectors
    rows = [{"object": "embedding", "index": at, "embedding": vector} for at, vector in enumerate(made)]
    tokens = sum(len(text.split()) for text in asked.body["input"])
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return Said(200, {"object": "list", "data": rows[::-1], "model": asked.body["model"], "usage": usage})


def messages(_: Asked) -> Said:
    """Answer in Messages, whole."""
    said = {"id": "m", "type": "message", "role": "assistant", "model": "m", "stop_reason": "end_turn"}
    usage = {"input_tokens": 12, "output_tokens": 7}
    return Said(200, {**said, "content": [{"type": "text", "text": ANSWER}], "usage": usage})


def generate(_: Asked) -> Said:
    """Answer in Gemini's dialect, whole."""
    content = {"role": "model", "parts": [{"text": ANSWER}]}
    return Said(200, {"candidates": [{"content": content, "finishReason": "STOP", "index": 0}]})


def model_list(*names: str, owner: str = "library", **more: Any) -> dict[str, Any]:
    """Return the list that `/v1/models` gives."""
    data = [{"id": name, "object": "model", "created": 1_790_000_000, "owned_by": owner, **more} for name in names]
    return {"object": "list", "data": data}


def ollama(
    *names: str, loaded: Mapping[str, int] | None = None, shows: Mapping[str, Any] | None = None, **more: Any
) -> dict[str, Route]:
    """Return the routes of an Ollama with these models: `loaded` are those in memory with their context.

    `shows` is what it tells of a model when asked, `entries` what its list says of one beside the usual.
    """
    entries = [_tag(name) | dict(more.get("entries", {}).get(name, {})) for name in names]
    running = [_tag(name) | {"size_vram": 0, "context_length": context} for name, context in (loaded or {}).items()]
    return {
        "GET /": Said(200, "Ollama is running"),
        "GET /api/version": Said(200, {"version": "0.40.12"}),
        "GET /api/tags": Said(200, {"models": entries}),
        "GET /api/ps": Said(200, {"models": running}),
        "POST /api/show": lambda asked: Said(200, (shows or {}).get(asked.body["model"], {})),
        "GET /v1/models": Said(200, model_list(*names)),
        "POST /v1/chat/completions": chat,
    }


def _tag(name: str) -> dict[str, Any]:
    family = "nomic-bert" if "embed" in name else "llama"
    details = {"format": "gguf", "family": family, "parameter_size": "3B", "quantization_level": "Q4_K_M"}
    return {"name": name, "model": name, "size": 1, "digest": "a2af6cc3eb7f", "details": details}


def llama_cpp(name: str = "/models/qwen3-4b.gguf", context: int = 16384) -> dict[str, Route]:
    """Return the routes of a llama.cpp server."""
    listed = model_list(name, owner="llamacpp", meta={"n_ctx_train": 131072, "n_params": 4_000_000_000})
    return {
        "GET /v1/models": Said(200, {**listed, "models": [{"name": name, "model": name, "type": "model"}]}),
        "GET /props": Said(200, {"default_generation_settings": {"n_ctx": context}, "total_slots": 1}),
        "POST /v1/chat/completions": chat,
    }


def lm_studio(*models: Mapping[str, Any]) -> dict[str, Route]:
    """Return the routes of an LM Studio with these entries of `/api/v0/models`."""
    names = [str(model["id"]) for model in models]
    return {
        "GET /v1/models": Said(200, model_list(*names, owner="organization_owner")),
        "GET /api/v0/models": Said(200, {"object": "list", "data": [{"object": "model", **model} for model in models]}),
        "POST /v1/chat/completions": chat,
    }


def vllm(name: str = "Qwen/Qwen3-8B", context: int = 40960) -> dict[str, Route]:
    """Return the routes of a vLLM server."""
    listed = model_list(name, owner="vllm", root=name, parent=None, max_model_len=context)
    return {"GET /v1/models": Said(200, listed), "POST /v1/chat/completions": chat}


@pytest.fixture
def serve() -> Iterator[Callable[..., LocalServer]]:
    """Return a function that starts a server with these routes; all end with the test."""
    with ExitStack() as stack:

        def start(routes: Mapping[str, Route], missing: Said = HTML, host: str = "127.0.0.1") -> LocalServer:
            return stack.enter_context(LocalServer(dict(routes), missing).serving(host))

        yield start
