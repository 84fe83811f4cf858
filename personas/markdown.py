"""A persona as a Markdown file: YAML front matter with its fields, and below it what it is told, word for word. Pure.

Both parts keep their places: a mistake in the front matter and one in the body are shown with the line and the column
of the Markdown file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from providers.documents.nodes import DocumentText, Node, source_of, span
from providers.documents.problems import Problem, SpecError
from providers.documents.yaml import MAX_BYTES, mapping_in, read_tree

MARKDOWN, YAML = (".md", ".markdown"), (".yaml", ".yml")
"""How the names of persona files end."""
BODY = "instructions"
"""The field that the text below the front matter is."""
# C0 without tab and line ends, DEL, C1, and surrogates, which no UTF-8 can carry to a model. Format characters such as
# ZWJ and the bidirectional marks stay: emoji and right-to-left scripts are made of them.
UNREADABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_BLANK_LINES = r"(?:[ \t]*(?:\r\n|\r|\n))*"
_FENCE = r"---[ \t]*(?:\r\n|\r|\n|\Z)"
_OPENING = re.compile(_BLANK_LINES + _FENCE)
_CLOSING = re.compile(r"(?<=[\r\n])" + _FENCE)
_TOML = re.compile(_BLANK_LINES + r"\+\+\+[ \t]*(?:\r\n|\r|\n)")
_LINE_END = re.compile(r"\r\n|\r")
_FIRST_LINES = re.compile(r"(?:[ \t]*\n)+")


def is_markdown(file: str) -> bool:
    """Whether a file is Markdown, by its name."""
    return file.lower().endswith(MARKDOWN)


def persona_in(text: str, file: str, found: list[Problem] | None = None) -> Node:
    """Return the tree of a persona's file, YAML or Markdown by its name. Raise `SpecError` where it cannot be read.

    With `found`, mistakes that leave the rest readable are appended to it instead.
    """
    if not is_markdown(file):
        return mapping_in(text, file, found)
    wrong: list[Problem] = [] if found is None else found
    root = _in_markdown(source_of(text, file), wrong)
    if found is None and wrong:
        raise SpecError(wrong)
    return root


def _in_markdown(source: DocumentText, found: list[Problem]) -> Node:
    text = source.text
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise SpecError([source.problem(span(source, 0, 0), "too-large", f"the file has more than {MAX_BYTES} bytes")])
    if not text.strip():
        raise SpecError([source.problem(span(source, 0, 0), "empty-file", "the file is empty")])
    if _TOML.match(text):
        message, hint = "front matter in TOML is not read", "write it in YAML, between two lines of ---"
        raise SpecError([source.problem(span(source, 0, 3), "bad-front-matter", message, hint)])
    opening = _OPENING.match(text)
    if opening is None:
        front, begins = Node({}, span(source, 0, 0), source), 0
    else:
        front, begins = _front_matter(source, opening, found)
    body = _body(source, begins, found)
    if body is None:
        return front
    assert isinstance(front.value, Mapping)
    if BODY in front.value:
        message = f"'{BODY}' is in the front matter, and again below it"
        found.append(front.problem((BODY,), "duplicate-key", message, "keep the text below", key=True))
    return Node({**front.value, BODY: body}, front.mark, source, {**front.keys, BODY: body.mark})


def _front_matter(source: DocumentText, opening: re.Match[str], found: list[Problem]) -> tuple[Node, int]:
    """Return the fields of the front matter, and the offset at which the body begins."""
    text, begins = source.text, len(opening[0]) - len(opening[0].lstrip())
    closing = _CLOSING.search(text, opening.end())
    if closing is None:
        message = "the front matter that begins here never ends"
        problem = source.problem(
            span(source, begins, begins + 3), "bad-front-matter", message, "end it with a line ---"
        )
        raise SpecError([problem])
    lines = (line.strip() for line in text[opening.end() : closing.start()].splitlines())
    if all(not line or line.startswith("#") for line in lines):
        return Node({}, span(source, begins, begins + 3), source), closing.end()
    # What stands before the closing line is one YAML document, its places those of the whole file.
    root = read_tree(text[: closing.start()], source.file, found)
    if not isinstance(root.value, Mapping):
        message = "the front matter must be a mapping: `key: value` lines"
        raise SpecError([root.problem((), "wrong-type", message)])
    return root, closing.end()


def _body(source: DocumentText, begins: int, found: list[Problem]) -> Node | None:
    """Return the text from an offset on, with plain line ends and no blank lines around it; None where it is blank."""
    written = source.text[begins:]
    text = _LINE_END.sub("\n", written).rstrip()
    if not text:
        return None
    if bad := UNREADABLE.search(text):
        at = source.text.index(bad[0], begins)
        message = f"the character U+{ord(bad[0]):04X} is unreadable"
        found.append(source.problem(span(source, at, at + 1), "control-character", message, "take it out"))
        text = UNREADABLE.sub(" ", text)
    if blank := _FIRST_LINES.match(text):
        text = text[blank.end() :]
    start = begins + len(written) - len(written.lstrip())
    return Node(text, span(source, start, len(source.text.rstrip())), source, is_verbatim=True)
