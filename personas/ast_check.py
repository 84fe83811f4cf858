"""What a template may say: a check of its parsed form, the names that it reads, and a rewriting into priced words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import takewhile
from math import isfinite
from typing import Any
from unicodedata import normalize

from jinja2 import Environment, nodes
from jinja2.visitor import NodeTransformer

from personas.filters import ANSWERED, ASKED, COMPARED, CONCAT, EACH, FILTER_WORDS, LITERAL, METHODS, SLICE, method
from personas.limits import TemplateError, TemplateLimits
from personas.list_filters import TEST_WORDS
from providers.documents.likeness import closest

_NODES = (
    "Template Output TemplateData If For Assign Name Const Tuple List Dict Pair Keyword CondExpr Filter Test Call "
    "Getattr Getitem Slice Concat Compare Operand Add Sub Mul Div FloorDiv Mod Pow And Or Not Neg Pos"
)
_ALLOWED = frozenset(_NODES.split())


def check_nesting(environment: Environment, source: str, state: str | None, limits: TemplateLimits) -> None:
    """Raise `TemplateError` where `source` is too long or its brackets too deep for a parser that recurses."""
    if len(source) > limits.source_chars:
        raise TemplateError(f"the template is longer than {limits.source_chars:,} characters")
    depth = 0
    for _, kind, value in environment.lexer.tokeniter(source, None, None, state):
        if kind == "operator":
            depth += (value in "([{") - (value in ")]}")
            if depth > limits.depth:
                raise TemplateError(f"brackets are nested more than {limits.depth} deep")


def check(root: nodes.Node, limits: TemplateLimits) -> None:
    """Raise `TemplateError` where a parsed template says what is not allowed, or too much of it."""
    todo = [(root, 1)]
    seen = 0
    while todo:
        node, depth = todo.pop()
        seen += 1
        if seen > limits.nodes or depth > limits.depth:
            raise TemplateError("the template is too large or nested too deeply")
        _check_node(node, limits)
        todo.extend((child, depth + 1) for child in node.iter_child_nodes())


def _check_node(node: nodes.Node, limits: TemplateLimits) -> None:
    kind = type(node).__name__
    match node:
        case _ if kind not in _ALLOWED:
            raise TemplateError(f"'{kind.lower()}' is not allowed here")
        case nodes.Name(name=name, ctx=ctx) if _is_barred(name, ctx):
            raise TemplateError(f"{name!r} is not allowed as a name")
        case nodes.For(recursive=True):
            raise TemplateError("recursive loops are not allowed")
        case nodes.Const(value=int() as number) if number.bit_length() > limits.int_bits:
            raise TemplateError("a number is too large")
        case nodes.Const(value=float() as number) if not isfinite(number):
            raise TemplateError("a number is too large")
        case nodes.Filter(name=name):
            _check_word("filter", name, FILTER_WORDS)
        case nodes.Test(name=name):
            _check_word("test", name, TEST_WORDS)
        case nodes.Call(node=nodes.Getattr(attr=name)):
            _check_word("method", name, METHODS)
        case nodes.Call():
            raise TemplateError("only methods can be called, as in name.strip()")
    if getattr(node, "dyn_args", None) or getattr(node, "dyn_kwargs", None):
        raise TemplateError("'*' and '**' arguments are not allowed")


def _is_barred(name: str, ctx: str) -> bool:
    # `self` is Jinja's handle on the template; Python folds compatibility letters, so two such names would be one.
    return (name.startswith("_") and ctx == "load") or name == "self" or normalize("NFKC", name) != name


def _check_word(kind: str, name: str, known: Iterable[str]) -> None:
    if name in known:
        return
    near = closest(name, known)
    raise TemplateError(f"{name!r} is not a {kind}" + (f"; did you mean {near!r}?" if near else ""))


def paths_read(root: nodes.Node) -> Iterator[tuple[str | int, ...]]:
    """Yield the constant path of every name that is read: `a.b['c'][0].d` gives ("a", "b", "c", 0, "d")."""
    todo = [root]
    while todo:
        node = todo.pop()
        path, rest = _path(node)
        if path:
            yield path
        todo.extend(rest)


def name_in(path: tuple[str | int, ...]) -> tuple[str, ...]:
    """Return the names at the beginning of a path, up to a place in a list."""
    return tuple(takewhile(lambda step: isinstance(step, str), path))  # type: ignore[arg-type]


def _path(node: nodes.Node) -> tuple[tuple[str | int, ...], list[nodes.Node]]:
    """Return the path that `node` spells, if any, and the nodes still to be looked into."""
    steps: list[str | int] = []
    rest: list[nodes.Node] = []
    here: nodes.Node = node
    while True:
        match here:
            case nodes.Name(name=name, ctx="load"):
                return (name, *reversed(steps)), rest
            case nodes.Call(node=nodes.Getattr(node=owner)) if here is node:
                rest += [child for child in here.iter_child_nodes() if child is not here.node]
                here = owner
            case nodes.Getattr(node=owner, attr=attr):
                steps.append(attr)
                here = owner
            case nodes.Getitem(node=owner, arg=nodes.Const(value=str() | int() as key)):
                steps.append(key)
                here = owner
            case nodes.Getitem(node=owner, arg=nodes.Neg(node=nodes.Const(value=int() as place))):
                steps.append(-place)
                here = owner
            case nodes.Getitem(node=owner, arg=arg):
                steps.clear()
                rest.append(arg)
                here = owner
            case _:
                return (), [*rest, *([here] if here is not node else node.iter_child_nodes())]


class Priced(NodeTransformer):
    """Rewrites what costs room or time into filters that charge for it.

    After it no call is left, so nothing in a template ever holds a function.
    """

    def visit_For(self, node: nodes.For) -> nodes.For:  # noqa: N802  # the visitor looks for the class's name
        self.generic_visit(node)
        node.iter = _filter(EACH, node.iter)
        return node

    def visit_Call(self, node: nodes.Call) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        assert isinstance(node.node, nodes.Getattr)
        return nodes.Filter(
            node.node.node, method(node.node.attr), node.args, node.kwargs, None, None, lineno=node.lineno
        )

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        return _filter(SLICE, node.node, *[end or nodes.Const(None, lineno=node.lineno) for end in ends])

    def visit_Concat(self, node: nodes.Concat) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        return _filter(CONCAT, nodes.List(node.nodes, lineno=node.lineno))

    def visit_Operand(self, node: nodes.Operand) -> nodes.Operand:  # noqa: N802
        self.generic_visit(node)
        node.expr = _filter(COMPARED, node.expr)
        return node

    def visit_Test(self, node: nodes.Test) -> nodes.Test:  # noqa: N802
        self.generic_visit(node)
        node.args = [_filter(COMPARED, argument) for argument in node.args]
        return node

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        node.expr2 = node.expr2 or nodes.Const(None, lineno=node.lineno)
        return node

    def _literal(self, node: Any) -> nodes.Expr:
        self.generic_visit(node)
        return node if getattr(node, "ctx", "load") == "store" else _filter(LITERAL, node)

    visit_List = visit_Tuple = visit_Dict = _literal  # noqa: N815


class Questioned(NodeTransformer):
    """Rewrites the operands of which `not`, `and`, `or` and `if ... else` ask whether they are true, so that the rule
    of the rendering says it. `and` and `or` still come to one of their operands, as it is.
    """

    def visit_Not(self, node: nodes.Not) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        node.node = _filter(ASKED, node.node)
        return node

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Expr:  # noqa: N802
        self.generic_visit(node)
        node.test = _filter(ASKED, node.test)
        return node

    def _of_two(self, node: Any) -> nodes.Expr:
        self.generic_visit(node)
        node.left = _filter(ASKED, node.left)
        return _filter(ANSWERED, node)

    visit_And = visit_Or = _of_two  # noqa: N815


def _filter(name: str, subject: Any, *args: nodes.Expr) -> nodes.Filter:
    return nodes.Filter(subject, name, list(args), [], None, None, lineno=subject.lineno)
