"""The page of environment variables has those that the code reads."""

from __future__ import annotations

import ast
import re
import runpy
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
REFERENCE = ROOT / "docs/reference"
MADE = runpy.run_path(str(REFERENCE / "generate_environment.py"))
OURS = re.compile(r"_?(?:ORCHESTRATOR|OTEL)(?:_[A-Z]+)+")
OF_LIBRARIES = re.compile(r"(?:HTTPS?|ALL|NO)_PROXY|SSL_CERT_(?:FILE|DIR)|OTEL_(?:TRACES|METRICS)_EXPORTER")


def test_the_page_is_what_the_code_says() -> None:
    hint = "run python docs/reference/generate_environment.py"
    assert (REFERENCE / "environment.md").read_text("utf-8") == MADE["page"](), hint


def test_each_variable_that_is_read_is_on_the_page_and_no_other() -> None:
    listed = {name for name in MADE["names"]() if not OF_LIBRARIES.fullmatch(name)}
    assert listed == set(read_by_the_code())


def read_by_the_code() -> Iterator[str]:
    for room in ("orchestrator", "agents", "personas", "providers"):
        for path in (ROOT / room).rglob("*.py"):
            text = path.read_text("utf-8")
            if "environ" in text or "ORCHESTRATOR_" in text or "OTEL_" in text:
                yield from read_in(ast.parse(text))


def read_in(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        match node:
            case ast.Constant(value=str(name)) if OURS.fullmatch(name):
                yield name
            case (
                ast.Call(func=ast.Attribute(value=owner, attr="get"), args=[ast.Constant(value=str(name)), *_])
                | ast.Subscript(value=owner, slice=ast.Constant(value=str(name)))
            ) if ast.unparse(owner).endswith(("environ", "said")) and name.isupper():
                yield name
            case ast.Assign(targets=[ast.Name(id="OLLAMA_HOST")], value=ast.Constant(value=str(name))):
                yield name
