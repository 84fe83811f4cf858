"""What is wrong with a text that is not YAML, in words for people who write YAML and not parsers."""

from __future__ import annotations

import re

import yaml

from providers.documents.nodes import DocumentText, Mark, span
from providers.documents.problems import Problem


def syntax_problem(source: DocumentText, error: yaml.MarkedYAMLError) -> Problem:
    """Return the parser's complaint in our words where we have better ones, at the place that helps most."""
    text, what = source.text, str(error.problem or "no YAML")
    at = error.problem_mark or error.context_mark
    assert at is not None, "libyaml marks every syntax error"
    context = error.context_mark
    character = text[at.index : at.index + 1]
    message, hint = what, ""
    if "cannot start any token" in what:
        message = "a tab may not indent" if character == "\t" else f"a value may not start with {character}"
        hint = "use spaces" if character == "\t" else "put the value in quotes"
    elif "tab character" in what:
        message, hint = "a tab may not indent", "use spaces"
    elif "mapping values are not allowed" in what:
        if ": " in text[text.rfind("\n", 0, at.index) + 1 : at.index]:
            message, hint = "a second ': ' on the line", "put a value that holds ': ' in quotes"
        else:  # its key looks like a further line of the value above
            message = "a field may not be indented deeper than the value above it"
            hint = "this line is indented too far: indent it as the line above"
            if glued := _glued_above(source, at.line):
                mark, hint = glued
                return source.problem(mark, "bad-yaml", "a space is missing behind this ':'", hint)
    elif "escape" in what or "hexdecimal" in what:  # libyaml's spelling
        message, hint = "a backslash sequence that YAML does not know", "put the value in single quotes"
        if "Unicode" in what:
            message, hint = "this is the escape of no character", "write the character itself"
    elif context is not None and "quoted scalar" in str(error.context):
        at, message = context, "the quote that opens here is never closed"
    elif context is not None and "flow node" in str(error.context):
        is_cut = at.index >= len(text.rstrip())
        message = "the text ends before a '[' or '{' is closed" if is_cut else "a value is missing here"
    elif context is not None and "flow" in str(error.context):
        opened = f"the '{text[context.index : context.index + 1]}' of line {context.line + 1}"
        message, hint = f"expected ',' or the end of {opened}", ""
        if text[: at.index + 1].endswith("${"):
            message, hint = f"an expression inside {opened} needs quotation marks", _quoted(text[at.index - 1 :])
        elif character == ":":
            message, hint = f"a second ': ' in one value of {opened}", "put a value that holds ': ' in quotes"
    elif context is not None and "block" in str(error.context):
        message, hint = "this does not belong to the block above", "check the indentation"
    mark = span(source, min(at.index, len(text)), min(at.index + 1, len(text)))
    return source.problem(mark, "bad-yaml", message, hint)


_EXPRESSION = re.compile(r"\$\{\{[^\n\"]{1,80}?\}\}")


def _quoted(rest: str) -> str:
    """Return how the expression that `rest` begins with is to be written."""
    found = _EXPRESSION.match(rest)
    return f'write "{found[0]}"' if found else "put the value in quotes"


_GLUED = re.compile(r"(\s*(?:- +)?)([A-Za-z_][\w-]*):([^\s/:].*)")


def _glued_above(source: DocumentText, line: int) -> tuple[Mark, str] | None:
    """Return the place of a colon without a space in the nearest line above `line` that says anything, and a hint.

    None where that line has none, or where `line` stands deeper than it.
    """
    lines = source.lines
    for number in range(line - 1, -1, -1):
        if not lines[number].strip() or lines[number].lstrip().startswith("#"):
            continue
        found = _GLUED.fullmatch(lines[number].rstrip())
        indent = len(lines[line]) - len(lines[line].lstrip())
        if found is None or indent > len(found[1]):
            return None
        start = sum(map(len, source.text.splitlines(keepends=True)[:number])) + found.end(2)
        return span(source, start, start + 1), f"write {found[2]}: {found[3]}"
    return None
