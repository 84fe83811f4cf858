"""The gateway as other programs' clients meet it: OpenAI's for Node, LangChain's, `llm` and `curl`, over a socket.

Those that are no light packages are installed for the tests alone, into a folder that goes with them.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import anyio
import anyio.to_thread
import pytest

from orchestrator.server.gateway.keys import ClientKeys
from orchestrator.testing import scripted
from providers.messages import ToolCall
from tests.components import absent, imported
from tests.orchestrator.server.served import listening, served
from tests.patience import PATIENCE_S

pytestmark = [pytest.mark.anyio, pytest.mark.long]
CLIENTS = Path(__file__).parent / "clients"
PAGE = (Path(__file__).parents[3] / "docs" / "guides" / "gateway.md").read_text("utf-8")
PACKAGES = ("langchain-openai", "llm")
INSTALL_S = 600.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"  # uvicorn's


def installed(command: Sequence[str | Path], folder: Path, what: str) -> None:
    """Run a command that installs something."""
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=INSTALL_S)
    except subprocess.TimeoutExpired:
        absent(f"{what} in {INSTALL_S:.0f} s")
    if done.returncode:
        absent(f"{what}, and it could not be installed: {(done.stderr or done.stdout)[-400:]}")


def program(name: str) -> str:
    """Return where a program is."""
    return shutil.which(name) or absent(f"the program {name} (apt-get install {name})")


@pytest.fixture(scope="module")
def node_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with OpenAI's client for Node, and the script that uses it."""
    folder, npm = tmp_path_factory.mktemp("node"), program("npm")
    (folder / "package.json").write_text('{"private": true, "type": "module"}')
    installed([npm, "install", "--no-audit", "--no-fund", "openai"], folder, "openai for Node (a registry of npm)")
    shutil.copy(CLIENTS / "openai_node.mjs", folder)
    return folder


@pytest.fixture(scope="module")
def python_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of programs of an environment with LangChain's client and `llm`."""
    folder = tmp_path_factory.mktemp("python")
    installed([sys.executable, "-m", "venv", "v"], folder, "a virtual environment")
    programs = folder / "v" / ("Scripts" if sys.platform == "win32" else "bin")
    installed([programs / "python", "-m", "pip", "install", "-q", *PACKAGES], folder, " and ".join(PACKAGES))
    return programs


class Told(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code == 0, self.err
        return json.loads(self.out)


async def run(*command: str | Path, cwd: Path | None = None, **environ: str) -> Told:
    """Run a client to its end, while this process serves."""
    with anyio.fail_after(PATIENCE_S):
        done = await anyio.run_process(
            [str(part) for part in command], cwd=cwd, env={**os.environ, **environ}, check=False
        )
    return Told(done.returncode, done.stdout.decode(), done.stderr.decode())


@asynccontextmanager
async def gateway(folder: Path, *script: Any, **allowed: Any) -> AsyncIterator[tuple[str, str]]:
    """Serve a script; yield the address, and a key."""
    keys = ClientKeys(folder)
    key = keys.make("one", 0.0, **allowed)
    async with (
        scripted(*script) as manager,
        served(manager, folder, keys) as server,
        listening(server.app) as address,
    ):
        yield address, key


async def test_openai_for_node(node_folder: Path, tmp_path: Path) -> None:
    script = ("Whole 🛒", "Streamed é.", ToolCall("c1", "add", '{"a": 6}'), "It is 7.", "Responded.")
    async with gateway(tmp_path, *script, rpm=60) as (address, key):
        heard = (await run(program("node"), "openai_node.mjs", f"{address}/v1", key, cwd=node_folder)).json
    assert heard["models"] == ["tier/worker", "agent/analyst", "scripted/scripted"]
    assert heard["shown"] == "tier/worker"
    assert (heard["whole"], heard["provider"], heard["remaining"]) == ("Whole 🛒", "scripted", "59")
    assert heard["requestId"].startswith("req_")
    assert (heard["streamed"], heard["streamProvider"]) == ("Streamed é.", "scripted")
    assert heard["usage"] > 0
    assert heard["afterTools"] == "It is 7."
    assert heard["responded"] == "Responded."
    assert heard["errors"] == [
        ["NotFoundError", 404, "model_not_found"],
        ["AuthenticationError", 401, "invalid_api_key"],
    ]


async def test_langchain(python_folder: Path, tmp_path: Path) -> None:
    script = ("Whole 🛒", "Streamed é.", ToolCall("c1", "add", '{"a": 7}'), "It is 8.", '{"name": "Ann"}', "Responded.")
    async with gateway(tmp_path, *script) as (address, key):
        told = await run(python_folder / "python", CLIENTS / "langchain_openai_chat.py", f"{address}/v1", key)
    heard = told.json
    assert (heard["whole"], heard["streamed"], heard["told"]) == ("Whole 🛒", "Streamed é.", "It is 8.")
    assert heard["called"] == [["add", {"a": 7}]]
    assert heard["shaped"] == {"name": "Ann"}
    assert heard["responded"] == "Responded."
    assert heard["refused"] == 404
    assert heard["usage"] > 0
    assert heard["stream_usage"] > 0


async def test_llm(python_folder: Path, tmp_path: Path) -> None:
    script = ("Streamed 🛒", "Whole é.", '{"name": "Ann", "age": 7}')
    async with gateway(tmp_path, *script) as (address, key):
        (tmp_path / "extra-openai-models.yaml").write_text(
            "- model_id: boss\n  model_name: tier/worker\n  supports_schema: true\n  supports_tools: true\n"
            f"  api_base: {address}/v1\n  api_key_name: orchestrator\n"
        )
        ask = (python_folder / "llm", "-m", "boss", "--key", key)
        home = {"LLM_USER_PATH": str(tmp_path)}
        assert "Streamed 🛒" in (await run(*ask, "Hello", **home)).out
        assert "Whole é." in (await run(*ask, "--no-stream", "-s", "Be short.", "Hello", **home)).out
        assert (await run(*ask, "--schema", "name, age int", "Hello", **home)).json == {"name": "Ann", "age": 7}
        refused = await run(python_folder / "llm", "-m", "boss", "--key", "sk-orch-no", "Hello", **home)
        assert refused.code != 0
        assert "not a key of this gateway" in refused.err


async def test_curl(tmp_path: Path) -> None:
    curl, body = (
        program("curl"),
        '{"model": "tier/worker", "messages": [{"role": "user", "content": "Hi"}], "stream": %s}',
    )
    async with gateway(tmp_path, "Whole 🛒", "Streamed é.", "Message.", rpm=4) as (address, key):
        common = (curl, "-sS", "-N", "-H", f"Authorization: Bearer {key}", "-H", "Content-Type: application/json")
        chat = f"{address}/v1/chat/completions"
        whole = (await run(*common, "-d", body % "false", chat)).json
        assert whole["choices"][0]["message"]["content"] == "Whole 🛒"
        streamed = (await run(*common, "-i", "-d", body % "true", chat)).out
        assert "x-orchestrator-provider: scripted" in streamed
        assert "x-ratelimit-remaining-requests: 2" in streamed
        assert streamed.rstrip().endswith("data: [DONE]")
        message = '{"model": "tier/worker", "max_tokens": 9, "messages": [{"role": "user", "content": "Hi"}]}'
        anthropic = ("-H", f"x-api-key: {key}", "-H", "anthropic-version: 2023-06-01")
        told = await run(curl, "-sS", *anthropic, "--json", message, f"{address}/v1/messages")
        assert told.json["content"] == [{"type": "text", "text": "Message."}]
        form = await run(curl, "-sS", "-H", f"Authorization: Bearer {key}", "-d", body % "false", chat)
        assert form.json["error"]["code"] == "unsupported_media_type"
        head = await run(*common, "-I", f"{address}/v1/models")
        assert head.out.startswith("HTTP/1.1 200")
        listed = (await run(*common, f"{address}/v1/models")).json
        assert listed["data"][0]["id"] == "tier/worker"
        shown = await run(*common, "-X", "OPTIONS", "-i", chat)
        assert "405 Method Not Allowed" in shown.out
        assert "allow: POST" in shown.out


def example(client: str, language: str, address: str, key: str) -> str:
    """Return what the page shows for a client, with another address and a key."""
    shown = PAGE.partition(f"**{client}**")[2]
    code = re.search(rf"```{language}(?: \w+)?\n(.*?)```", shown, re.DOTALL)  # a mark for the checks may follow
    assert code is not None, client
    return code[1].replace("http://127.0.0.1:8700", address).replace("sk-orch-...", key)


@pytest.mark.parametrize("client", ["OpenAI for Python", "Anthropic for Python", "LangChain"])
async def test_the_pages_examples_in_python(client: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    python: str | Path = sys.executable
    if client == "LangChain":
        python = request.getfixturevalue("python_folder") / "python"
    else:
        imported(client.partition(" ")[0].lower(), "oracles")
    async with gateway(tmp_path, "Hello yourself 🛒") as (address, key):
        (tmp_path / "example.py").write_text(example(client, "python", address, key), "utf-8")
        told = await run(python, tmp_path / "example.py")
    assert told.out == "Hello yourself 🛒\n", told.err


async def test_the_pages_examples_for_node_llm_and_curl(node_folder: Path, python_folder: Path, tmp_path: Path) -> None:
    async with gateway(tmp_path, *["Hello yourself 🛒"] * 3) as (address, key):
        (node_folder / "example.mjs").write_text(example("OpenAI for Node", "js", address, key), "utf-8")
        assert (await run(program("node"), "example.mjs", cwd=node_folder)).out == "Hello yourself 🛒"
        (tmp_path / "extra-openai-models.yaml").write_text(example("llm", "yaml", address, key))
        path = os.pathsep.join((str(python_folder), os.environ["PATH"]))
        asked = await run("bash", "-c", example("llm", "sh", address, key), LLM_USER_PATH=str(tmp_path), PATH=path)
        assert "Hello yourself 🛒" in asked.out, asked.err
        told = await run("bash", "-c", example("curl", "sh", address, key))
        assert told.json["choices"][0]["message"]["content"] == "Hello yourself 🛒"
