"""The rules of the tree, each a function from modules to the sentences that say where it is broken."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.architecture.shape import (
    BROUGHT_ALONG,
    CLOCK_READS,
    CONNECTION,
    FORBIDDEN_NAMES,
    IMPORT_NAME,
    LAYERS,
    MORE_EXTRAS,
    MOST_LINES_OF_A_FUNCTION,
    OUTSIDE,
    OUTSIDE_CALLS,
    OUTSIDE_METHODS,
    OUTSIDE_MODULES,
    OUTSIDE_PLACES,
    SIMULATOR_MAY_IMPORT,
)
from tests.architecture.tree import Module, Tree, imports_of


def pointing_upwards(tree: Tree) -> list[str]:
    """Imports of a higher layer, and modules that have no layer at all."""
    found = []
    for module in _layered(tree):
        own = _layer(module.name)
        if own is None:
            found.append(f"{module.name} has no layer; give it one in LAYERS of shape.py")
            continue
        for target in _ours(module, tree):
            layer = _layer(target)
            if target.split(".")[0] != "simulator" and (layer is None or layer < own):
                found.append(f"{module.name} imports {target}, which is above it")
    return found


def services_importing_services(tree: Tree) -> list[str]:
    return [
        f"{module.name} imports {target} of another service"
        for module in tree.values()
        if module.service
        for target in _ours(module, tree)
        if tree[target].service not in {None, module.service}
    ]


def circles(tree: Tree) -> list[str]:
    try:
        TopologicalSorter({name: set(_ours(module, tree)) for name, module in tree.items()}).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def circles_of_folders(tree: Tree) -> list[str]:
    """Circles among the files and folders of one package, where a folder imports what any of its modules imports."""
    found = []
    for package in sorted(
        {".".join(name.split(".")[:depth]) for name in tree for depth in range(1, name.count(".") + 1)}
    ):
        edges: dict[str, set[str]] = {}
        for module in tree.values():
            here = _child(package, module.name)
            there = {_child(package, target) for target in _ours(module, tree)}
            if here is not None:
                edges.setdefault(here, set()).update(child for child in there if child not in {None, here})
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            found.append(f"{package}: " + " -> ".join(error.args[1]))
    return found


def too_long(tree: Tree, most_lines: int = MOST_LINES_OF_A_FUNCTION) -> list[str]:
    """Functions above a number of lines, decorators not counted."""
    return [
        f"{module.name}: {node.name} has {length} lines, at most {most_lines} are allowed"
        for module in tree.values()
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > most_lines
    ]


def imports_of_the_top(tree: Tree) -> list[str]:
    """Nothing imports the command or the simulator; the simulator imports nearly nothing of ours."""
    return [
        f"{module.name} imports {target}"
        for module in tree.values()
        for target in _ours(module, tree)
        if ((top := target.split(".")[0]) != module.name.split(".")[0] and top in {"headrace", "simulator"})
        or (module.name.split(".")[0] == "simulator" and not target.startswith(SIMULATOR_MAY_IMPORT))
    ]


def impure(tree: Tree, outside_modules: Sequence[str] = OUTSIDE_MODULES) -> list[str]:
    """Modules that touch the outside, or import one of their service's modules that does, in a place that is pure."""
    found = []
    for module in tree.values():
        if does_io(module.name, outside_modules):
            continue
        found += [f"{module.name} imports {target}" for target in sorted(module.imports) if _is_outside(target)]
        found += [
            f"{module.name} imports {target}, which touches the outside"
            for target in _ours(module, tree)
            if module.service and target.startswith("services.")
            if does_io(target, outside_modules)
        ]
        if any(isinstance(node, ast.Name) and node.id == CONNECTION for node in ast.walk(module.syntax)):
            found.append(f"{module.name} takes a {CONNECTION}")
        found += [f"{module.name}:{line} calls {name}" for line, name in _outside_calls(module.syntax)]
    return found


def does_io(name: str, outside_modules: Sequence[str] = OUTSIDE_MODULES) -> bool:
    """Whether the place of a module allows it to touch the outside."""
    by_place = not OUTSIDE_PLACES.isdisjoint(name.split(".")[1:])
    return by_place or any(matches(name, pattern) for pattern in outside_modules)


def unused_entries(
    tree: Tree, outside_modules: Sequence[str] = OUTSIDE_MODULES, places: Set[str] = OUTSIDE_PLACES
) -> list[str]:
    """Names of places and patterns of modules that match nothing in the tree."""
    parts = {part for name in tree for part in name.split(".")[1:]}
    modules = [pattern for pattern in outside_modules if not any(matches(name, pattern) for name in tree)]
    return modules + sorted(places - parts)


def not_carried(tree: Tree, pyproject: Path) -> list[str]:
    """Imports of what an image does not install: base dependencies and the part's own extra, nothing else."""
    project = tomllib.loads(pyproject.read_text())["project"]
    found = []
    for module in tree.values():
        extras = [extra for extra in (_extra_of(module), _further_extra(module)) if extra]
        carried = {_import_name(wanted) for wanted in _wanted(project, extras)}
        carried |= {name for carrier in carried for name in BROUGHT_ALONG.get(carrier, ())}
        found += [
            f"{module.name} imports {target}, which its image does not install"
            for target in sorted(module.imports)
            if (top := target.split(".")[0]) not in carried
            and top not in sys.stdlib_module_names
            and target not in tree
        ]
    return found


def eager(tree: Tree) -> list[str]:
    """Imports at the top of a module that make its part need another part's extra just to start."""
    return [
        f"{module.name} imports {target} when it is imported itself"
        for module in tree.values()
        if _further_extra(module) is None
        for target in _ours(module, tree)
        if _further_extra(tree[target]) is not None and not _is_lazy(module, target)
    ]


def code_in_init(tree: Tree) -> list[str]:
    """An __init__.py may hold a docstring."""
    return [
        f"{module.path.name} of {module.name} holds code"
        for module in tree.values()
        if module.path.name == "__init__.py" and any(not _is_docstring(statement) for statement in module.syntax.body)
    ]


def relative_imports(tree: Tree) -> list[str]:
    return [
        f"{module.name} imports {target} relatively"
        for module in tree.values()
        for target in sorted(module.imports)
        if target.startswith(".")
    ]


def empty_names(tree: Tree) -> list[str]:
    """Names that say nothing about what is inside."""
    return [name for name in tree if FORBIDDEN_NAMES.search(name.split(".")[-1])]


def without_docstring(tree: Tree) -> list[str]:
    return [
        module.name
        for module in tree.values()
        if module.path.name != "__init__.py" and not ast.get_docstring(module.syntax)
    ]


def matches(name: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]*"), name) is not None


def _layered(tree: Tree) -> Iterator[Module]:
    """Packages themselves are empty; only modules have a place in the layers."""
    return (
        module
        for module in tree.values()
        if module.path.name != "__init__.py" and not module.name.startswith("simulator")
    )


def _layer(name: str) -> int | None:
    return next((i for i, top in enumerate(LAYERS) if f"{name}.".startswith(f"{top}.")), None)


def _ours(module: Module, tree: Tree) -> Iterator[str]:
    return (target for target in sorted(module.imports) if target in tree)


def _child(package: str, name: str) -> str | None:
    """The file or folder of the package that a module lies in; None: in none of them."""
    return name.removeprefix(f"{package}.").split(".")[0] if name.startswith(f"{package}.") else None


def _is_outside(target: str) -> bool:
    return any(f"{target}.".startswith(f"{name}.") for name in OUTSIDE)


def _outside_calls(syntax: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(syntax):
        if not isinstance(node, ast.Call):
            continue
        called = ast.unparse(node.func)
        if called in OUTSIDE_CALLS or called.split(".")[-1] in OUTSIDE_METHODS or CLOCK_READS.search(called):
            yield node.lineno, called


def _extra_of(module: Module) -> str | None:
    """shared/ gets no extra: every image carries it."""
    top = module.name.split(".")[0]
    return {"services": module.service, "headrace": "cli", "simulator": "simulator"}.get(top)


def _further_extra(module: Module) -> str | None:
    return next((extra for pattern, extra in MORE_EXTRAS.items() if matches(module.name, pattern)), None)


def _is_lazy(module: Module, target: str) -> bool:
    """Whether a module of ours is imported inside functions only."""
    top = ast.Module([node for node in module.syntax.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    return target not in imports_of(top, [target])


def _wanted(project: Mapping[str, object], extras_of_module: Sequence[str]) -> list[str]:
    base = project["dependencies"]
    extras = project["optional-dependencies"]
    assert isinstance(base, list)
    assert isinstance(extras, dict)
    return [*base, *(wanted for extra in extras_of_module for wanted in extras[extra])]


def _import_name(wanted: str) -> str:
    name = re.split(r"[\[<>=!~; ]", wanted, maxsplit=1)[0].lower()
    name = re.sub(r"[-_.]+", "-", name)
    return IMPORT_NAME.get(name, name.replace("-", "_"))


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
