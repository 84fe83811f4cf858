"""Text that looks like a template: whose it is, and what is meant where it is none of ours. Pure.

Only `${{ }}` is ours. What stands in the marks of other languages goes to a model as it is, so a name of the squad in
them is a mistake, and everything else is text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from personas.sandbox import expression_spans
from providers.documents.nodes import Node
from providers.documents.problems import Path

OURS = ("inputs", "tasks", "steps")
PERSONA_TEXTS = ("name", "title", "role", "goal", "identity", "style", "principles", "produces", "template")
"""The fields of a persona that an agent may have itself."""
PERSONA_SLOTS = (*PERSONA_TEXTS, "prompt")
"""All that a model is told of a persona."""


class RenderedField(NamedTuple):
    """A field that is rendered: where it stands, what it takes, and which names it can read."""

    path: str
    """`[]` is any entry of a list, a word in capitals any key."""
    takes: Literal["text", "value", "list", "condition"]
    """Anything but text is one expression and nothing beside it."""
    names: tuple[str, ...]
    """`item` is known in a task with `for_each` alone, under the name that its `as` gives."""


_OF_INPUTS = ("inputs",)
_BEFORE = ("inputs", "tasks")
_OF_ELEMENT = (*_BEFORE, "item")
_OF_STEP = (*_OF_ELEMENT, "steps")
RENDERED_FIELDS = (
    RenderedField("tasks.TASK.if", "condition", _BEFORE),
    RenderedField("tasks.TASK.for_each", "list", _BEFORE),
    RenderedField("tasks.TASK.key", "text", _OF_ELEMENT),
    RenderedField("tasks.TASK.agent", "value", _OF_ELEMENT),
    RenderedField("tasks.TASK.description", "text", _OF_ELEMENT),
    RenderedField("tasks.TASK.expected_output", "text", _OF_ELEMENT),
    RenderedField("tasks.TASK.output_file", "text", _OF_ELEMENT),
    RenderedField("tasks.TASK.with.INPUT", "text", _OF_ELEMENT),
    RenderedField("tasks.TASK.switch.on", "value", _OF_ELEMENT),
    RenderedField("tasks.TASK.switch.cases.CASE.description", "text", _OF_ELEMENT),
    RenderedField("tasks.TASK.switch.cases.CASE.expected_output", "text", _OF_ELEMENT),
    RenderedField("tasks.TASK.approval.prompt", "text", _BEFORE),
    RenderedField("tasks.TASK.steps[].if", "condition", _OF_STEP),
    RenderedField("tasks.TASK.steps[].agent", "value", _OF_STEP),
    RenderedField("tasks.TASK.steps[].description", "text", _OF_STEP),
    RenderedField("tasks.TASK.steps[].expected_output", "text", _OF_STEP),
    RenderedField("tasks.TASK.repeat.until", "condition", (*_OF_STEP, "output")),
    RenderedField("tasks.TASK.output_schema", "text", _OF_INPUTS),
    *(RenderedField(f"agents.AGENT.{field}", "text", _OF_INPUTS) for field in ("instructions", *PERSONA_TEXTS)),
    RenderedField("outputs.NAME", "text", _BEFORE),
)
_RENDERED_OF_TASKS = {
    place.path.rpartition(".")[2]
    for place in RENDERED_FIELDS
    if place.path.startswith("tasks.") and ".with." not in place.path
}
_MAY_HOLD = re.compile(r"[{}$%]|<<|\[\[")
_OTHER = re.compile(
    r"""
      \\[A-Za-z]{1,40}\*?(?:\{[\w\- ]{0,100}\})+|\^\{\w{0,100}\}        # LaTeX, of which nothing is meant
    | \{\{(?P<double>[^{}]{1,300})\}\}             # Mustache, Jinja
    | \{%(?P<statement>[^{}%]{1,300})%\}           # Jinja
    | <%(?P<tagged>[^<>%]{1,300})%>                  # ERB
    | <<(?P<angled>[\w.\- ]{1,100})>>
    | \[\[(?P<squared>[\w.\- ]{1,100})\]\]
    | [$%\#@]\{(?P<braced>[^{}]{1,300})\}              # shells
    | \$\((?P<round>[\w.\- ]{1,100})\)
    | %\((?P<percent>\w{1,100})\)[sdrf]                       # printf
    | (?<!\{)\{(?P<single>[\w.\- ]{1,100}(?:\[[^\[\]{}]{1,100}\])?\ ?)\}(?!\})   # Python
    | \$\$?[A-Za-z](?:\$|\s*[=<>^])                                # a formula
    | \$(?P<dollar>[A-Za-z_]\w{0,100}(?:\.\w{1,100}){0,9})                    # shells
    """,
    re.VERBOSE,
)
_REFERENCE = re.compile(r"([A-Za-z_]\w*)((?:\s*\.\s*[\w-]+|\s*\[\s*['\"]?[\w-]+['\"]?\s*\])*)\s*(.*)", re.DOTALL)
_BARE_KEY = re.compile(r"\[\s*([A-Za-z_]\w*)\s*\]")
"""A key as Python's `format` has it: `{inputs[topic]}`."""
_MENTIONED = re.compile(r"\b(?:inputs|tasks|steps)\s*[.\[]|\binputs\b")
# The contexts and functions of GitHub's workflows, whose expressions look like ours.
# Source: docs.github.com, "Contexts reference" and "Evaluate expressions in workflows", 2026-11.
_OF_WORKFLOWS = re.compile(
    r"[\s!(]*(github|env|vars|job|jobs|runner|secrets|strategy|matrix|needs|"
    r"toJSON|fromJSON|hashFiles|contains|startsWith|endsWith|format|success|failure|cancelled|always)\s*[.\[(]"
)


class OtherMarks(NamedTuple):
    """A name in marks that are not ours: where it stands in the text, and what stands in the marks."""

    start: int
    length: int
    content: str
    is_statement: bool


def may_hold_template(text: str) -> bool:
    """Return whether a text has any mark in it. Most have none."""
    return _MAY_HOLD.search(text) is not None


def other_marks(text: str) -> Iterator[OtherMarks]:
    """Yield what stands outside of our expressions in the marks of another template language."""
    plain = text
    for start, end in expression_spans(text):
        plain = plain[:start] + " " * (end - start) + plain[end:]
    plain = plain.partition("${{")[0]  # one that is never closed is a mistake of its own
    for found in _OTHER.finditer(plain):
        if found.lastgroup is not None:
            content = found[found.lastgroup].strip("-=~ \t\r\n")
            yield OtherMarks(found.start(), len(found[0]), content, found.lastgroup == "statement")


def meant_by(marks: OtherMarks, names: Collection[str], inputs: Collection[str], tasks: Collection[str]) -> str:
    """Return the expression that is meant, as far as it reads something of the squad; empty: it reads nothing of it.

    `names` are those that the place itself knows, `item` for example.
    """
    if marks.is_statement:
        return _meant_by_statement(marks.content)
    content = _BARE_KEY.sub(r".\1", marks.content)
    found = _REFERENCE.match(content)
    if found is None or (found[3] and found[3][0] not in "|+-*/~=<>!" and not found[3].startswith(("if ", "or "))):
        return ""
    head, path, rest = found[1], found[2], f" {found[3]}" if found[3] else ""
    if head in names or (path and head in OURS):
        return content
    if path and f"{head}s" in OURS:
        return f"{head}s{path}{rest}"
    if head in inputs and not path:
        return f"inputs.{head}{rest}"
    if head in tasks and re.match(r"\s*\.\s*(?:output|output_file|status|failed|transcript)\b", path):
        return f"tasks.{head}{path}{rest}"
    return ""


def _meant_by_statement(content: str) -> str:
    """Return the expression that does what a Jinja statement would, as far as it reads something of the squad."""
    word = _MENTIONED.search(content)
    if word is None:
        return ""
    keyword, _, condition = content.partition(" ")
    if keyword in ("if", "elif"):
        return f"'...' if {condition.strip()} else ''"
    read = content[word.start() :]
    return f"{read} | join(', ')" if keyword == "for" else read


_BARE = re.compile(r"\s*([A-Za-z_]\w*)\s*\.\s*([A-Za-z_]\w*)((?:\s*\.\s*\w+)*)\s*")


def meant_bare(source: str, names: Collection[str], inputs: Collection[str], tasks: Collection[str]) -> str:
    """Return the expression that a whole text is, without its marks: `tasks.plan.output`. Empty where it is text."""
    found = _BARE.fullmatch(source)
    if found is None:
        return ""
    head, name = found[1], found[2]
    known = {"inputs": inputs, "tasks": tasks}
    return source.strip() if head in names or name in known.get(head, ()) else ""


_NEEDED = re.compile(r"\s*(?:needs|jobs?)\s*\.\s*(\w+)")


def task_of_workflow(expression: str) -> str:
    """Return the job whose result the inside of a `${{ }}` of a workflow reads; empty where it reads none."""
    found = _NEEDED.match(expression)
    return found[1] if found else ""


_QUOTED = re.compile(r"'[^']*'|\"[^\"]*\"")
_SYNTAX: Sequence[tuple[re.Pattern[str], str]] = [
    (re.compile(pattern), hint)
    for pattern, hint in (
        (r"===|!==", "write == and !="),
        (r"&&|\|\|", "write and, or, not"),
        (r"!\s*[\w(]", "write not"),
        (r"\?[^.?]*:", "write `x if condition else y`"),
        (r"=>|\blambda\b|\bfor\b", "filters go through lists: items | map(attribute='id'), items | selectattr('ok')"),
        (r"\b(?:len|count|size)\(", "write x | length"),
        (r"\b(?:str|String)\(", "write x | string"),
        (r"\b(?:int|float|round|sum|min|max|sorted|list)\(", "write it as a filter: x | int"),
        (r"\b(?:toJSON|json|dumps)\(", "write x | tojson"),
        (r"\bcontains\(", "write 'a' in x"),
        (r"\bstartsWith\(", "write x.startswith('a')"),
        (r"\bendsWith\(", "write x.endswith('a')"),
        (r"\b(?:always|success|failure)\(", "continue_on_error: true at a task lets those go on that need it"),
        (r"\|\s*json\b", "write x | tojson"),
        (r"\|\s*(?:len|size)\b", "write x | length"),
        (r"\|\s*(?:from_json|fromjson|parse_json)\b", "give the task an output_schema: its output is then the value"),
    )
]


def advice_on_syntax(source: str, offset: int) -> str:
    """Return what to write where the expression at `offset` has what other languages have; empty: that is not known."""
    inside = next((source[start + 3 : end - 2] for start, end in expression_spans(source) if start <= offset < end), "")
    bare = _QUOTED.sub("''", inside)
    return next((hint for pattern, hint in _SYNTAX if pattern.search(bare)), "")


def is_of_workflows(expression: str, names: Collection[str]) -> bool:
    """Return whether the inside of a `${{ }}` reads a context of a workflow, and none of ours."""
    found = _OF_WORKFLOWS.match(expression)
    return found is not None and found[1] not in names and not _MENTIONED.search(expression)


def reads_nothing_of_ours(expression: str) -> bool:
    """Return whether the inside of a `${{ }}` is text where only inputs can be read: no name of ours, no quotation."""
    return not _MENTIONED.search(expression) and not expression.lstrip().startswith(("'", '"'))


def mentions_ours(expression: str) -> bool:
    """Return whether the inside of a `${{ }}` reads something of the squad."""
    return _MENTIONED.search(expression) is not None


def as_quotation(text: str) -> str:
    """Return an expression that renders to a text, whatever stands in it: how braces are meant to the letter."""
    quoted = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"${{{{ '{quoted}' }}}}"


def is_rendered(path: Path) -> bool:
    """Return whether the field of a squad file is a template."""
    match path:
        case ("outputs", *_):
            return True
        case ("tasks", _, *inner):
            return (
                "output_schema" in inner
                or "with" in (*inner[:1], *inner[3:4])
                or (bool(inner) and inner[-1] in _RENDERED_OF_TASKS)
            )
        case ("agents", _, "persona", str(field), *_) | ("agents", _, str(field), *_):
            return field in PERSONA_TEXTS or field == "instructions"
    return False


def texts_in(node: Node, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield each text of a tree that has any mark of a template in it, keys among them, with its path."""
    if isinstance(node.value, str):
        if may_hold_template(node.value):
            yield path, node.value
    elif isinstance(node.value, tuple):
        for index, child in enumerate(node.value):
            yield from texts_in(child, (*path, index))
    elif not isinstance(node.value, int | float | bool | None):
        for key, child in node.value.items():
            if may_hold_template(key):
                yield (*path, key), key
            yield from texts_in(child, (*path, key))


def strings_in(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Yield each text of plain data with its path, keys left out."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, dict):
        for key, child in value.items():
            yield from strings_in(child, (*path, key))
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from strings_in(child, (*path, index))
