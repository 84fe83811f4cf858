"""What is wrong with a text by a guardrail. Pure; patterns and schemas end in bounded time on any text."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from agents.guardrails import Guardrail
from providers.documents.json_schema import SchemaTooCostly, found, validator_of

MOST_TOLD = 300
"""Characters of what is wrong with a text."""


def fault(rail: Guardrail, text: str) -> str:
    """Return what is wrong with a text by a guardrail that needs nobody's verdict, empty where nothing is."""
    why = _fault(rail, text)
    return rail.message or why if why else ""


def _fault(rail: Guardrail, text: str) -> str:
    folded = text.casefold()
    if rail.regex is not None:
        return _of_pattern(rail.regex, rail.must, text)
    if rail.max_words is not None and (words := len(text.split())) > rail.max_words:
        return f"it has {words:,} words, more than {rail.max_words:,}"
    if rail.max_chars is not None and len(text) > rail.max_chars:
        return f"it has {len(text):,} characters, more than {rail.max_chars:,}"
    if there := [phrase for phrase in rail.forbid if phrase.casefold() in folded]:
        return f"it says {there[0]!r}, which it may not"
    if lacking := [phrase for phrase in rail.require if phrase.casefold() not in folded]:
        return f"it does not say {lacking[0]!r}"
    if rail.schema is not None:
        return _of_schema(rail.schema, text)
    if rail.check is not None:
        said = rail.check(text)
        return said if isinstance(said, str) else "it is not as it must be" if said is False else ""
    return ""


def _of_pattern(pattern: str, must: str, text: str) -> str:
    try:
        is_there = found(pattern, text)
    except TimeoutError:
        return f"whether the pattern {pattern!r} is in it cannot be found in time"  # what cannot be checked fails
    if is_there == (must == "match"):
        return ""
    return f"the pattern {pattern!r} {'is in it' if is_there else 'is not in it'}"


def _of_schema(schema: Mapping[str, Any], text: str) -> str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return "it is not JSON"
    try:
        error = validator_of(schema).first_error(value)
    except SchemaTooCostly as costly:
        return f"its schema cannot be checked: {costly}"
    return "" if error is None else f"at {error.json_path}: {error.message[:MOST_TOLD]}"
