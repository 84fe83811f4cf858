"""The text of a new persona's file: commented, and sound as it stands. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from personas import Persona
from providers.documents.scalars import scalar

_PLAIN = re.compile(r"\w[\w .,;()/'-]*", re.UNICODE)


def starter(name: str, title: str | None, tier: str | None, base: Persona | None, *, markdown: bool) -> str:
    """Return the file of a persona called like its file; with a `base`, of one that is built on it."""
    fields = "\n".join(_of_its_own(name, title, tier) if base is None else _built_on(base, title, tier))
    if not markdown:
        return f"{fields}\n{_YAML_END}"
    return f"---\n{fields}\n{_BELOW}---\n\n{_BODY}"


def _of_its_own(name: str, title: str | None, tier: str | None) -> Iterator[str]:
    key = in_flow(name)
    yield f"# Who an agent is. In a squad: agents: {{{key}: {{persona: {key}}}}}"
    yield f"# What a model is told of it: orchestrator personas render {name}"
    yield f"name: {_value(_called(name))}   # what it is called"
    yield f"title: {_value(title or 'Specialist')}   # what it is"
    yield "role: Does one kind of work, and says what is missing.   # what it is responsible for, in a sentence"
    yield "# goal: What it works towards"
    yield "identity: Has done this work for years, and knows where it goes wrong.   # who it is, and how it thinks"
    yield "style: Short sentences. The result first.   # how it speaks"
    yield "principles:   # what it holds to, one sentence each"
    yield "  - Say what you do not know."
    yield f"tier: {_value(tier or 'worker')}   # the class of models that it needs; agent_routing.yaml defines them"
    yield "# tools: [read_file]   # orchestrator tools ls"
    yield "# produces: [report]   # what it makes"


def _built_on(base: Persona, title: str | None, tier: str | None) -> Iterator[str]:
    yield f"extends: {base.name}   # all of it stays but what stands here: texts replace, lists append"
    yield from (f"{field}: {_value(value)}" for field, value in (("title", title), ("tier", tier)) if value)
    yield f"# What is said of {base.name}; take the # away from what you change:"
    said = {"name": base.display_name, "title": "" if title else base.title}
    said |= {field: getattr(base, field) for field in ("role", "goal", "identity", "style")}
    said |= {} if tier or base.tier is None else {"tier": base.tier}
    for field, value in said.items():
        if value:
            yield f"# {field}: {_value(' '.join(value.split()))}"
    for field, values in (("principles", base.principles), ("produces", base.produces)):
        if values:
            yield f"# {field}:   # these stay; what you list is added"
            yield from (f"#   - {_value(' '.join(text.split()))}" for text in values)


def in_flow(text: str) -> str:
    """Return a name or a path as YAML inside braces takes it: `123` and `null` are texts in quotes alone."""
    is_plain = re.fullmatch(r"[\w./][\w ./+-]*", text) and isinstance(scalar(text), str)
    return text if is_plain else json.dumps(text, ensure_ascii=False)


def _called(name: str) -> str:
    """Return what a persona of this name may be called: `code-reviewer` is Code Reviewer."""
    return " ".join(word[:1].upper() + word[1:] for word in re.split(r"[-_.]+", name) if word) or name


def _value(text: str) -> str:
    """Return a text as YAML has it, in quotes where it needs them."""
    is_plain = _PLAIN.fullmatch(text) and text == text.strip() and isinstance(scalar(text), str)
    return text if is_plain else json.dumps(text, ensure_ascii=False)


_YAML_END = """\
# instructions: |   # a prompt of its own, after what is told of the fields above
#   Ask for what is missing before you begin.
"""
_BELOW = "# The text below the next line is told as it is, after these fields.\n"
_BODY = """\
Ask for what is missing before you begin.
"""
