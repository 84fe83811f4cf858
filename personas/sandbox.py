"""The one sandbox: persona templates (`{{ }}`, `{% %}`) and the expressions of squad files (`${{ }}`).

A template reaches data and a short list of filters, tests and methods: no calls, no macros, no imports, no attribute
that starts with an underscore, no globals. What it may cost is bounded before parsing (`source_chars` of its
`TemplateLimits`), after parsing (`nodes`, `depth`) and while it runs (`Rendering`). Values are data: they are never
parsed, so text that came from a user or a model cannot become a template.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from textwrap import shorten
from typing import Any

import jinja2
from jinja2 import nodes, pass_context
from jinja2.parser import Parser
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment

from personas import ast_check as grammar
from personas.attributes import Unknown, UnknownName, pick, reach
from personas.filters import FILTER_WORDS, REWRITTEN, BudgetedContext, Truth
from personas.limits import Rendering, TemplateError, TemplateLimits
from personas.list_filters import TEST_WORDS
from personas.number_filters import calculate
from personas.text_filters import as_text
from providers.documents.values import kind_of_value

__all__ = ["ExpressionText", "Sandbox", "Template", "TemplateError", "TemplateLimits", "expression_spans"]

Clock = Callable[[], float]

# Where an expression leaves its value. A source cannot spell it: names that start with an underscore are refused.
_RESULT = "_result"

# All that evaluating data can raise: what it raises is the template's fault, or the data's, never ours to crash on.
_FAULTS = (
    jinja2.TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's own sandbox, with its doors walled up: no globals, no callables, every operator metered."""

    context_class = BudgetedContext
    intercepted_binops = frozenset(ImmutableSandboxedEnvironment.default_binop_table)

    def __init__(self) -> None:
        super().__init__(
            autoescape=False,
            finalize=_finalize,
            keep_trailing_newline=True,
            lstrip_blocks=True,
            optimized=False,  # nothing of a template may run while it is compiled
            trim_blocks=True,
            undefined=Unknown,
        )
        self.globals.clear()
        self.filters = {**FILTER_WORDS, **REWRITTEN}
        self.tests = dict(TEST_WORDS)

    def getattr(self, obj: Any, attribute: str) -> Any:
        return reach(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        return pick(obj, argument)

    def is_safe_callable(self, obj: Any) -> bool:  # noqa: ARG002
        return False

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        assert isinstance(context, BudgetedContext)
        return calculate(context.budget, operator, left, right)


@pass_context  # which also keeps the compiler from evaluating constants
def _finalize(context: BudgetedContext, value: Any) -> str:
    context.budget.tick()
    return as_text(value, context.budget)


class _Code:
    """A compiled template or expression: `run` yields its text, `result` hands over its value."""

    __slots__ = ("_environment", "_root", "_truth", "names", "paths")

    def __init__(
        self, environment: _Environment, tree: nodes.Template, limits: TemplateLimits, truth: Truth | None = None
    ) -> None:
        grammar.check(tree, limits)
        self.paths = frozenset(grammar.paths_read(tree))
        self.names = frozenset(map(grammar.name_in, self.paths))
        grammar.Priced().visit(tree)
        if truth is not None:
            grammar.Questioned().visit(tree)
        self._truth = truth
        code = environment.compile(tree)
        self._environment = environment
        self._root = jinja2.Template.from_code(environment, code, {}).root_render_func

    def _context(self, values: Mapping[str, Any], budget: Rendering) -> BudgetedContext:
        context = BudgetedContext(self._environment, dict(values), None, {})
        context.budget = budget
        if self._truth is not None:
            context.truth = self._truth
        return context

    def run(self, values: Mapping[str, Any], budget: Rendering) -> Iterator[str]:
        return self._root(self._context(values, budget))

    def result(self, values: Mapping[str, Any], budget: Rendering) -> Any:
        context = self._context(values, budget)
        for _ in self._root(context):
            pass  # an expression writes nothing
        value = context.vars[_RESULT]
        if isinstance(value, Unknown):
            str(value)
        return value


class Template:
    """A parsed persona template. Immutable; rendering it twice with the same values gives the same text."""

    __slots__ = ("_clock", "_code", "_limits", "source")

    def __init__(self, source: str, code: _Code, limits: TemplateLimits, clock: Clock) -> None:
        self.source = source
        self._code = code
        self._limits = limits
        self._clock = clock

    @property
    def names(self) -> frozenset[tuple[str, ...]]:
        """The constant paths that it reads: `{{ persona.role }}` reads ("persona", "role")."""
        return self._code.names

    def render(self, values: Mapping[str, Any]) -> str:
        """Return the text. Raise `TemplateError` where a name is unknown, a limit is passed or an operation fails."""
        budget = Rendering(self._limits, self._clock)
        try:
            return "".join([budget.written(part) for part in self._code.run(values, budget)])
        except _FAULTS as error:
            raise _explained(error, "", None, self._code.names, values) from None


@dataclass(frozen=True, slots=True)
class _Expression:
    source: str
    offset: int
    code: _Code

    @property
    def where(self) -> str:
        return _where(self.source)

    def value(self, values: Mapping[str, Any], budget: Rendering) -> Any:
        try:
            return self.code.result(values, budget)
        except _FAULTS as error:
            raise _explained(error, self.where, self.offset, self.code.names, values) from None


@dataclass(frozen=True, slots=True)
class ExpressionText:
    """A string of a squad file, parsed once. Only `${{ }}` is special in it; all else is itself."""

    source: str
    names: frozenset[tuple[str, ...]] = field(compare=False)
    """The constant paths that its expressions read: `${{ inputs.idea }}` reads ("inputs", "idea")."""
    paths: frozenset[tuple[str | int, ...]] = field(repr=False, compare=False)
    """The same with places in lists: `${{ tasks.a.output[0].title }}` reads ("tasks", "a", "output", 0, "title")."""
    _pieces: tuple[str | _Expression, ...] = field(repr=False, compare=False)
    _limits: TemplateLimits = field(repr=False, compare=False)
    _clock: Clock = field(repr=False, compare=False)

    @property
    def is_constant(self) -> bool:
        """Whether it holds no expression, and so renders to itself."""
        return self._pieces == (self.source,)

    @property
    def is_whole(self) -> bool:
        """Whether it is one expression and nothing else, and so renders to a value."""
        return len(self._pieces) == 1 and isinstance(self._pieces[0], _Expression)

    def render(self, values: Mapping[str, Any]) -> Any:
        """Return the value of the expression where it is the whole string (blanks around it aside), else the text.

        In text, None is nothing, truth is `true` or `false`, and lists and mappings are JSON. Raise `TemplateError`
        where a name is unknown, a limit is passed or an operation fails.
        """
        match self._pieces:
            case (str() as text,):
                return text
            case (_Expression() as alone,):
                return alone.value(values, Rendering(self._limits, self._clock))
        budget = Rendering(self._limits, self._clock)
        return "".join([budget.written(self._text(piece, values, budget)) for piece in self._pieces])

    def text(self, values: Mapping[str, Any], around: Callable[[frozenset[tuple[str, ...]], str], str]) -> str:
        """Return the text, with `around(names, text)` for what each expression, which reads `names`, came to.

        What an expression came to is written as `render` writes it in a text. Raise `TemplateError` as that does.
        """
        budget = Rendering(self._limits, self._clock)
        made = [(piece, self._text(piece, values, budget)) for piece in self._pieces]
        parts = [text if isinstance(piece, str) else around(piece.code.names, text) for piece, text in made]
        return "".join([budget.written(part) for part in parts])

    @staticmethod
    def _text(piece: str | _Expression, values: Mapping[str, Any], budget: Rendering) -> str:
        if isinstance(piece, str):
            return piece
        value = piece.value(values, budget)
        try:
            return as_text(value, budget)
        except _FAULTS as error:
            raise _explained(error, piece.where, piece.offset, piece.code.names, values) from None


class Sandbox:
    """Parses templates and expressions. Holds no state but its limits and clock (seconds, monotonic)."""

    def __init__(self, limits: TemplateLimits = TemplateLimits(), clock: Clock = time.monotonic) -> None:  # noqa: B008  # frozen
        self._limits = limits
        self._clock = clock
        self._environment = _Environment()

    def template(self, source: str) -> Template:
        """Return `source` parsed as a persona template. Raise `TemplateError` where it is not one."""
        code = self._compiled(source, None, lambda: self._environment.parse(source))
        return Template(source, code, self._limits, self._clock)

    def expression_text(
        self, source: str, is_text: Callable[[str], bool] | None = None, truth: Truth | None = None
    ) -> ExpressionText:
        """Return `source` parsed for its `${{ }}`. Raise `TemplateError`, with its offset, at the first bad one.

        Those of which `is_text`, given what stands between the braces, says so are text like any other.
        `truth` says what `not`, `and`, `or` and `if ... else` take for true, and may raise `ValueError`; None: Python.
        """
        pieces = tuple(_joined(self._pieces(source, is_text, truth)))
        expressions = [piece for piece in pieces if isinstance(piece, _Expression)]
        paths = frozenset[tuple[str | int, ...]]().union(*(expression.code.paths for expression in expressions))
        names = frozenset(map(grammar.name_in, paths))
        blank = all(isinstance(piece, _Expression) or piece.isspace() for piece in pieces)
        if len(expressions) == 1 and blank:
            pieces = tuple(expressions)
        return ExpressionText(source, names, paths, pieces or ("",), self._limits, self._clock)

    def _pieces(
        self, source: str, is_text: Callable[[str], bool] | None, truth: Truth | None
    ) -> Iterator[str | _Expression]:
        done = 0
        while (start := source.find("${{", done)) >= 0:
            if start > done:
                yield source[done:start]
            end = _end_of_expression(source, start)
            inside = source[start + 3 : end]
            is_ours = is_text is None or not is_text(inside)
            yield self._expression(inside, start, truth) if is_ours else source[start : end + 2]
            done = end + 2
        if done < len(source):
            yield source[done:]

    def _expression(self, source: str, offset: int, truth: Truth | None) -> _Expression:
        def parse() -> nodes.Template:
            parser = Parser(self._environment, source.strip(), state="variable")
            value = parser.parse_expression()
            if not parser.stream.eos:
                raise TemplateError(f"{parser.stream.current.value!r} is not expected")
            return nodes.Template([nodes.Assign(nodes.Name(_RESULT, "store"), value, lineno=1)], lineno=1)

        if not source.strip():
            raise TemplateError("'${{ }}' holds no expression", offset)
        try:
            return _Expression(source, offset, self._compiled(source, "variable", parse, truth))
        except TemplateError as error:
            raise TemplateError(error.message + _where(source), offset) from None

    def _compiled(
        self, source: str, state: str | None, parse: Callable[[], nodes.Template], truth: Truth | None = None
    ) -> _Code:
        try:
            grammar.check_nesting(self._environment, source, state, self._limits)
            return _Code(self._environment, parse(), self._limits, truth)
        except jinja2.TemplateSyntaxError as error:
            message = (error.message or "this is not a template").rstrip(".")
            raise TemplateError(message, _line_start(source, error.lineno)) from None
        except (RecursionError, MemoryError, SyntaxError):
            raise TemplateError("the template is nested too deeply") from None
        except TemplateError:
            raise
        except ValueError:  # of more digits than Python reads; the lexer lets nothing else of the kind through
            raise TemplateError("a number is too large") from None


def _where(expression: str) -> str:
    return f" in ${{{{ {shorten(expression, 200, placeholder=' ...')} }}}}"


_MARKS = re.compile(r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|['"{}]""", re.DOTALL)


def expression_spans(source: str) -> Iterator[tuple[int, int]]:
    """Yield where each `${{ }}` of a text begins and ends, up to one that is never closed."""
    done = 0
    while (start := source.find("${{", done)) >= 0:
        try:
            done = _end_of_expression(source, start) + 2
        except TemplateError:
            return
        yield start, done


def _joined(pieces: Iterable[str | _Expression]) -> Iterator[str | _Expression]:
    """Yield the pieces with neighbouring texts as one."""
    text = ""
    for piece in pieces:
        if isinstance(piece, str):
            text += piece
            continue
        if text:
            yield text
        yield piece
        text = ""
    if text:
        yield text


def _end_of_expression(source: str, start: int) -> int:
    """Return the offset of the `}}` that closes the `${{` at `start`: not one in quotes or in braces of its own."""
    depth = 0
    for mark in _MARKS.finditer(source, start + 3):
        match mark.group():
            case "{":
                depth += 1
            case "}" if depth:
                depth -= 1
            case "}" if source.startswith("}}", mark.start()):
                return mark.start()
            case "'" | '"':
                break
    raise TemplateError("'${{' is never closed by '}}', or a quote in it is left open", start)


_OWN_FUNCTION = re.compile(r"^[\w.<>]+\(\) ")
_LINE_END = re.compile(r"\r\n|\r|\n")


def _line_start(source: str, line: int) -> int:
    ends = [end.end() for end in _LINE_END.finditer(source)]
    return [0, *ends][min(line - 1, len(ends))]


def _explained(
    error: Exception, where: str, offset: int | None, names: Iterable[tuple[str, ...]], values: Mapping[str, Any]
) -> TemplateError:
    """Return `error` as a sentence, with the unknown name's whole path and what stands beside it where known."""
    match error:
        case UnknownName():
            return _unknown(str(error.message), where, offset, names, values)
        case OverflowError():
            return TemplateError(f"a number is too large{where}", offset)
        case RecursionError():
            return TemplateError(f"the data is nested too deeply{where}", offset)
        case MemoryError():
            return TemplateError(f"there is no memory left{where}", offset)
    # Python names the function of ours that an argument did not fit, which says nothing to a template's author.
    message = _OWN_FUNCTION.sub("the arguments do not fit: it ", str(error))
    return TemplateError(f"{message}{where}", offset)


def _unknown(
    name: str, where: str, offset: int | None, names: Iterable[tuple[str, ...]], values: Mapping[str, Any]
) -> TemplateError:
    for path in sorted(names):
        level: Any = values
        for depth, step in enumerate(path):
            if not isinstance(level, Mapping):
                if step == name:
                    owner = f"{'.'.join(path[:depth])!r} is {kind_of_value(level)}, which has no fields"
                    return TemplateError(f"{name!r} is unknown{where}: {owner}", offset, (name,))
                break
            if step not in level and step == name:
                known = tuple(str(key) for key in level)
                spelled = ".".join(path[: depth + 1])
                listed = f" (there is: {', '.join(known[:20])})" if known else ""
                return TemplateError(f"{spelled!r} is unknown{where}{listed}", offset, path[: depth + 1], known)
            level = level.get(step)
    return TemplateError(f"{name!r} is unknown{where}", offset, (name,))
