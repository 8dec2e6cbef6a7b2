"""Names are standard terms: no class name is defined twice, and no replaced name is used."""

from __future__ import annotations

import ast
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.tree import PRODUCTION, Module, Tree, read_tree

# Participles alone do not say what a thing is.
PARTICIPLES = frozenset({"asked", "found", "judged", "kept", "made", "said", "taken", "told"})
# Names that a standard term has replaced. Leading underscores do not matter.
REPLACED = PARTICIPLES | {
    *("Aside", "Asked", "Chosen", "Claimed", "CountedSource", "Deciding", "Desk", "Doing", "Doors", "Happening"),
    *("InUse", "Judged", "KeptSource", "Lesson", "Lessons", "Link", "Manner", "Once", "Opinion", "Patience"),
    *("Retelling", "Retold", "Rivals", "Settling", "SoFar", "Standing", "Steering", "Stepped", "Tide", "Told"),
    *("Visit", "Visited", "Walk", "WholeLetter", "wish"),
    *("begun", "carry_out", "census", "desk", "keep_others_out", "last_words", "lay_down", "left_out_wins"),
    *("met_again", "not_yet", "one_by_one", "orphan", "shelve", "side_by_side", "sweep", "take_up", "tally"),
    *("unwritten", "walked"),
}
# The same within a package only, because elsewhere these words mean something else.
REPLACED_IN = {
    "headrace.run": frozenset({"horizon"}),
    "services.notifier": frozenset({"is_out", "written"}),
    "services.predictor": frozenset(
        {"Duel", "Learning", "Lines", "Memory", "Past", "Run", "Subject", "Tail", "Trace", "lines_of", "scene"}
    ),
    "services.predictor.jobs": frozenset({"attend", "tell"}),
    "services.predictor.learners": frozenset({"Plan"}),
    "services.predictor.registry": frozenset({"Book", "Order"}),
    "services.predictor.training": frozenset({"Ground", "Training"}),
    "shared.ops": frozenset({"tell"}),
    "shared.runtime": frozenset({"tell"}),
}
# Fields whose name is a key of stored JSON and of the REST API.
WIRE_FIELDS = frozenset({"services.fetcher.archive.replay.ArchiveReplayPlan.wish"})
REQUESTS = re.compile(r"Wish$")


def one_tree(root: Path, **sources: str) -> Tree:
    """Modules by dotted name, written with __ for each dot."""
    for name, source in sources.items():
        path = root.joinpath(*name.split("__")).with_suffix(".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(source)
    return read_tree(root, PRODUCTION)


def repeated_classes(tree: Tree) -> list[str]:
    """Class names with several definitions, unless all of them are private."""
    places: defaultdict[str, list[str]] = defaultdict(list)
    for module in tree.values():
        for node in ast.walk(module.syntax):
            if isinstance(node, ast.ClassDef):
                places[node.name].append(module.name)
    return [
        f"{name} is defined in {', '.join(modules)}"
        for name, modules in sorted(places.items())
        if len(modules) > 1 and not name.startswith("_")
    ]


def replaced_names(tree: Tree) -> list[str]:
    """Definitions under a name that a standard term has replaced."""
    return [
        f"{module.name}:{line} defines {name}"
        for module in tree.values()
        for line, name in sorted(set(definitions(module.syntax)) - set(_wire_fields(module)))
        if _is_replaced(module.name, name.lstrip("_"))
    ]


def definitions(syntax: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and name of each function, class, parameter, variable and attribute, and of each `as` of an import."""
    for node in ast.walk(syntax):
        match node:
            case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.ExceptHandler(name=str(name)) | ast.alias(asname=str(name)):
                yield node.lineno, name


def _wire_fields(module: Module) -> Iterator[tuple[int, str]]:
    for node in (each for each in ast.walk(module.syntax) if isinstance(each, ast.ClassDef)):
        for field in node.body:
            match field:
                case ast.AnnAssign(target=ast.Name(id=name)) if f"{module.name}.{node.name}.{name}" in WIRE_FIELDS:
                    yield field.lineno, name


def _is_replaced(module: str, name: str) -> bool:
    scoped = (names for package, names in REPLACED_IN.items() if f"{module}.".startswith(f"{package}."))
    return name in REPLACED or REQUESTS.search(name) is not None or any(name in names for names in scoped)


def test_no_class_name_is_defined_twice(production: Tree) -> None:
    assert repeated_classes(production) == []


def test_a_class_name_that_is_defined_twice_is_found(tmp_path: Path) -> None:
    tree = one_tree(
        tmp_path,
        shared__a="class Plan: ...\nclass _Row: ...\nclass Once: ...",
        bench__b="def f():\n    class Plan: ...\nclass _Row: ...",
    )

    assert repeated_classes(tree) == ["Plan is defined in shared.a, bench.b"]


def test_no_replaced_name_is_left(production: Tree) -> None:
    assert replaced_names(production) == []


@pytest.mark.parametrize(
    ("source", "name"),
    [
        ("def told(): ...", "told"),
        ("def f(asked): ...", "asked"),
        ("def f(*, wish): ...", "wish"),
        ("found = 1", "found"),
        ("for kept in (): ...", "kept"),
        ("class A:\n    said: str", "said"),
        ("class A:\n    def f(self):\n        self._taken = 1", "_taken"),
        ("class BackfillWish: ...", "BackfillWish"),
        ("class Desk: ...", "Desk"),
        ("import json as made", "made"),
    ],
)
def test_a_replaced_name_is_found(tmp_path: Path, source: str, name: str) -> None:
    [report] = replaced_names(one_tree(tmp_path, shared__a=source))

    assert report.startswith("shared.a:")
    assert report.endswith(f" defines {name}")


def test_a_name_may_be_replaced_in_one_package_only(tmp_path: Path) -> None:
    tree = one_tree(
        tmp_path, services__predictor__learners__fit="class Plan: ...", services__fetcher__plan="class Plan: ..."
    )

    assert replaced_names(tree) == ["services.predictor.learners.fit:1 defines Plan"]


def test_a_field_of_stored_json_keeps_its_name(tmp_path: Path) -> None:
    source = "class ArchiveReplayPlan:\n    wish: str\ndef f(wish): ..."

    assert replaced_names(one_tree(tmp_path, services__fetcher__archive__replay=source)) == [
        "services.fetcher.archive.replay:3 defines wish"
    ]


def test_a_name_that_contains_a_replaced_word_is_fine(tmp_path: Path) -> None:
    assert replaced_names(one_tree(tmp_path, shared__a="kept_plan = 1\ndef found_rows(taken_at): ...")) == []
