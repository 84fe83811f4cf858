"""A squad as text, with comments: for programs that write one. Pure."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from providers.documents.scalars import scalar

Comments = Mapping[tuple[str, ...], Sequence[str]]
"""Lines that stand at the end of the mapping at a path; at the beginning of the file for the empty path."""
_PLAIN = re.compile(r"[A-Za-z][\w ./-]*", re.ASCII)
_WORDS = frozenset(["yes", "no", "on", "off", "true", "false", "null", "y", "n"])
_WIDTH = 100
_EXPRESSION = re.compile(r"\$\{\{.*?\}\}")
_UNFOLDED = re.compile(r"[^\S ]|  ")
_NEVER_RAW = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufeff\ufffe\uffff]")


def squad_text(document: Mapping[str, Any], comments: Comments) -> str:
    """Return the document as YAML that reads back as it, by YAML 1.1 and 1.2."""
    lines = [*(f"# {one_line(line)}".rstrip() for line in comments.get((), ())), *_mapping(document, comments, ())]
    return "\n".join(lines) + "\n"


def one_line(text: str) -> str:
    """Return a text as a comment can hold it."""
    return _NEVER_RAW.sub("?", " ".join(text.split()))


def _mapping(value: Mapping[str, Any], comments: Comments, path: tuple[str, ...]) -> Iterator[str]:
    indent = "  " * len(path)
    for key, inner in value.items():
        at = (*path, key)
        if isinstance(inner, Mapping) and inner:
            yield f"{indent}{_scalar(key)}:"
            yield from _mapping(inner, comments, at)
        elif isinstance(inner, str) and "\n" in inner and not _NEVER_RAW.search(inner):
            yield f"{indent}{_scalar(key)}: {_block_header(inner)}"
            yield from (f"{indent}  {line}" if line else "" for line in inner.rstrip("\n").split("\n"))
        elif isinstance(inner, str) and _may_fold(inner):
            yield f"{indent}{_scalar(key)}: >-"
            yield from (f"{indent}  {line}" for line in _wrapped(inner))
        else:
            yield f"{indent}{_scalar(key)}: {_flow(inner)}"
    if path:
        yield from (f"{indent}# {one_line(line)}" for line in comments.get(path, ()))


def _may_fold(text: str) -> bool:
    """Whether a text is long, and reads the same when its lines are joined by one blank."""
    return len(text) > _WIDTH and text == text.strip() and not (_UNFOLDED.search(text) or _NEVER_RAW.search(text))


def _wrapped(text: str) -> list[str]:
    """Return the lines of a text, none of which ends inside an expression."""
    whole = _EXPRESSION.sub(lambda found: found[0].replace(" ", "\0"), text)
    lines = textwrap.wrap(whole, _WIDTH, break_long_words=False, break_on_hyphens=False)
    return [line.replace("\0", " ") for line in lines]


def _block_header(text: str) -> str:
    """Return the header of a block that keeps a text to the letter, but for line ends after the first of its end."""
    starts = "2" if text[:1] in (" ", "\n", "\t") else ""
    return f"|{starts}" if text.endswith("\n") else f"|{starts}-"


def _flow(value: Any) -> str:
    match value:
        case str():
            return _scalar(value)
        case bool():
            return "true" if value else "false"
        case Mapping():
            return "{" + ", ".join(f"{_scalar(key)}: {_flow(inner)}" for key, inner in value.items()) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)


def _scalar(text: str) -> str:
    is_plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS and isinstance(scalar(text), str)
    if is_plain and not text.endswith(" "):
        return text
    quoted = json.dumps(text, ensure_ascii=False)
    return _NEVER_RAW.sub(lambda found: f"\\u{ord(found[0]):04x}", quoted)
