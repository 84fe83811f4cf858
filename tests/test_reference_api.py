"""The pages of the Python names: each public name stands there once, and says what it is and of which types."""

from __future__ import annotations

import ast
import inspect
import re
from collections import Counter
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from docs.reference import api_source, generate_api
from docs.reference.api_groups import GROUPS, HIDDEN, MADE_BY, PACKAGES, SAME_PARAMETERS
from orchestrator.cli.documentation import find_page, pages_in

DOCS = Path(__file__).parents[1] / "docs"
ENTRIES = api_source.entries()
NAMED = [pytest.param(name, id=name) for name in ENTRIES]


def test_the_pages_are_what_the_code_says() -> None:
    made = generate_api.pages()
    kept = {f"api/{path.name}": path.read_text("utf-8") for path in (DOCS / "reference/api").glob("*.md")}
    assert kept == made, "run python docs/reference/generate_api.py"


def test_each_public_name_stands_on_one_page_once() -> None:
    headings = Counter(
        found
        for group in GROUPS
        for found in re.findall(
            r"^## (\w+)$", (DOCS / f"reference/api/{group.page}.md").read_text("utf-8"), re.MULTILINE
        )
    )
    public = {name for package in PACKAGES for name in import_module(package).__all__}
    assert headings == Counter(dict.fromkeys(public, 1))


def test_a_name_that_two_packages_have_is_one_thing() -> None:
    for package in PACKAGES:
        for name in (module := import_module(package)).__all__:
            assert getattr(module, name) is ENTRIES[name].value, f"{package}.{name}"


@pytest.mark.parametrize("name", NAMED)
def test_each_public_name_and_method_says_what_it_is(name: str) -> None:
    value = ENTRIES[name].value
    own = (vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__) or ""
    assert own.strip(), f"{name} has no docstring"
    assert not own.startswith(f"{name}("), f"{name} has only the docstring that a data class makes"
    if inspect.isclass(value):
        assert not list(untold(name, value))


def untold(name: str, value: type) -> Iterator[str]:
    """Yield the public methods of a class without a docstring: of its own, or of what it implements."""
    bases = [vars(base) for base in ENTRIES["Journal"].value.__mro__] if name == "SqliteJournal" else []
    for key, member in vars(value).items():
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        hidden = key.startswith("_") or f"{name}.{key}" in HIDDEN or not inspect.isfunction(function)
        if not hidden and not inspect.getdoc(function) and not any(key in base for base in bases):
            yield f"{name}.{key}"


@pytest.mark.parametrize("name", NAMED)
def test_each_parameter_and_field_has_a_type(name: str) -> None:
    value = ENTRIES[name].value
    assert list(untyped(name, value)) == []


def untyped(name: str, value: Any) -> Iterator[str]:
    node = api_source.source_of(value)
    if not isinstance(node, ast.ClassDef):
        yield from bare(name, node)
        return
    is_enum = any(ast.unparse(base).endswith("Enum") for base in node.bases)
    yield from (f"{name}.{one.name}" for one in api_source.fields_of(value) if not one.type and not is_enum)
    for title, _, member in api_source.members(name, value):
        function = member.fget if isinstance(member, property) else getattr(member, "__func__", member)
        yield from bare(title, api_source.source_of(function))


@pytest.mark.parametrize("name", [name for name, entry in ENTRIES.items() if inspect.isclass(entry.value)])
def test_each_field_says_what_it_is(name: str) -> None:
    assert [one.name for one in api_source.fields_of(ENTRIES[name].value) if not one.text] == []


DESCRIBED = (
    *("run_squad", "run_sync", "open_run", "resume_run", "fork_run", "edit_of_run", "Session", "open_journal"),
    *("Squad.from_file", "Squad.from_text", "Squad.from_mapping", "Squad.plan"),
    *("Agent.work", "Agent.stream", "AgentPool.work", "create_balanced_agent_pool", "tool", "open_manager"),
)
"""What programs call most: each parameter has its line in the docstring. Of other functions the text says enough."""


@pytest.mark.parametrize("title", DESCRIBED)
def test_each_parameter_says_what_it_is(title: str) -> None:
    told = api_source.parameters_of(title)
    assert told
    assert [one.name for one in told if not one.text] == []


def test_what_is_said_of_parameters_is_said_of_parameters_that_exist() -> None:
    listed = {title: api_source.parameters_said(title) for title in (*DESCRIBED, *SAME_PARAMETERS)}
    for title, said in listed.items():
        assert set(said) <= {one.name for one in api_source.parameters_of(title)}, title


def bare(title: str, node: Any) -> Iterator[str]:
    given = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]
    yield from (f"{title}({one.arg})" for one in given if one.annotation is None and one.arg not in ("self", "cls"))
    if node.returns is None:
        yield f"{title} -> ?"


@pytest.mark.parametrize("name", ["run_squad", "Agent", "Agent.work", "tool", "Tool", "providers.RateLimited"])
def test_a_name_is_found_in_the_terminal(name: str) -> None:
    found = find_page(name, pages_in(DOCS))
    if name == "tool":  # the guide; and where the name is
        assert (found.page.name, found.others[-1]) == ("guides/tools", "reference/api/tools#tool")
    else:
        assert found.page.part(found.anchor)[0].lstrip("# ") == name.removeprefix("providers.")


def test_what_is_said_of_names_is_said_of_names_that_exist() -> None:
    assert set(MADE_BY) <= set(ENTRIES)
    for title in HIDDEN:
        owner, _, key = title.partition(".")
        assert key in dir(ENTRIES[owner].value), title


def test_each_page_shows_how_it_is_used() -> None:
    assert [group.page for group in GROUPS if not group.example] == []
