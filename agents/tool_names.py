"""Which tool a call means: models write names with marks of their templates around them. Pure.

`functions.now`, `now<|channel|>commentary`, `functions.now:0`: gpt-oss and Kimi as served by vLLM, Ollama and Groq;
`default_api.now`: Gemini and Gemma. Source: docs/sources.md#turns, checked 2026-11.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator

_mark = re.compile(r"<[|｜].*?(?:[|｜]>|$)", re.DOTALL).split
_recipient = re.compile(r"\bto=([^\s<]+)").search
_namespace = re.compile(
    r"(?:functions?|default_api|tools?|tool_use|multi_tool_use|api)\s*(?:[.:/]|__)\s*", re.IGNORECASE
).match
_number = re.compile(r":\d+$").sub
_around = " \t\r\n`'\"*<>"


def meant(name: str, tools: Collection[str]) -> str | None:
    """Return the one of `tools` that a call's `name` means, None where it means none, or may mean several.

    The very name wins. Else marks, quotes and brackets around it go, then namespaces before it; letter case and
    separators don't matter where one tool alone is left.
    """
    if name in tools:
        return name
    for form in _forms(name):
        if form in tools:
            return form
        for alike in (str.casefold, _letters):
            if wanted := alike(form):
                found = [one for one in tools if alike(one) == wanted]
                if found:
                    return found[0] if len(found) == 1 else None
    return None


def _forms(name: str) -> Iterator[str]:
    """Yield the name without what stands around it, then without each namespace before it."""
    told = _recipient(name)
    pieces = [told[1]] if told else _mark(name)
    form = next((bare for piece in pieces if (bare := piece.strip(_around))), "")
    form = _number("", form.partition("(")[0].strip(_around))
    while form:
        yield form
        space = _namespace(form)
        form = form[space.end() :] if space else ""


def _letters(name: str) -> str:
    return "".join(filter(str.isalnum, name)).casefold()
