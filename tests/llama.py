"""A real llama.cpp server on loopback with a tiny model of random weights: a real engine, nothing downloaded.

What it says is noise, often not even UTF-8; that it is well-formed on the wire, streams, counts tokens and keeps to a
schema is what tests need. Written after llama.cpp's GGUF format, with `gguf` 0.19 and `xllamacpp` 2026.10, 2026-11.
"""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.components import absent
from tests.patience import PATIENCE_S

MODEL = "tiny-random"
CONTEXT = 8192

WIDTH, HEADS, INNER = 64, 4, 128
TEMPLATE = "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}assistant:"
# As most templates of real models it goes through the arguments of calls: the server then parses them. It also holds
# what is answered to a form for calls, which noise never has: so requests with tools cannot be made to it.
CALLING = (
    "{% for m in messages %}{{ m['role'] }}: {{ m['content'] }}{% for c in m['tool_calls'] or [] %} "
    "{{ c['function']['name'] }}({% for k, v in c['function']['arguments'].items() %}{{ k }}={{ v }} {% endfor %})"
    "{% endfor %}\n{% endfor %}assistant:"
)

# The child ends with its stdin, so that none outlives a test run that was killed.
CHILD = """
import sys, xllamacpp
params = xllamacpp.CommonParams()
params.model.path, params.port, params.n_ctx, params.n_predict = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), 64
if "--embedding" in sys.argv:
    params.embedding, params.pooling_type = True, xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
for each in (params.cpuparams, params.cpuparams_batch):  # several would wait for each other, in a loop, on a busy core
    each.n_threads = 1
server = xllamacpp.Server(params)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Llama:
    """A running server. `base_url` is what a Chat Completions provider is configured with."""

    base_url: str
    model: str
    pid: int


def write_model(path: Path, template: str) -> None:
    """Write a one-layer llama: random weights, a vocabulary of all bytes and the printable ASCII characters."""
    import gguf
    import numpy as np

    rng = np.random.default_rng(0)
    vocabulary = _vocabulary(gguf.TokenType)

    def weights(*shape: int) -> Any:
        return (rng.standard_normal(shape) * 0.05).astype(np.float32)

    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name(MODEL)
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INNER)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(HEADS)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary))
    writer.add_tokenizer_model("llama")
    writer.add_token_list([token for token, _, _ in vocabulary])
    writer.add_token_scores([score for _, score, _ in vocabulary])
    writer.add_token_types([kind for _, _, kind in vocabulary])
    writer.add_unk_token_id(0)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_chat_template(template)
    tensors = {
        "token_embd": weights(len(vocabulary), WIDTH),
        "output": weights(len(vocabulary), WIDTH),
        "output_norm": np.ones(WIDTH, np.float32),
        **{f"blk.0.attn_{name}": weights(WIDTH, WIDTH) for name in ("q", "k", "v", "output")},
        **{f"blk.0.{name}_norm": np.ones(WIDTH, np.float32) for name in ("attn", "ffn")},
        **{f"blk.0.ffn_{name}": weights(INNER, WIDTH) for name in ("gate", "up")},
        "blk.0.ffn_down": weights(WIDTH, INNER),
    }
    for name, tensor in tensors.items():
        writer.add_tensor(f"{name}.weight", tensor)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _vocabulary(kinds: Any) -> list[tuple[str, float, Any]]:
    special = [("<unk>", 0.0, kinds.UNKNOWN), ("<s>", 0.0, kinds.CONTROL), ("</s>", 0.0, kinds.CONTROL)]
    every_byte = [(f"<0x{byte:02X}>", 0.0, kinds.BYTE) for byte in range(256)]
    letters = ["\u2581", *map(chr, range(33, 127))]  # SentencePiece writes a space as U+2581
    return special + every_byte + [(letter, -float(rank), kinds.NORMAL) for rank, letter in enumerate(letters, 1)]


def start(folder: Path, template: str = TEMPLATE, *options: str) -> tuple[subprocess.Popen[bytes], str]:
    """Start a server in a child process; return it, once it is healthy, with its address."""
    write_model(model := folder / "tiny.gguf", template)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "server.log"
    with log.open("wb") as out:
        command = [sys.executable, "-c", CHILD, str(model), str(port), str(CONTEXT), *options]
        child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=out)
    address = f"http://127.0.0.1:{port}"
    until = time.monotonic() + PATIENCE_S
    while not _healthy(address):
        if child.poll() is not None or time.monotonic() > until:
            stop(child)
            raise RuntimeError(f"llama.cpp did not start:\n{log.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
    return child, address


def stop(child: subprocess.Popen[bytes]) -> None:
    """End the child: asked by the end of its input, then by its pid."""
    if child.stdin:
        child.stdin.close()
    for ask in (signal.SIGTERM, signal.SIGKILL):
        if child.poll() is None:
            os.kill(child.pid, ask)
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                continue
    child.wait(PATIENCE_S)


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(f"{address}/health", timeout=1) as reply:
            return bool(reply.status == 200)
    except OSError:  # not yet listening, or 503 while it loads
        return False


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Llama]:
    """A llama.cpp server for all tests of the session. Skips where it is not installed; never under CI=true."""
    yield from serving(tmp_path_factory.mktemp("llama"), TEMPLATE)


def serving(folder: Path, template: str, *options: str) -> Iterator[Llama]:
    """Yield a server, until the iteration goes on. With `--embedding` it makes vectors."""
    missing = [name for name in ("xllamacpp", "gguf") if importlib.util.find_spec(name) is None]
    if missing:
        absent(f"{' and '.join(missing)} (pip install squad-orchestrator[e2e])")
    child, address = start(folder, template, *options)
    yield Llama(f"{address}/v1", MODEL, child.pid)
    stop(child)
