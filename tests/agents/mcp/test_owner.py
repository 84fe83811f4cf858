"""One task owns a real server: its calls, its death, its second start, over stdio and HTTP; what it leaves behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import anyio
import pytest

from agents.mcp.connection import McpToolFailed
from agents.mcp.errors import McpFault
from agents.mcp.opened_tools import mcp_tools
from agents.mcp.owner import Owner
from agents.mcp.servers import McpHttpServer, McpStdioServer
from providers.messages import ToolCall
from tests.components import installed
from tests.mcp_servers.starting import LIAR, QUICK, OverHttp, fault_of_call, is_there, liar, owned, stdio, until
from tests.patience import PATIENCE_S

installed("mcp", "mcp")
pytestmark = pytest.mark.anyio


async def test_a_server_is_asked_dies_is_started_again_and_leaves_nothing(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with owned(stdio(MCP_SERVER_LOG=str(log), GIVEN="x")) as owner:
        assert [one.name for one in owner.definitions][:3] == ["echo", "fail", "die"]
        assert owner.definitions[0].read_only
        assert await owner.call("echo", {"text": "żółć 👩‍🚀"}) == "żółć 👩‍🚀"
        assert await owner.call("parts", {}) == (
            "a text\n\n[image, image/png, 3 bytes: not shown]\n\n[file:///a.txt]\nin a resource\n\n"
            '[link: b <file:///b.txt>]\n\n{"rows": 2}'
        )
        with pytest.raises(McpToolFailed, match="no such row"):
            await owner.call("fail", {})
        given = set((await owner.call("env", {})).split())
        assert {"PATH", "GIVEN"} < given
        assert "ORCHESTRATOR_TRUST_FILE" not in given
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(owner.call, "stall", {})
            await until(lambda: "stall" in log.read_text())
            tasks.cancel_scope.cancel()
        await until(lambda: "stall was cancelled" in log.read_text())
        first = int(await owner.call("pid", {}))
        assert (await fault_of_call(owner, "die")).kind == "died"
        second = int(await owner.call("pid", {}))
        assert (owner.starts, first != second) == (2, True)
    assert not is_there(second)
    assert log.read_text().splitlines().count("die") == 1
    assert (await fault_of_call(owner, "pid")).kind == "died"


@pytest.mark.parametrize(
    ("module", "found", "told"),
    [
        ("mcp", None, ("is not installed", "pip install")),
        ("mcp", "a file", ("/mine/mcp.py stands in the way", "another name")),
        ("mcp_types", None, ("is too old", "pip install")),
    ],
)
async def test_another_package_or_a_file_of_its_name_is_told(
    monkeypatch: pytest.MonkeyPatch, module: str, found: str | None, told: tuple[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, module, found and module_from_spec(spec_from_file_location("mcp", "/mine/mcp.py")))
    with pytest.raises(McpFault, match=told[0]) as raised:
        async with mcp_tools(stdio()):
            pass
    assert (raised.value.kind, told[1] in raised.value.hint) == ("not_installed", True)


@pytest.mark.long
async def test_an_answer_without_end_is_cut_at_the_cap_and_the_server_started_again() -> None:
    async with owned(stdio()) as owner:
        assert (await fault_of_call(owner, "huge")).kind == "too_large"
        assert await owner.call("echo", {"text": "after"}) == "after"


@pytest.mark.long
async def test_a_server_that_was_killed_while_nothing_was_asked_is_started_by_the_next_call() -> None:
    async with owned(stdio()) as owner:
        pid = int(await owner.call("pid", {}))
        os.kill(pid, signal.SIGKILL)
        await until(lambda: not is_there(pid))
        found = [await answer_or_fault(owner), await answer_or_fault(owner)]
        assert found[1].isdecimal()  # the first may be on its way before the death is seen
        assert int(found[1]) != pid


async def answer_or_fault(owner: Owner) -> str:
    try:
        return await owner.call("pid", {})
    except McpFault as fault:
        return fault.kind


@pytest.mark.long
async def test_one_that_dies_again_and_again_is_given_up() -> None:
    async with owned(replace(stdio(), limits=replace(QUICK, restarts=2))) as owner:
        kinds = [(await fault_of_call(owner, "die")).kind for _ in range(5)]
    assert kinds == ["died", "died", "died", "given_up", "given_up"]
    assert owner.starts == 3


@pytest.mark.long
async def test_many_calls_are_at_work_at_once_and_all_are_told_of_a_death() -> None:
    kinds: list[str] = []

    async def stall(owner: Owner) -> None:
        kinds.append((await fault_of_call(owner, "stall")).kind)

    async with owned(stdio()) as owner, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(stall, owner)
        assert await owner.call("echo", {"text": "beside them"}) == "beside them"
        os.kill(int(await owner.call("pid", {})), signal.SIGKILL)
    assert kinds == ["died"] * 20


@pytest.mark.long
async def test_the_whole_group_of_a_server_ends_with_it_though_it_ignores_its_closed_input(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    inner = (
        f"import subprocess, sys, time; p = subprocess.Popen([sys.executable, {str(LIAR)!r}, 'well']);"
        f"open({str(pid)!r}, 'w').write(str(p.pid)); time.sleep(600)"
    )
    async with owned(McpStdioServer("t", (sys.executable, "-c", inner), limits=QUICK)) as owner:
        assert await owner.call("t", {}) == "well"
        child = int(pid.read_text())
        assert is_there(child)
    await until(lambda: not is_there(child))


# httpx2 nests generators without closing them: trio tells so of each body that is given up.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <async_generator:pytest.PytestUnraisableExceptionWarning")
@pytest.mark.long
async def test_a_server_over_http_is_killed_in_a_call_and_started_again() -> None:
    with OverHttp() as process:
        await process.is_up()
        server = McpHttpServer("t", process.url, {"Authorization": "Bearer x"}, PATIENCE_S, QUICK)
        async with owned(server) as owner:
            assert await owner.call("echo", {"text": "hi"}) == "hi"
            assert (await fault_of_call(owner, "huge")).kind == "too_large"
            assert await owner.call("echo", {"text": "after"}) == "after"
            assert (await fault_of_call(owner, "die")).kind == "died"
            process.kill()
            assert (await fault_of_call(owner, "pid")).kind == "died"
            process.start()
            await process.is_up()
            assert await owner.call("echo", {"text": "again"}) == "again"


@pytest.mark.long
@pytest.mark.parametrize("over", ["stdio", "http"])
async def test_a_tool_that_changes_while_the_server_runs_is_not_called_any_more(over: str) -> None:
    with OverHttp() as process:
        await process.is_up()
        async with owned(
            stdio() if over == "stdio" else McpHttpServer("t", process.url, {}, PATIENCE_S, QUICK)
        ) as owner:
            assert await owner.call("echo", {"text": "hi"}) == "hi"
            assert await owner.call("change", {}) == "changed"
            await until(lambda: owner.is_stale)
            assert (await fault_of_call(owner, "echo", text="hi")).kind == "changed"
            assert await owner.call("env", {})
            assert owner.starts == 1


async def test_the_tools_of_a_server_are_tools_of_an_agent() -> None:
    with anyio.fail_after(PATIENCE_S):
        async with mcp_tools(liar("twins"), trust_annotations=True) as tools:
            assert [tool.name for tool in tools] == ["t__a_b", tools[1].name]
            assert tools[1].name.startswith("t__a_b_")
            assert {(tool.risk, tool.untrusted, tool.idempotent) for tool in tools} == {("risky", True, False)}
            result = await tools[1].call(ToolCall("c", tools[1].name, "{}"))
    assert (result.content, result.is_error) == ("well", False)


def test_no_secret_that_a_server_is_given_is_in_its_repr() -> None:
    assert "s3cret" not in repr([stdio(TOKEN="s3cret"), McpHttpServer("t", "http://h/mcp", {"X-Key": "s3cret"})])


def test_a_process_of_ours_that_is_gone_is_told(tmp_path: Path) -> None:
    """The helper that the tests above rely on."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    assert not is_there(process.pid)
