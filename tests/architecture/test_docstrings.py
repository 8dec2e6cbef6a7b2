"""A name that the docstring of a function quotes exists: a parameter that was renamed must not live on in prose."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.tree import Tree, read_tree

QUOTED = re.compile(r"`([a-z_][a-z0-9_]*)`")
WORD = re.compile(r"[a-z_][a-z0-9_]*")


def quoted_names(syntax: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and identifier of each name in backticks in the docstring of a function that has parameters."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (text := ast.get_docstring(node)):
            yield from ((node.lineno, name) for name in QUOTED.findall(text))


def module_words(source: str) -> set[str]:
    """Every word of a module that is not itself in backticks."""
    return set(WORD.findall(re.sub(r"`[^`]*`", "", source)))


def data_words(tree: Tree) -> set[str]:
    """The one-word strings of all modules: keys, columns, states and commands. And the names of modules and fields."""
    found = {part for name in tree for part in name.split(".")}
    for module in tree.values():
        for node in ast.walk(module.syntax):
            match node:
                case ast.Constant(value=str(text)) if WORD.fullmatch(text):
                    found.add(text)
                case ast.AnnAssign(target=ast.Name(id=name)):
                    found.add(name)
    return found


def unknown_names(tree: Tree) -> list[str]:
    data = data_words(tree)
    return [
        f"{module.name}:{line} quotes {name}"
        for module in tree.values()
        for line, name in quoted_names(module.syntax)
        if name not in data and name not in module_words(module.path.read_text(encoding="utf-8"))
    ]


def test_a_docstring_quotes_names_that_exist(production: Tree) -> None:
    assert unknown_names(production) == []


def test_a_renamed_parameter_in_a_docstring_is_found(tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "a.py").write_text('def f(rows: int) -> int:\n    """Counts `lines`, not `rows`."""\n')

    assert unknown_names(read_tree(tmp_path, ("shared",))) == ["shared.a:1 quotes lines"]
