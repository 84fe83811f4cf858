"""The messages of each problem's code, as the source writes them: `...` stands for what differs from case to case.

Found are those that stand beside their code in a call or a tuple, in place or in a variable of the same function. What
another function makes is not found: the examples of the page show some of that.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path

OPEN = "..."
SHORTEST = 8
"""Letters of a message: one with fewer would be found in any text."""
Assigned = Mapping[str, Sequence[ast.Assign]]


def messages_in(files: Iterable[Path], codes: Collection[str]) -> Mapping[str, Collection[str]]:
    """Return the messages of each code in Python files, in their order."""
    found: dict[str, dict[str, None]] = {code: {} for code in codes}
    written = re.compile(f'"(?:{"|".join(codes)})",')
    for source in filter(
        written.search, (file.read_text("utf-8") for file in files)
    ):  # to parse all would take seconds
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.FunctionDef):
                for code, text in _beside_codes(node, codes):
                    if sum(map(str.isalpha, text)) >= SHORTEST and " " in text:
                        found[code].setdefault(text)
    return found


def is_of(message: str, printed: str) -> bool:
    """Return whether a printed line has a message."""
    return re.search(r".*".join(map(re.escape, message.split(OPEN))), printed) is not None


def _beside_codes(function: ast.FunctionDef, codes: Collection[str]) -> Iterator[tuple[str, str]]:
    assigned: dict[str, list[ast.Assign]] = {}
    pairs: list[tuple[str, ast.expr]] = []
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            assigned.setdefault(node.targets[0].id, []).append(node)
        row = node.args if isinstance(node, ast.Call) else node.elts if isinstance(node, ast.Tuple) else []
        pairs += [
            (str(one.value), after)
            for one, after in pairwise(row)
            if isinstance(one, ast.Constant) and one.value in codes
        ]
    used = sorted(after.lineno for _, after in pairs)
    for code, said in pairs:
        before = max((line for line in used if line < said.lineno), default=0)  # what stands above was for that one
        for text in _texts(said, assigned, range(before, said.lineno)):
            yield code, re.sub(r"(\.\.\.)+", OPEN, text)


def _texts(node: ast.expr, assigned: Assigned, lines: range) -> Iterator[str]:
    """Yield the texts that an expression may come to."""
    match node:
        case ast.Constant(value=str(text)):
            yield text
        case ast.JoinedStr():
            yield "".join(str(one.value) if isinstance(one, ast.Constant) else OPEN for one in node.values)
        case ast.IfExp():
            yield from _texts(node.body, assigned, lines)
            yield from _texts(node.orelse, assigned, lines)
        case ast.BinOp(op=ast.Add()):
            for left in _texts(node.left, assigned, lines):
                yield from (left + right for right in _texts(node.right, assigned, lines))
        case ast.Name(id=name) if near := [one for one in assigned.get(name, ()) if one.lineno in lines]:
            for one in near:
                yield from _texts(one.value, {**assigned, name: ()}, lines)
        case _:
            yield OPEN
