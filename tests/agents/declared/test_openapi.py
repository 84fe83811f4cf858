"""OpenAPI documents as tools: what is made of sound ones, and how wrong, hostile and huge ones end."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from agents.declared.http_call import http_tool
from agents.declared.openapi import OpenApiUnusable, operations
from providers.messages import ToolCall
from providers.transport import Fetched
from tests.agents.declared.test_http_call import Web

PETS: dict[str, Any] = {
    "openapi": "3.1.0",
    "servers": [{"url": "https://{place}.example.com/v1/", "variables": {"place": {"default": "api"}}}],
    "paths": {
        "/pets/{pet-id}": {
            "parameters": [{"$ref": "#/components/parameters/Id"}],
            "get": {
                "operationId": "pets.get",
                "summary": "Return a pet.",
                "parameters": [
                    {"in": "query", "name": "fields[]", "schema": {"type": "array", "items": {"type": "string"}}},
                    {"in": "header", "name": "X-Trace", "schema": {"type": "string"}},
                    {"in": "cookie", "name": "c", "schema": {"type": "string"}},
                ],
            },
            "put": {
                "summary": "Change it.",
                "requestBody": {
                    "required": True,
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Pet"}}},
                },
            },
        },
    },
    "components": {
        "parameters": {"Id": {"in": "path", "name": "pet-id", "required": True, "schema": {"type": "integer"}}},
        "schemas": {
            "Pet": {
                "type": "object",
                "required": ["name"],
                "properties": {
                    "name": {"type": "string", "nullable": True, "example": "x"},
                    "example": {"type": "string"},
                    "children": {"type": "array", "items": {"$ref": "#/components/schemas/Pet"}},
                },
            }
        },
    },
}


def test_operations_are_named_described_and_typed():
    get, put = operations(PETS)
    assert (get.name, get.description, get.spec.method) == ("pets_get", "Return a pet.", "GET")
    assert get.spec.url == "https://api.example.com/v1/pets/{pet_id}"
    schema = get.spec.arguments.schema
    assert schema["required"] == ["pet_id"]
    assert set(schema["properties"]) == {"pet_id", "fields_", "X_Trace"}
    assert put.name == "put_pets_pet-id"
    body = put.spec.arguments.schema["properties"]["body"]
    assert body["properties"]["name"] == {"anyOf": [{"type": "string"}, {"type": "null"}]}
    assert body["properties"]["example"] == {"type": "string"}
    assert body["properties"]["children"]["items"] == {}


@pytest.mark.anyio
async def test_a_call_is_the_request_that_the_document_says():
    get, put = operations(PETS, headers={"Authorization": "Bearer ${T}"})
    web = Web(Fetched(200, {}, b"ok"))

    async def call(one, **arguments):
        tool = http_tool(one.name, "", one.spec, {"T": "t"}, web)
        return await tool.call(ToolCall("c", one.name, json.dumps(arguments)))

    assert (await call(get, pet_id=7, fields_=["a", "b"])).content == "ok"
    assert web.asked[0].url == "https://api.example.com/v1/pets/7?fields%5B%5D=a&fields%5B%5D=b"
    assert dict(web.asked[0].headers) == {"Authorization": "Bearer t"}
    assert (await call(put, pet_id=7, body={"name": None, "children": [{"name": "x"}]})).content == "ok"
    assert json.loads(web.asked[1].body) == {"name": None, "children": [{"name": "x"}]}
    assert "wrong arguments" in (await call(put, pet_id=7, body={})).content
    assert "wrong arguments" in (await call(get, pet_id="7/../8")).content


def broken(path: str, value: Any) -> Any:
    document = copy.deepcopy(PETS)
    here: Any = document
    *steps, last = path.split(".")
    for step in steps:
        here = here[step]
    here[last] = value
    return document


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"swagger": "2.0"}, "it is Swagger 2.0"),
        ({}, "no `openapi: 3.0`"),
        ([], "no `openapi: 3.0`"),
        (broken("servers", [{"url": "/v1"}]), "say base_url"),
        (broken("servers", None), "say base_url"),
        (broken("paths", ["x"]), "no mapping"),
        (broken("paths", {"/x": ["y"]}), "holds no operations"),
        (broken("components.parameters", {}), "refers to what is not there: #/components/parameters/Id"),
        (broken("components.parameters.Id", {"$ref": "https://evil.com/x.yaml"}), "refers to another document"),
        (broken("components.parameters.Id", {"$ref": "file:///etc/passwd"}), "refers to another document"),
    ],
)
def test_a_document_that_cannot_be_used_says_why(document, says):
    with pytest.raises(OpenApiUnusable, match=says):
        operations(document)


def test_references_that_go_round_or_multiply_end():
    round_ = broken("components.parameters.Id", {"$ref": "#/components/parameters/Id"})
    assert operations(round_)[0].spec.arguments.schema["required"] == []
    many = {f"s{i}": {"type": "object", "properties": {k: {"$ref": f"#/components/schemas/s{i + 1}"} for k in "abcd"}}
            for i in range(20)}  # fmt: skip
    with pytest.raises(OpenApiUnusable, match="more than 50,000 values"):
        operations(broken("components.schemas", {**many, "s20": {}, "Pet": {"$ref": "#/components/schemas/s0"}}))
    deep: Any = {"type": "string"}
    for _ in range(300):
        deep = {"type": "array", "items": deep}
    assert operations(broken("components.schemas.Pet", deep))


def test_a_list_in_the_query_is_said_as_the_document_has_it():
    list_of = {"type": "array", "items": {"type": "string"}}
    said = [
        {"name": "tag", "in": "query", "schema": list_of},
        {"name": "id", "in": "query", "schema": list_of, "explode": False},
        {"name": "one", "in": "query", "schema": {"type": "string"}},
    ]
    paths = {"/pets": {"get": {"operationId": "find", "parameters": said}}}
    (found,) = operations(broken("paths", paths))
    sent = found.spec.request({"tag": ["a", "b&c"], "id": ["1", "2"]}, {})
    assert sent.url.partition("?")[2] == "tag=a&tag=b%26c&id=1%2C2"
    assert found.spec.request({"tag": []}, {}).url.partition("?")[2] == ""


def test_a_header_that_is_not_the_models_to_give_is_no_argument():
    names = ["authorization", "Accept", "content-type", "HOST", "x-key", "X-Trace"]
    said = [{"name": name, "in": "header", "schema": {"type": "string"}} for name in names]
    paths = {"/pets": {"get": {"operationId": "find", "parameters": said}}}
    (found,) = operations(broken("paths", paths), None, {"X-Key": "${KEY}"})
    assert list(found.spec.arguments.of) == ["X_Trace"]
    assert found.spec.headers == {"X-Trace": "{X_Trace}", "X-Key": "${KEY}"}
