"""The OpenAPI document: what stands in docs is what the server gives, and says all that a client must know."""

from __future__ import annotations

import ast
import json
import runpy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import orchestrator
from orchestrator import errors
from orchestrator.server.api.errors import CODES
from orchestrator.server.openapi import EXAMPLES, GATEWAY, operations
from orchestrator.testing import scripted
from providers.documents.json_schema import validator_of
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


def test_each_body_has_an_example_that_is_one() -> None:
    shown = {name: example for name, example in EXAMPLES.items() if name in {one["operationId"] for _, one in ours()}}
    for place, operation in ours():
        for content in operation.get("requestBody", {}).get("content", {}).values():
            example = content.get("example") or shown.get(operation["operationId"])
            assert example, f"{place}: add one to EXAMPLES"
            schema = {**content["schema"], "components": MADE["components"]}
            assert validator_of(schema, check=False).first_error(example) is None, place


def test_each_code_of_an_error_is_told_in_the_document() -> None:
    for file in (Path(orchestrator.__file__).parent / "server").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "RequestRefused":
                given = [*node.args[3:4], *(one.value for one in node.keywords if one.arg == "code")]
                for code in (one.value for one in given if isinstance(one, ast.Constant)):
                    assert code in CODES or hasattr(errors, str(code)), f"{file.name}: add {code} to CODES"


@pytest.mark.anyio
async def test_the_server_gives_it_to_those_who_may_look(tmp_path: Path) -> None:
    async with scripted() as manager, served(manager, tmp_path) as server:
        own = json.dumps(MADE).replace('"orchestrator_session"', f'"{server.access.cookie_name}"')
        assert (await server.http.get("/api/openapi.json")).json() == json.loads(own)
        assert (await server.http.get("/api/openapi.json", headers={"authorization": ""})).status_code == 401
