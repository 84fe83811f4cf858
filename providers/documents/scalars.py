"""What a plain scalar means in YAML 1.2, and how values are written so that they come back as they were."""

from __future__ import annotations

import math
import re
from typing import Any

import yaml

Scalar = str | int | float | bool | None

# YAML 1.2 core schema, but a number with a leading zero is text: half of the world reads 0123 as octal.
_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL = {
    word: value
    for value, words in {True: "true True TRUE", False: "false False FALSE"}.items()
    for word in words.split()
}
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,299})")
_BASED = re.compile(r"0x[0-9a-fA-F]{1,64}|0o[0-7]{1,64}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)")
_NAN = frozenset({".nan", ".NaN", ".NAN"})


def scalar(text: str) -> Scalar:
    """Return what a plain scalar means in YAML 1.2: `no`, `on`, `12:30`, `0123` and dates are text."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    if infinite := _INFINITE.fullmatch(text):
        return -math.inf if infinite[1] == "-" else math.inf
    return math.nan if text in _NAN else text


def write_tree(value: Any) -> str:
    """Return a YAML text that `read_tree` reads back as `value`: mappings, lists and scalars of Python.

    PyYAML alone would leave out the quotes of `1e3` and `0o17`, which are text to YAML 1.1.
    """

    class Quoting(yaml.SafeDumper):
        pass

    Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))
    return yaml.dump(value, Dumper=Quoting, allow_unicode=True, sort_keys=False)
