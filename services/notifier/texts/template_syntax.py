"""Checks the syntax of a template: which statements it may contain, and which variables it reads.

Templates come from a person who may write rules, but not run code in the notifier. They may print variables, choose
and loop, which always ends: calls, arithmetic, assignments, macros and files are refused, and loops run over lists of
the finding, at most two inside each other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

from jinja2 import nodes

MAX_LOOP_DEPTH = 2
MAX_TREE_DEPTH = 25
TESTS = frozenset({"none", "defined"})
# The members of jinja's loop variable that need no call.
LOOP = {"index": 1, "index0": 0, "revindex": 1, "first": True, "last": True, "length": 1}
ALLOWED = (
    nodes.Template, nodes.Output, nodes.TemplateData, nodes.Name, nodes.Const, nodes.Getattr, nodes.Getitem,
    nodes.Filter, nodes.Test, nodes.If, nodes.For, nodes.Compare, nodes.Operand, nodes.And, nodes.Or, nodes.Not,
    nodes.CondExpr, nodes.List, nodes.Tuple,
)  # fmt: skip
# What a person calls the nodes that are refused most often.
NAMES: Mapping[type[nodes.Node], str] = {
    nodes.Call: "a call", nodes.Macro: "a macro", nodes.Import: "an import", nodes.FromImport: "an import",
    nodes.Include: "an include", nodes.Extends: "extends", nodes.Assign: "set", nodes.Concat: "~", nodes.Dict: "{}",
    nodes.Block: "a block", nodes.Slice: "a slice", nodes.Keyword: "a named argument", nodes.With: "with",
}  # fmt: skip

Scope = Mapping[str, object]


class SyntaxProblem(NamedTuple):
    """A problem in a template; lines count from 1. `text` says what is wrong and what to do."""

    line: int
    text: str


def problems_of(tree: nodes.Template, variables: Scope, filters: Sequence[str]) -> list[SyntaxProblem]:
    """Everything in the template that is not allowed, or that reads what is not among `variables` (samples)."""
    if (line := _too_deep_at(tree)) is not None:
        return [SyntaxProblem(line, "it is nested too deeply; write it with fewer blocks and parentheses")]
    return list(dict.fromkeys(_Checker(filters).check(tree, variables, 0)))


def suggestion(name: str, known: Sequence[str]) -> str:
    """What to write instead of an unknown name."""
    match = get_close_matches(name, known, n=1)
    return f"did you mean {match[0]}?" if match else f"use one of {', '.join(sorted(known))}"


class _Unresolved(Exception):
    """A variable that does not exist; has the SyntaxProblem."""

    def __init__(self, node: nodes.Node, text: str) -> None:
        super().__init__(text)
        self.problem = SyntaxProblem(node.lineno, text)


class _Checker:
    def __init__(self, filters: Sequence[str]) -> None:
        self._filters = filters

    def check(self, node: nodes.Node, scope: Scope, loops: int) -> Iterator[SyntaxProblem]:
        """`loops`: the number of loops around the node."""
        match node:
            case nodes.For():
                yield from self._check_loop(node, scope, loops)
                return
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                try:
                    _resolve(node, scope)
                except _Unresolved as error:
                    yield error.problem
                return
            case nodes.Filter():
                yield from self._check_filter(node)
            case nodes.Test(name=name) if name not in TESTS:
                yield SyntaxProblem(node.lineno, f"unknown test {name}; {suggestion(name, sorted(TESTS))}")
            case _ if not isinstance(node, ALLOWED):
                name = NAMES.get(type(node), type(node).__name__.lower())
                text = f"{name} is not allowed in a template; use only variables, filters, if and for"
                yield SyntaxProblem(node.lineno, text)
                return
        for child in node.iter_child_nodes():
            yield from self.check(child, scope, loops)

    def _check_filter(self, node: nodes.Filter) -> Iterator[SyntaxProblem]:
        if node.name not in self._filters:
            yield SyntaxProblem(node.lineno, f"unknown filter {node.name}; {suggestion(node.name, self._filters)}")
        elif not all(isinstance(each, nodes.Const) for each in node.args):
            text = f"the filter {node.name} takes only texts and numbers; write them out"
            yield SyntaxProblem(node.lineno, text)

    def _check_loop(self, node: nodes.For, scope: Scope, loops: int) -> Iterator[SyntaxProblem]:
        if node.recursive or node.test is not None:
            yield SyntaxProblem(node.lineno, "a loop must not be recursive or have a condition; put an if into it")
        if loops >= MAX_LOOP_DEPTH:
            yield SyntaxProblem(node.lineno, f"at most {MAX_LOOP_DEPTH} loops may be inside each other; remove one")
        if not isinstance(node.target, nodes.Name):
            yield SyntaxProblem(node.lineno, "a loop has one variable; write `for each in LIST` and use each.NAME")
            return
        try:
            items = _resolve(node.iter, scope)
        except _Unresolved as error:
            yield error.problem
            return
        if not isinstance(items, list | tuple):
            yield SyntaxProblem(node.lineno, "a loop must run over a list; use one of the lists of this finding")
            return
        inner = {**scope, node.target.name: items[0] if items else None, "loop": LOOP}
        for child in node.body:
            yield from self.check(child, inner, loops + 1)
        for child in node.else_:
            yield from self.check(child, scope, loops)


def _resolve(node: nodes.Node, scope: Scope) -> object:
    """The sample value of a variable. Raises _Unresolved."""
    match node:
        case nodes.Name(name=name):
            owner: object = scope
        case nodes.Getattr(attr=name) | nodes.Getitem(arg=nodes.Const(value=str(name))):
            owner = _resolve(node.node, scope)
        case nodes.Getitem(arg=nodes.Const(value=int())):
            items = _resolve(node.node, scope)
            if not isinstance(items, list | tuple):
                raise _Unresolved(node, "only a list has numbered items; use .NAME instead")
            return items[0] if items else None
        case _:
            raise _Unresolved(node, "expected a variable, such as event or each.name; nothing is calculated here")
    if isinstance(owner, Mapping) and name in owner:
        return owner[name]
    known = [each for each in owner if isinstance(each, str)] if isinstance(owner, Mapping) else []
    hint = suggestion(name, known) if known else "remove it, because this variable has no members"
    raise _Unresolved(node, f"unknown variable {name}; {hint}")


def _too_deep_at(tree: nodes.Node) -> int | None:
    """The line of a node below the maximum depth; None if there is none."""
    level = [tree]
    for _ in range(MAX_TREE_DEPTH):
        level = [child for node in level for child in node.iter_child_nodes()]
    return level[0].lineno if level else None
