"""A small MCP server over stdio that reads the code in its folder. It needs nothing but Python.

With the package `mcp` it would be shorter; as it stands it also shows all that a server of tools has to answer.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

TOOLS = [
    {
        "name": "read_lines",
        "description": "Read some lines of a file of the repository, with their numbers.",
        "inputSchema": {
            "type": "object",
            "required": ["file"],
            "properties": {
                "file": {"type": "string"},
                "first": {"type": "integer", "minimum": 1, "default": 1},
                "last": {"type": "integer", "minimum": 1, "default": 200},
            },
        },
    },
    {
        "name": "find_uses",
        "description": "Find the lines of the repository that use a name.",
        "inputSchema": {"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}},
    },
]


def read_lines(file: str, first: int = 1, last: int = 200) -> str:
    path = (HERE / file).resolve()
    if not path.is_relative_to(HERE):
        raise ValueError(f"{file} is outside of the repository")
    lines = path.read_text("utf-8").splitlines()[first - 1 : last]
    return "\n".join(f"{number}: {line}" for number, line in enumerate(lines, first))


def find_uses(name: str) -> str:
    word = re.compile(rf"\b{re.escape(name)}\b")
    found = [
        f"{path.name}:{number}: {line}"
        for path in sorted(HERE.glob("*.py"))
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if word.search(line)
    ]
    return "\n".join(found) or f"nothing uses {name}"


def call(name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Return what a tool says; what it cannot do is told to the model, as a result."""
    try:
        text = {"read_lines": read_lines, "find_uses": find_uses}[name](**arguments)
    except (KeyError, OSError, TypeError, ValueError) as error:
        return {"content": [{"type": "text", "text": f"{type(error).__name__}: {error}"}], "isError": True}
    return {"content": [{"type": "text", "text": text}], "isError": False}


def answer(method: str, params: dict[str, Any]) -> dict[str, Any] | None:
    """Return the result of a request, None for one that this server does not know."""
    match method:
        case "initialize":
            return {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "repository", "version": "1"},
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return call(params["name"], params.get("arguments") or {})
        case "ping":
            return {}
    return None


def main() -> None:
    """Answer one request a line, until the input is closed."""
    for line in sys.stdin:
        request = json.loads(line)
        if "id" not in request:
            continue  # a notification, which nobody answers
        reply: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        result = answer(request["method"], request.get("params") or {})
        if result is None:
            reply["error"] = {"code": -32601, "message": f"there is no {request['method']}"}
        else:
            reply["result"] = result
        print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
