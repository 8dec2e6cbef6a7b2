"""The rules of the source tree. Each is a function that returns one line for each violation."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping, Sequence, Set
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

from tests.architecture.shape import (
    ADDITIONAL_EXTRAS,
    ANALYSIS_LIBRARIES,
    CLOCK_READS,
    CONNECTION,
    FORBIDDEN_NAMES,
    IMPORT_NAME,
    INSTALLED_WITH,
    IO_CALLS,
    IO_LIBRARIES,
    IO_METHODS,
    IO_MODULES,
    IO_PLACES,
    LAYERS,
    MAX_FUNCTION_LINES,
    OPTIONAL_LIBRARIES,
    PUBLIC_PACKAGES,
    SIMULATOR_MAY_IMPORT,
)
from tests.architecture.tree import Module, Tree, imports_of


def upward_imports(tree: Tree) -> list[str]:
    """Imports of a higher layer, and modules that have no layer at all."""
    violations = []
    for module in _layered(tree):
        own = _layer(module.name)
        if own is None:
            violations.append(f"{module.name} has no layer; give it one in LAYERS of shape.py")
            continue
        for target in _project_imports(module, tree):
            layer = _layer(target)
            if target.split(".")[0] != "simulator" and (layer is None or layer < own):
                violations.append(f"{module.name} imports {target}, which is above it")
    return violations


def services_importing_services(tree: Tree) -> list[str]:
    return [
        f"{module.name} imports {target} of another service"
        for module in tree.values()
        if module.service
        for target in _project_imports(module, tree)
        if tree[target].service not in {None, module.service}
    ]


def import_cycles(tree: Tree) -> list[str]:
    try:
        TopologicalSorter({name: set(_project_imports(module, tree)) for name, module in tree.items()}).prepare()
    except CycleError as error:
        return [" -> ".join(error.args[1])]
    return []


def folder_cycles(tree: Tree) -> list[str]:
    """Import cycles among the files and folders of one package; a folder imports what its modules import."""
    violations = []
    for package in sorted(
        {".".join(name.split(".")[:depth]) for name in tree for depth in range(1, name.count(".") + 1)}
    ):
        edges: dict[str, set[str]] = {}
        for module in tree.values():
            here = _child(package, module.name)
            there = {_child(package, target) for target in _project_imports(module, tree)}
            if here is not None:
                edges.setdefault(here, set()).update(child for child in there if child not in {None, here})
        try:
            TopologicalSorter(edges).prepare()
        except CycleError as error:
            violations.append(f"{package}: " + " -> ".join(error.args[1]))
    return violations


def long_functions(tree: Tree, max_lines: int = MAX_FUNCTION_LINES) -> list[str]:
    """Functions with more lines than allowed, without their decorators."""
    return [
        f"{module.name}: {node.name} has {length} lines, at most {max_lines} are allowed"
        for module in tree.values()
        for node in ast.walk(module.syntax)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if (length := (node.end_lineno or node.lineno) - node.lineno + 1) > max_lines
    ]


def imports_of_the_top(tree: Tree) -> list[str]:
    """Nothing imports the command or the simulator, and the simulator imports only what shape.py allows."""
    return [
        f"{module.name} imports {target}"
        for module in tree.values()
        for target in _project_imports(module, tree)
        if ((top := target.split(".")[0]) != module.name.split(".")[0] and top in {"headrace", "simulator"})
        or (module.name.split(".")[0] == "simulator" and not target.startswith(SIMULATOR_MAY_IMPORT))
    ]


def impure_modules(tree: Tree, io_modules: Sequence[str] = IO_MODULES) -> list[str]:
    """Pure modules that do I/O, or that import a module of their service that does."""
    violations = []
    for module in tree.values():
        if does_io(module.name, io_modules):
            continue
        violations += [f"{module.name} imports {target}" for target in sorted(module.imports) if _is_io_library(target)]
        violations += [
            f"{module.name} imports {target}, which does I/O"
            for target in _project_imports(module, tree)
            if module.service and target.startswith("services.")
            if does_io(target, io_modules)
        ]
        if any(isinstance(node, ast.Name) and node.id == CONNECTION for node in ast.walk(module.syntax)):
            violations.append(f"{module.name} takes a {CONNECTION}")
        violations += [f"{module.name}:{line} calls {name}" for line, name in _io_calls(module.syntax)]
    return violations


def does_io(name: str, io_modules: Sequence[str] = IO_MODULES) -> bool:
    """Whether the place of a module allows it to do I/O."""
    by_place = not IO_PLACES.isdisjoint(name.split(".")[1:])
    return by_place or any(matches(name, pattern) for pattern in io_modules)


def unused_entries(tree: Tree, io_modules: Sequence[str] = IO_MODULES, places: Set[str] = IO_PLACES) -> list[str]:
    """Places and module patterns of shape.py that match nothing in the tree."""
    parts = {part for name in tree for part in name.split(".")[1:]}
    modules = [pattern for pattern in io_modules if not any(matches(name, pattern) for name in tree)]
    return modules + sorted(places - parts)


def uninstalled_imports(tree: Tree, pyproject: Path) -> list[str]:
    """Imports of distributions that an image does not install: it has the base dependencies and its own extra."""
    project = tomllib.loads(pyproject.read_text())["project"]
    violations = []
    for module in tree.values():
        extras = [extra for extra in (_extra_of(module), _additional_extra(module)) if extra]
        installed = {_import_name(requirement) for requirement in _requirements(project, extras)}
        installed |= {name for package in installed for name in INSTALLED_WITH.get(package, ())}
        installed |= OPTIONAL_LIBRARIES.get(module.name, set())
        violations += [
            f"{module.name} imports {target}, which its image does not install"
            for target in sorted(module.imports)
            if (top := target.split(".")[0]) not in installed
            and top not in sys.stdlib_module_names
            and target not in tree
        ]
    return violations


def eager_imports(tree: Tree) -> list[str]:
    """Module-level imports because of which a program needs another program's extra to start."""
    return [
        f"{module.name} imports {target} at module level"
        for module in tree.values()
        if _additional_extra(module) is None
        for target in _project_imports(module, tree)
        if _additional_extra(tree[target]) is not None and not _is_lazy(module, target)
    ]


def misplaced_analysis(tree: Tree, libraries: Mapping[str, Sequence[str]] = ANALYSIS_LIBRARIES) -> list[str]:
    """Imports of the libraries of analysts where the pipeline or the command would need them."""
    return [
        f"{module.name} imports {target}"
        for module in tree.values()
        for target in sorted(module.imports)
        if (places := libraries.get(target.split(".")[0])) is not None
        and not any(f"{module.name}.".startswith(f"{place}.") for place in places)
    ]


def code_in_init(tree: Tree, public: Sequence[str] = PUBLIC_PACKAGES) -> list[str]:
    """Code in an __init__.py, which may only contain a docstring; in a public package also imports and `__all__`."""
    return [
        f"{module.path.name} of {module.name} contains code"
        for module in tree.values()
        if module.path.name == "__init__.py"
        if not all(
            _is_docstring(statement) or (module.name in public and _is_export(statement))
            for statement in module.syntax.body
        )
    ]


def relative_imports(tree: Tree) -> list[str]:
    return [
        f"{module.name} imports {target} relatively"
        for module in tree.values()
        for target in sorted(module.imports)
        if target.startswith(".")
    ]


def meaningless_names(tree: Tree) -> list[str]:
    """Module names without a meaning."""
    return [name for name in tree if FORBIDDEN_NAMES.search(name.split(".")[-1])]


def modules_without_docstring(tree: Tree) -> list[str]:
    return [
        module.name
        for module in tree.values()
        if module.path.name != "__init__.py" and not ast.get_docstring(module.syntax)
    ]


def matches(name: str, pattern: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", r"[^.]*"), name) is not None


def _layered(tree: Tree) -> Iterator[Module]:
    """Without packages, which contain no code, and the simulator, which is in no layer."""
    return (
        module
        for module in tree.values()
        if module.path.name != "__init__.py" and not module.name.startswith("simulator")
    )


def _layer(name: str) -> int | None:
    return next((i for i, top in enumerate(LAYERS) if f"{name}.".startswith(f"{top}.")), None)


def _project_imports(module: Module, tree: Tree) -> Iterator[str]:
    return (target for target in sorted(module.imports) if target in tree)


def _child(package: str, name: str) -> str | None:
    """The file or folder of the package that contains the module; None if the module is outside the package."""
    return name.removeprefix(f"{package}.").split(".")[0] if name.startswith(f"{package}.") else None


def _is_io_library(target: str) -> bool:
    return any(f"{target}.".startswith(f"{name}.") for name in IO_LIBRARIES)


def _io_calls(syntax: ast.Module) -> Iterator[tuple[int, str]]:
    for node in ast.walk(syntax):
        if not isinstance(node, ast.Call):
            continue
        function = ast.unparse(node.func)
        if function in IO_CALLS or function.split(".")[-1] in IO_METHODS or CLOCK_READS.search(function):
            yield node.lineno, function


def _extra_of(module: Module) -> str | None:
    """None for shared/, which every image contains."""
    top = module.name.split(".")[0]
    return {"services": module.service, "headrace": "cli", "simulator": "simulator"}.get(top)


def _additional_extra(module: Module) -> str | None:
    return next((extra for pattern, extra in ADDITIONAL_EXTRAS.items() if matches(module.name, pattern)), None)


def _is_lazy(module: Module, target: str) -> bool:
    """Whether the module imports the target only inside functions."""
    top = ast.Module([node for node in module.syntax.body if isinstance(node, ast.Import | ast.ImportFrom)], [])
    return target not in imports_of(top, [target])


def _requirements(project: Mapping[str, object], extras_of_module: Sequence[str]) -> list[str]:
    base = project["dependencies"]
    extras = project["optional-dependencies"]
    assert isinstance(base, list)
    assert isinstance(extras, dict)
    requirements = [*base, *(requirement for extra in extras_of_module for requirement in extras[extra])]
    nested = [
        name
        for requirement in requirements
        if (match := re.fullmatch(r"headrace\[(.+)\]", requirement))
        for name in match[1].split(",")
    ]
    return requirements + (_requirements(project, nested) if nested else [])


def _import_name(requirement: str) -> str:
    name = re.split(r"[\[<>=!~; ]", requirement, maxsplit=1)[0].lower()
    name = re.sub(r"[-_.]+", "-", name)
    return IMPORT_NAME.get(name, name.replace("-", "_"))


def _is_export(statement: ast.stmt) -> bool:
    """`from x import y`, or `__all__ = [...]`."""
    return isinstance(statement, ast.ImportFrom) or (
        isinstance(statement, ast.Assign) and ast.unparse(statement.targets[0]) == "__all__"
    )


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
