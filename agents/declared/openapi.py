"""Operations of an OpenAPI document (3.0, 3.1) as requests with typed arguments. Pure; nothing is fetched."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from agents.declared.arguments import Argument, Arguments
from agents.declared.http_call import OWN_HEADERS, HttpSpec
from agents.errors import AgentError

NOT_ARGUMENTS = frozenset({"accept", "content-type", "authorization"})
METHODS = ("get", "put", "post", "delete", "patch", "head")
MOST_DEEP = 24
MOST_VALUES = 50_000
"""Values that the schemas of one document may come to, references written out."""
NOT_SCHEMA = frozenset({"example", "examples", "xml", "externalDocs", "discriminator", "deprecated", "title"})
_PLACE = re.compile(r"\{([^{}]+)\}")


class OpenApiUnusable(AgentError):
    """The document is not one that tools can be made of."""


@dataclass(frozen=True, slots=True)
class Operation:
    """One request of a document."""

    name: str
    description: str
    spec: HttpSpec


@dataclass(slots=True)
class _Document:
    """A document, and how much of it may still be written out."""

    root: Mapping[str, Any]
    left: int = MOST_VALUES
    names: dict[str, int] = field(default_factory=dict)

    def resolved(self, value: Any, within: tuple[str, ...] = ()) -> Any:
        """Return what a reference leads to, or the value itself. Raise `OpenApiUnusable`."""
        while isinstance(value, dict) and isinstance(value.get("$ref"), str):
            ref = value["$ref"]
            if not ref.startswith("#/"):
                raise OpenApiUnusable(f"it refers to another document: {ref[:100]}")
            if ref in within:
                return {}
            within, value = (*within, ref), self.root
            for step in (part.replace("~1", "/").replace("~0", "~") for part in ref[2:].split("/")):
                if not isinstance(value, dict) or step not in value:
                    raise OpenApiUnusable(f"it refers to what is not there: {ref[:100]}")
                value = value[step]
        return value

    def schema(self, value: Any, within: tuple[str, ...] = (), depth: int = 0) -> Any:
        """Return a JSON Schema with its references written out; where one leads into itself, anything is allowed."""
        self.left -= 1
        if self.left < 0:
            raise OpenApiUnusable(f"its schemas come to more than {MOST_VALUES:,} values with their references")
        if isinstance(value, dict) and isinstance(ref := value.get("$ref"), str):
            if ref in within or depth > MOST_DEEP:
                return {}
            return self.schema(self.resolved(value), (*within, ref), depth + 1)
        if depth > MOST_DEEP:
            return {}
        if isinstance(value, list):
            return [self.schema(one, within, depth + 1) for one in value]
        if not isinstance(value, dict):
            return value
        kept = {key: one for key, one in value.items() if key not in NOT_SCHEMA and not str(key).startswith("x-")}
        if isinstance(inner := kept.get("properties"), dict):
            kept.pop("properties")
            kept = {**self._each(kept, within, depth), "properties": self._each(inner, within, depth + 1)}
        else:
            kept = self._each(kept, within, depth)
        nullable = kept.pop("nullable", False) is True
        return {"anyOf": [kept, {"type": "null"}]} if nullable else kept

    def _each(self, values: Mapping[str, Any], within: tuple[str, ...], depth: int) -> dict[str, Any]:
        return {key: self.schema(one, within, depth + 1) for key, one in values.items()}


def operations(document: Any, base_url: str | None = None, headers: Mapping[str, str] | None = None) -> list[Operation]:
    """Return the operations of a document, in its order. Raise `OpenApiUnusable`.

    `base_url` is instead of its first server's; `headers` go with each request.
    """
    if not isinstance(document, dict) or not str(document.get("openapi", "")).startswith("3."):
        said = document.get("swagger") if isinstance(document, dict) else None
        what = f"it is Swagger {said}" if said else "it says no `openapi: 3.0` or 3.1"
        raise OpenApiUnusable(f"{what}; OpenAPI 3.0 and 3.1 are read")
    read = _Document(document)
    base = (base_url or _server(document)).rstrip("/")
    paths = document.get("paths") or {}
    if not isinstance(paths, dict):
        raise OpenApiUnusable("its paths are no mapping")
    return [made for path, item in paths.items() for made in _of_path(read, base, str(path), item, headers or {})]


def _server(document: Mapping[str, Any]) -> str:
    servers = document.get("servers")
    first = servers[0] if isinstance(servers, list) and servers and isinstance(servers[0], dict) else {}
    url, variables = str(first.get("url", "")), first.get("variables") or {}
    if isinstance(variables, dict):
        for name, one in variables.items():
            if isinstance(one, dict):
                url = url.replace(f"{{{name}}}", str(one.get("default", "")))
    if not url.startswith(("http://", "https://")):
        raise OpenApiUnusable("it names no server with a whole address; say base_url: https://api.example.com")
    return url


def _of_path(read: _Document, base: str, path: str, item: Any, headers: Mapping[str, str]) -> Iterator[Operation]:
    item = read.resolved(item)
    if not isinstance(item, dict):
        raise OpenApiUnusable(f"the path {path[:100]} holds no operations")
    for method in METHODS:
        operation = item.get(method)
        if isinstance(operation, dict):
            said = [*_list(item.get("parameters")), *_list(operation.get("parameters"))]
            yield _operation(read, base, path, method, operation, said, headers)


def _operation(
    read: _Document,
    base: str,
    path: str,
    method: str,
    operation: Mapping[str, Any],
    said: list[Any],
    headers: Mapping[str, str],
) -> Operation:
    name = _name(str(operation.get("operationId") or f"{method}_{path.strip('/')}"))
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in map(read.resolved, said):
        if isinstance(one, dict) and one.get("in") in ("path", "query", "header") and not _is_own(one, headers):
            found[str(one["in"]), str(one.get("name"))] = one  # an operation's own replaces its path's
    arguments: dict[str, Argument] = {}
    repeated = frozenset(called for (where, called), one in found.items() if where == "query" and _is_repeated(one))
    places: dict[tuple[str, str], str] = {}
    for (where, called), one in found.items():
        word = _word(called, arguments)
        places[where, called] = f"{{{word}}}"
        schema = read.schema(one.get("schema") or {"type": "string"})
        needed = where == "path" or one.get("required") is True
        arguments[word] = Argument(word, description=str(one.get("description") or ""), raw=schema, optional=not needed)
    body = _body(read, operation, arguments)
    url = base + _PLACE.sub(lambda place: places.get(("path", place[1]), place[0]), path)
    query = {called: text for (where, called), text in places.items() if where == "query"}
    more = {called: text for (where, called), text in places.items() if where == "header"}
    told = [str(operation.get(key) or "").strip() for key in ("summary", "description")]
    description = "\n".join(dict.fromkeys(text for text in told if text)) or f"{method.upper()} {path}"
    spec = HttpSpec(url, method.upper(), {**more, **headers}, query, body, Arguments(arguments), repeated=repeated)
    return Operation(name, description[:2000], spec)


def _is_own(parameter: Mapping[str, Any], headers: Mapping[str, str]) -> bool:
    """Return whether a header is not the model's to give: the document's own word for the kind of the body and for
    authorization (OpenAPI says to ignore these), how the request is made, or what the entry says itself."""
    name = str(parameter.get("name")).lower()
    return parameter["in"] == "header" and (
        name in NOT_ARGUMENTS or name in OWN_HEADERS or name in {one.lower() for one in headers}
    )


def _is_repeated(parameter: Mapping[str, Any]) -> bool:
    """Return whether a list is said as `q=1&q=2`, as OpenAPI has it where nothing else is said."""
    return parameter.get("style", "form") == "form" and parameter.get("explode", True) is not False


def _body(read: _Document, operation: Mapping[str, Any], arguments: dict[str, Argument]) -> str | None:
    """Return the place of the body, and enter its argument; None where none is sent as JSON."""
    said = read.resolved(operation.get("requestBody") or {})
    content = said.get("content") if isinstance(said, dict) else None
    if not isinstance(content, dict):
        return None
    kinds = [kind for kind in content if str(kind).partition(";")[0].strip().endswith(("/json", "+json", "*/*"))]
    if not kinds:
        if said.get("required") is True:
            raise OpenApiUnusable(f"{operation.get('operationId')} takes no JSON; leave it out by `include`")
        return None
    word = _word("body", arguments)
    media = content[kinds[0]]
    schema = read.schema(media.get("schema") or {} if isinstance(media, dict) else {})
    needed = said.get("required") is True
    arguments[word] = Argument(word, description=str(said.get("description") or ""), raw=schema, optional=not needed)
    return f"{{{word}}}"


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _name(text: str) -> str:
    """Return a name that every provider takes as a tool's."""
    word = re.sub(r"[^A-Za-z0-9_-]+", "_", text).strip("_-")[:64]
    return word if word[:1].isalpha() else f"op_{word}"[:64]


def _word(called: str, taken: Mapping[str, Any]) -> str:
    """Return a name of an argument that templates can have a place for, and that no other has."""
    word = re.sub(r"[^A-Za-z0-9_]+", "_", called) or "value"
    word = word if not word[0].isdigit() else f"_{word}"
    number, free = 2, word
    while free in taken:
        free, number = f"{word}_{number}", number + 1
    return free
