"""Writes `expressions.md` beside it from the sandbox and its words: `python docs/reference/generate_expressions.py`.

Each example is evaluated here, by the sandbox that runs evaluate theirs with. A test compares the page with what this
makes.
"""

from __future__ import annotations

import ast
import inspect
import json
from collections.abc import Iterator, Mapping
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

from orchestrator.squad.conditions import NoCondition, holds
from orchestrator.squad.expressions import STEP_ATTRIBUTES, TASK_ATTRIBUTES
from orchestrator.squad.given_values import InputFile, InputImage
from orchestrator.squad.plan import EDITION
from orchestrator.squad.templates import RENDERED_FIELDS
from personas.filters import DESCRIBED_FILTERS, METHOD_WORDS, TemplateWord
from personas.limits import TemplateLimits
from personas.list_filters import DESCRIBED_TESTS, TemplateTest
from personas.sandbox import Sandbox

PAGE = Path(__file__).with_name("expressions.md")

OPERATORS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "`+` `-` `*` `/`": (
        "Arithmetic. `+` also joins two texts or two lists, and text `*` number repeats the text.",
        ("7 / 2", "'a' + 'b'", "'-' * 3"),
    ),
    "`//` `%` `**`": ("The whole part of a quotient, its rest, a power.", ("7 // 2", "7 % 2", "2 ** 10")),
    "`~`": ("Joins two values as text.", ("'S-' ~ 3",)),
    "`==` `!=`": ("Whether two values are equal. A text is not a number: compare like with like.", ("1 == '1'",)),
    "`<` `<=` `>` `>=`": ("Order, of two numbers or two texts.", ("2 < 10", "'2' < '10'")),
    "`in` `not in`": (
        "Whether a list has an item, a text a part, a mapping a key.",
        ("'b' in ['a', 'b']", "'no' in 'none of it'"),
    ),
    "`and` `or` `not`": (
        "Truth. `and` and `or` give one of their two values, unchanged.",
        ("not []", "'' or 'nothing'", "1 and 2"),
    ),
    "`x if c else y`": ("One of two values. Without `else`: none.", ("'many' if 12 > 9 else 'few'",)),
    "`is` `is not`": ("Asks a [test](#tests).", ("none is none", "3 is not even")),
    "`|`": ("Hands a value to a [filter](#filters). Binds closer than arithmetic.", ("1 + 2 | string | length",)),
    "`x.y` `x['y']`": ("The value of a key. A key that is not a word needs brackets.", ("{'a-b': 1}['a-b']",)),
    "`x[0]` `x[-1]` `x[1:3]`": ("An item of a list, counted from 0 or from the end; a part.", ("'abcdef'[1:3]",)),
    "`[...]` `{...}` `(...)`": ("A list, a mapping, brackets around an expression.", ("[1, 'a', none, true]",)),
}
VALUES: tuple[str, ...] = (
    "true",
    "'Yes.'",
    "'**TRUE**'",
    "'on'",
    "1",
    "[0]",
    "false",
    "'no'",
    "'Off!'",
    "''",
    "0",
    "none",
    "[]",
    "{}",
    "'approved'",
    "'yes?'",
    "'yes and no'",
)
MIXED: tuple[str, ...] = ("'text'", "3", "2.5", "true", "none", "['a', 1]", "{'ok': true}")

HEAD = """# Expressions and filters

Made by `docs/reference/generate_expressions.py` from the code; every result on this page was computed by it.

`${{ }}` in a squad file holds an expression. It is evaluated in a sandbox when the field is used: it reads data and
computes with it. It has no statements, no functions and no variables of its own. What a model or a person wrote is data
and never becomes an expression. [Templates](../guides/templates.md) says how to write braces that are not an
expression.

```yaml
description: Review ${{ tasks.plan.output.stories | length }} stories for ${{ inputs.product | upper }}.
```
"""
TEXTS = """## Whole values and text

An expression that is the whole text keeps its type: `for_each: ${{ tasks.plan.output.stories }}` is a list. In other
text, and in a field that takes text, a value is written like this:
"""
TRUTH = """## What counts as true

`if` and `until` take one `${{ }}`, or YAML's `true` and `false`. In it `not`, `and`, `or` and `x if c else y` read
their operands by the same rule; as in Python, `and` and `or` return one of them. Comparisons (`==`, `in`, `<`) use the
values as they are. In a text, upper and lower case are the same; spaces, punctuation, quotation marks, Markdown and
emoji around it are ignored, but not letters, digits and a question mark.
Any text that says neither yes nor no is an error that fails the task, so that no run
goes on after an answer that was misread: compare it, `${{ tasks.check.output == 'approved' }}`.
"""
ELSEWHERE = """
In all other fields a text is true unless it is empty: in a `description`, `${{ 'x' if 'no' else 'y' }}` is `x`.
"""
FILTERS = """## Filters

`value | filter` or `value | filter(argument)`. Arguments may be named. What has a default may be left out.
`case_sensitive` is false in sorting and comparing unless you say true. `attribute` is a key, `'a.b'` a key in a key,
`'0'` a place in a list.
"""
METHODS = """## Methods

`value.method()`: these are all, and nothing else can be called.
"""
TESTS = """## Tests

`value is test`, `value is not test`; a test's name is also the argument of `select`, `reject`, `selectattr` and
`rejectattr`.
"""
ERRORS = """## Errors

- A name, a task, a step or an attribute that is not known at its place, a filter that does not exist: `validate` tells
  it, with the place and a suggestion, before anything is spent.
- A key that a value turns out to lack, arithmetic with text, the first item of an empty list: the task fails when the
  field is rendered, and the message names the expression. For a key that may be missing, write
  `${{ tasks.plan.output.title | default('untitled') }}`.
- An expression that passes a limit below: the same.
"""
SANDBOX = Sandbox()


def page() -> str:
    """Return the whole page."""
    return "\n".join([HEAD, *_places(), *_names(), *_texts(), *_truth(), *_operators(), *_words(), ERRORS, *_limits()])


def evaluated(expression: str) -> str:
    """Return what an expression comes to, as JSON."""
    value = SANDBOX.expression_text(f"${{{{ {expression} }}}}").render({})
    return json.dumps(value, ensure_ascii=False)


def cell(text: str) -> str:
    """Return a text that may stand in a table."""
    return text.replace("|", "\\|").replace("\n", " ")


def code(text: str) -> str:
    return f"`{cell(text)}`"


def _places() -> Iterator[str]:
    yield from (
        "## Where expressions can be used, and what they read",
        "",
        "`[]` is any entry of a list, a word in capitals any name. A field that does not take text is one",
        "expression, without other text. Nothing else in a squad file is rendered.",
        "",
        "| field | takes | reads |",
        "|---|---|---|",
    )
    for place in RENDERED_FIELDS:
        yield f"| {code(place.path)} | {place.takes} | {', '.join(map(code, place.names))} |"
    yield from (
        "",
        "The fields of an agent mean those of its persona, too. A persona's own `template` also reads `persona`, in",
        "`{{ }}` or `${{ }}`. What `with` gives to a sub-squad may hold expressions at any depth.",
        "",
    )


def _names() -> Iterator[str]:
    yield from ("## Names", "", "| name | what it is |", "|---|---|")
    yield "| `inputs.NAME` | an input of the run, by the type that it declares |"
    fields = f"of a file: {_fields(InputFile)}; of an image: {_fields(InputImage)}; of an object its keys"
    yield f"| `inputs.NAME.FIELD` | {fields} |"
    for name, says in TASK_ATTRIBUTES.items():
        yield f"| `tasks.TASK.{name}` | {cell(says)} |"
    for name, says in STEP_ATTRIBUTES.items():
        yield f"| `steps.STEP.{name}` | of an earlier step of the same task: {cell(says[0].lower() + says[1:])} |"
    yield from (
        "| `item` | the element of a `for_each` that is worked on; `as: story` calls it `story` |",
        "| `output` | in `until`: what this attempt made |",
        "",
        "A task reads only tasks that it waits for: those in its `needs`, and those that they need.",
        "`outputs` reads all.",
        "",
    )


def _fields(kind: type[InputFile | InputImage]) -> str:
    return ", ".join(code(name) for name in kind.template_fields)


def _texts() -> Iterator[str]:
    yield from (TEXTS, "| value | in text |", "|---|---|")
    for value in MIXED:
        made = SANDBOX.expression_text(f"<${{{{ {value} }}}}>").render({})[1:-1]
        yield f"| {code(value)} | {code(made) if made else 'nothing'} |"
    yield ""


def _truth() -> Iterator[str]:
    yield from (TRUTH, "| the value of the expression | counts as |", "|---|---|")
    for value in VALUES:
        yield f"| {code(value)} | {_counts_as(value)} |"
    yield ELSEWHERE


def _counts_as(value: str) -> str:
    rule = partial(holds, field="if", edition=EDITION)
    try:
        return str(rule(SANDBOX.expression_text(f"${{{{ {value} }}}}").render({}))).lower()
    except NoCondition:
        return "an error"


def _operators() -> Iterator[str]:
    yield from ("## Operators", "", "| operator | what it does | example | result |", "|---|---|---|---|")
    for signs, (says, examples) in OPERATORS.items():
        shown, results = (", ".join(map(code, each)) for each in (examples, map(evaluated, examples)))
        yield f"| {cell(signs)} | {cell(says)} | {shown} | {results} |"
    literals = "Literals: `'text'`, `\"text\"`, `3`, `2.5`, `true`, `false`, `none` (or `True`, `False`, `None`)."
    yield from ("", literals, "")


def _words() -> Iterator[str]:
    yield from (FILTERS, *_table("filter", DESCRIBED_FILTERS))
    yield from (TESTS, "| test | true where | example | result |", "|---|---|---|---|")
    for says, tests in groupby(sorted(DESCRIBED_TESTS.items(), key=_of_one_kind), key=lambda pair: pair[1].says):
        (name, test), *others = tests
        names = " ".join(code(each) for each in (name, *(other for other, _ in others)))
        yield f"| {names} | {cell(says)} | {code(test.example)} | {code(evaluated(test.example))} |"
    yield from ("", METHODS, *_table("method", METHOD_WORDS))


def _of_one_kind(pair: tuple[str, TemplateTest]) -> tuple[bool, str, bool, str]:
    """Order the tests by name, and those that compare behind them, each with its other names."""
    name, word = pair
    compares = word.says.startswith("The same as")
    return compares, word.says if compares else "", not name.isalpha(), name


def _table(kind: str, words: Mapping[str, TemplateWord]) -> Iterator[str]:
    yield from (f"| {kind} | gives | example | result |", "|---|---|---|---|")
    for name, word in words.items():
        written = f"{name}({word.arguments})" if word.arguments or kind == "method" else name
        example = word.example.replace("\n", "\\n")
        yield f"| {code(written)} | {cell(word.says)} | {code(example)} | {code(evaluated(word.example))} |"
    yield ""


def _limits() -> Iterator[str]:
    yield from (
        "## Limits",
        "",
        "They hold for each rendering of a field, so that no text that a model wrote can keep a run busy.",
        "",
        "| limit | value | of what |",
        "|---|---|---|",
    )
    limits = TemplateLimits()
    for name, says in _said_of_fields(TemplateLimits).items():
        yield f"| `{name}` | {getattr(limits, name):,} | {says} |"
    yield ""


def _said_of_fields(cls: type[Any]) -> dict[str, str]:
    """Return the text below each field of a class in its source."""
    (node,) = ast.parse(inspect.getsource(cls)).body
    assert isinstance(node, ast.ClassDef)
    said = {}
    for line, after in zip(node.body, node.body[1:], strict=False):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            assert isinstance(after, ast.Expr), f"say what {line.target.id} is"
            said[line.target.id] = " ".join(ast.literal_eval(after.value).split())
    return said


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
