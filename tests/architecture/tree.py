"""Reads the source tree with `ast`: every module with its imports. Imports no module."""

from __future__ import annotations

import ast
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGES = ("headrace", "simulator", "services", "shared")
# With the benchmarks, to which the layers do not apply.
PRODUCTION = (*PACKAGES, "bench")


class Module(NamedTuple):
    """A module of the project: its dotted name, its file, its syntax tree and the dotted names that it imports."""

    name: str
    path: Path
    syntax: ast.Module
    imports: frozenset[str]

    @property
    def service(self) -> str | None:
        """The service that the module belongs to, if any."""
        parts = self.name.split(".")
        return parts[1] if parts[0] == "services" and len(parts) > 1 else None


Tree = dict[str, Module]


def read_tree(root: Path, packages: Iterable[str] = PACKAGES) -> Tree:
    """All modules of these packages under `root`, by name."""
    files = {
        _name(path, root): path
        for package in packages
        for path in sorted((root / package).rglob("*.py"))
        if "__pycache__" not in path.parts
    }
    tree = {}
    for name, path in files.items():
        syntax = ast.parse(path.read_text(), filename=str(path))
        tree[name] = Module(name, path, syntax, frozenset(imports_of(syntax, files)))
    return tree


def _name(path: Path, root: Path) -> str:
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports_of(syntax: ast.Module, modules: Collection[str]) -> Iterator[str]:
    """`from a import b` is an import of `a.b` if that is a module of the project, else of `a`."""
    for node in ast.walk(syntax):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = "." * node.level + (node.module or "")
            for alias in node.names:
                yield f"{parent}.{alias.name}" if f"{parent}.{alias.name}" in modules else parent
