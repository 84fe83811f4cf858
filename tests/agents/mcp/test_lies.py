"""Servers that lie, stall, flood, change or die: each ends in one typed fault, in bounded time, or in a good answer."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest

from agents.mcp.definitions import Definition, defined
from agents.mcp.errors import McpFault
from agents.mcp.owner import opened
from agents.mcp.servers import McpHttpServer, McpStdioServer
from tests.components import installed
from tests.local_servers import PAGE, LocalServer, Said
from tests.mcp_servers.legacy_http import legacy_http
from tests.mcp_servers.starting import QUICK, fault_of_call, liar, owned
from tests.patience import PATIENCE_S

installed("mcp", "mcp")
pytestmark = pytest.mark.anyio


async def fault_at_start(server: Any) -> McpFault:
    with pytest.raises(McpFault) as caught:
        async with owned(server):
            pass
    return caught.value


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("exits", "died", "it ended; the last that it said: no database here"),
        ("endless-pages", "too_large", "its list of tools has more than 50 pages"),
        ("many-tools", "too_large", "it lists more than 200 tools"),
        ("no-list", "protocol", "it does not keep to the protocol"),
    ],
)
async def test_one_that_does_not_come_to_list_its_tools(how: str, kind: str, words: str) -> None:
    fault = await fault_at_start(liar(how, QUICK))
    assert fault.kind == kind
    assert words in fault.message


async def test_a_script_that_is_another_than_was_allowed_is_not_started(tmp_path: Any) -> None:
    (tmp_path / "server.py").write_text("print('hi')")
    fault = await fault_at_start(McpStdioServer("t", ("python",), pinned={str(tmp_path / "server.py"): "0" * 64}))
    assert (fault.kind, "was changed since it was allowed to run" in fault.message) == ("changed", True)
    fault = await fault_at_start(McpStdioServer("t", ("python",), pinned={str(tmp_path / "gone.py"): "0" * 64}))
    assert fault.kind == "changed"


@pytest.mark.long
async def test_one_that_never_lists_its_tools_is_given_up_in_its_time() -> None:
    for limit_s in (2, 10, PATIENCE_S):  # a busy machine needs longer until it has greeted
        fault = await fault_at_start(liar("mute", replace(QUICK, connect_s=limit_s)))
        assert fault.kind == "timeout"
        if "list" in fault.message:
            break
    assert f"it did not list its tools within {limit_s:g} s" in fault.message


async def test_a_program_that_is_not_there() -> None:
    fault = await fault_at_start(McpStdioServer("t", ("no-such-program-of-ours",), limits=QUICK))
    assert (fault.kind, fault.message) == ("not_found", "there is no no-such-program-of-ours")


@pytest.mark.long
@pytest.mark.parametrize("how", ["junk", "latin", "flood", "twins"])
async def test_what_is_no_message_is_left_out_and_a_flood_is_borne(how: str) -> None:
    async with owned(liar(how)) as owner:
        for _ in range(3):
            assert await owner.call(owner.definitions[0].name, {}) == "well"
        assert owner.starts == 1


@pytest.mark.long
@pytest.mark.parametrize(("how", "kind"), [("wrong-answer", "protocol"), ("no-answer", "protocol"), ("orphan", "died")])
async def test_an_answer_that_is_none_ends_the_call(how: str, kind: str) -> None:
    async with owned(liar(how)) as owner:
        assert (await fault_of_call(owner, "t")).kind == kind


async def test_what_a_server_asks_of_us_is_refused_and_the_call_goes_on() -> None:
    async with owned(liar("asks")) as owner:
        assert await owner.call("t", {}) == "True True"


@pytest.mark.long
async def test_one_that_never_answers_is_given_up_in_its_time() -> None:
    async with owned(liar("silent", timeout_s=0.5)) as owner:
        assert (await fault_of_call(owner, "t")).kind == "timeout"
        assert owner.starts == 1


@pytest.mark.long
async def test_schemas_that_cannot_be_used_are_left_out_and_the_reason_is_kept() -> None:
    async with owned(liar("bad-schemas")) as owner:
        assert [one.name for one in owner.definitions] == ["t"]
        assert "65,536 are read" in owner.unusable["big"]
        assert "more than 128 characters" in owner.unusable["n" * 128]


async def test_a_tool_whose_definition_changes_meanwhile_is_not_called() -> None:
    async with owned(liar("changes")) as owner:
        fault = await fault_of_call(owner, "t")
        assert fault.kind == "changed"
        assert "changed its definition meanwhile: t" in fault.message


@pytest.mark.long
async def test_what_a_server_repeats_of_its_secrets_is_not_told() -> None:
    async with owned(liar("secret", TOKEN="s3cret-token")) as owner:
        fault = await fault_of_call(owner, "t")
    assert "s3cret" not in str(fault)
    assert "the last that it said: bad token ***" in fault.message


@pytest.mark.long
async def test_one_server_that_does_not_start_ends_the_others() -> None:
    with anyio.fail_after(PATIENCE_S), pytest.raises(McpFault, match="no database here"):
        async with opened([replace(liar("well"), name="good"), liar("exits")]):
            pass


@pytest.mark.few(2)
@pytest.mark.parametrize(
    ("said", "kind", "words"),
    [
        (Said(401, {}), "unauthorized", "it answers HTTP 401"),
        (Said(500, {}), "http", "it answers HTTP 500"),
        (Said(404, PAGE, "text/html"), "http", "it answers HTTP 404"),
        (Said(200, PAGE, "text/html"), "protocol", "Unexpected content type: text/html"),
    ],
)
async def test_an_address_that_is_no_server(serve: Any, said: Said, kind: str, words: str) -> None:
    server: LocalServer = serve({"POST /mcp": said})
    fault = await fault_at_start(McpHttpServer("t", f"{server.root}/mcp", {"Authorization": "Bearer x"}, limits=QUICK))
    assert fault.kind == kind
    assert words in fault.message


@pytest.mark.long
async def test_an_address_where_nothing_listens() -> None:
    fault = await fault_at_start(McpHttpServer("t", "http://127.0.0.1:9/mcp", limits=QUICK))
    assert fault.kind == "died"
    assert "it cannot be reached" in fault.message


@pytest.mark.long
async def test_a_server_that_was_started_anew_is_asked_once_more_as_it_made_no_call() -> None:
    with legacy_http() as server:
        async with owned(McpHttpServer("t", server.url, limits=QUICK)) as owner:
            assert await owner.call("t", {}) == "well"
            server.sessions += 1
            assert await owner.call("t", {}) == "well"
            assert (owner.starts, server.calls) == (2, 2)
            server.sessions += 1
            server.forgets_always = True
            assert (await fault_of_call(owner, "t")).kind == "forgotten"
            assert server.calls == 2


async def test_a_definition_whose_schema_is_none_is_left_out_as_a_provider_would_refuse_all_that_show_it() -> None:
    def of(**schema: object) -> object:
        return defined("it", None, {"type": "object", **schema}, None, 1000)

    assert isinstance(of(properties={"a": {"type": "nonsense"}}), str)
    assert isinstance(of(properties=[]), str)
    assert isinstance(of(**{"$schema": 5}), str)
    assert isinstance(of(required="a"), str)
    for fine in (
        {},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
        {"properties": {"a": {"$ref": "#/$defs/x"}}},
    ):
        assert isinstance(of(**fine), Definition)
