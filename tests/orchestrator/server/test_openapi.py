"""The OpenAPI document: what stands in docs is what the server gives, and says all that a client must know."""

from __future__ import annotations

import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.server.openapi import GATEWAY, operations
from orchestrator.testing import scripted
from tests.orchestrator.server.served import served

DOCS = Path(__file__).parents[3] / "docs/reference"
MADE = json.loads((DOCS / "openapi.json").read_text("utf-8"))


def ours() -> Iterator[tuple[str, dict[str, Any]]]:
    for path, method, operation in operations(MADE):
        if path.startswith("/api/"):
            yield f"{method} {path}", operation


def test_the_document_in_docs_is_what_the_routes_say() -> None:
    made = runpy.run_path(str(DOCS / "generate_openapi.py"))["page"]()
    assert (DOCS / "openapi.json").read_text("utf-8") == made, "run python docs/reference/generate_openapi.py"


def test_each_operation_has_a_name_of_its_own_a_description_and_typed_responses() -> None:
    names = [operation["operationId"] for _, _, operation in operations(MADE)]
    assert sorted(set(names)) == sorted(names)
    for place, operation in ours():
        assert operation.get("tags"), place
        assert operation.get("description"), f"{place}: its function has no docstring"
        assert {"4XX", "5XX"} <= set(operation["responses"]), place
        for status, response in operation["responses"].items():
            for kind, content in response.get("content", {}).items():
                assert set(content["schema"]) - {"title"}, f"{place} {status} {kind}: the response has no type"
    gateway = {path for path, _, _ in operations(MADE) if path.startswith("/v1/")}
    assert gateway == set(GATEWAY)


@pytest.mark.anyio
async def test_the_server_gives_it_to_those_who_may_look(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        assert (await server.http.get("/api/openapi.json")).json() == MADE
        assert (await server.http.get("/api/openapi.json", headers={"authorization": ""})).status_code == 401
