"""What a message must not carry to a terminal or a log."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from providers.documents.secrets import MASK, hidden

SECRET_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL|WEBHOOK", re.IGNORECASE)
SHORTEST_SECRET = 6
"""Characters. Shorter values are words; masking them would garble the text and hide nothing."""


def secret_values(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the values of variables that are named like secrets, with those names."""
    named = [name for name in environ if _is_of_secret(name)]
    return {value: name for name in named if len(value := environ[name]) >= SHORTEST_SECRET}


@lru_cache(maxsize=4096)
def _is_of_secret(name: str) -> bool:
    return SECRET_NAME.search(name) is not None


def mask_secrets(text: str, environ: Mapping[str, str], *, guess: bool = True) -> str:
    """Return `text` without the values of variables that are named like secrets, and without what looks like a key.

    `guess`: by its letters alone, too; not for texts that name files and runs.
    """
    for secret in sorted(secret_values(environ), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return hidden(text, guess=guess)


OTHERS_WORDS = frozenset(
    {
        "arguments",
        "result",
        "error",
        "errors",
        "output_errors",
        "detail",
        "reason",
        "why",
        "comment",
        "prompt",
        "causes",
    }
    | {"refused", "not_done", "parked", "hint"}
)
"""Fields of the documents of events that hold what tools were told and answered, and what went wrong."""
MADE = frozenset({"output", "outputs", "inputs", "artifacts", "transcript"})
"""Fields that hold what a run is made of and made, under names of its own."""


def mask_document(document: Mapping[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Return the document of an event as it may be shown: without secrets in `OTHERS_WORDS`, at any depth.

    Names, places and what the run made stay as they are: programs read them.
    """
    return {
        name: value if name in MADE else masked(value, environ) if name in OTHERS_WORDS else _within(value, environ)
        for name, value in document.items()
    }


def _within(value: Any, environ: Mapping[str, str]) -> Any:
    match value:
        case dict():
            return mask_document(value, environ)
        case list():
            return [_within(inner, environ) for inner in value]
    return value


def masked(value: Any, environ: Mapping[str, str]) -> Any:
    """Return a value as JSON has it with `mask_secrets` of each text in it."""
    match value:
        case str():
            return mask_secrets(value, environ)
        case dict():
            return {key: masked(inner, environ) for key, inner in value.items()}
        case list():
            return [masked(inner, environ) for inner in value]
    return value
