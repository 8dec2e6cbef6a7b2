"""Small rules for a readable tree. Each rule is also tested with a violation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.tree import Tree, read_tree


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read_tree(Path(__file__).parents[2])


def one_module(root: Path, path: str, source: str) -> Tree:
    (root / path).parent.mkdir(parents=True)
    (root / path).write_text(source)
    return read_tree(root)


def test_no_init_contains_code(tree: Tree) -> None:
    assert rules.code_in_init(tree) == []


def test_code_in_an_init_is_found(tmp_path: Path) -> None:
    tree = one_module(tmp_path, "shared/__init__.py", '"""Fine."""\nVERSION = 1\n')

    assert rules.code_in_init(tree) == ["__init__.py of shared contains code"]


def test_a_public_package_may_name_what_it_offers(tmp_path: Path) -> None:
    source = '"""Fine."""\nfrom headrace.frames.client import connect\n__all__ = ["connect"]\n'
    tree = one_module(tmp_path, "headrace/frames/__init__.py", source)

    assert rules.code_in_init(tree, public=["headrace.frames"]) == []
    assert rules.code_in_init(tree, public=[]) == ["__init__.py of headrace.frames contains code"]


def test_a_public_package_may_contain_nothing_else(tmp_path: Path) -> None:
    tree = one_module(tmp_path, "headrace/frames/__init__.py", "connect()\n")

    assert rules.code_in_init(tree, public=["headrace.frames"]) == ["__init__.py of headrace.frames contains code"]


def test_imports_are_absolute(tree: Tree) -> None:
    assert rules.relative_imports(tree) == []


def test_a_relative_import_is_found(tmp_path: Path) -> None:
    tree = one_module(tmp_path, "services/cleaner/clean.py", "from .rules import card_key\n")

    assert rules.relative_imports(tree) == ["services.cleaner.clean imports .rules relatively"]


def test_every_module_has_a_meaningful_name(tree: Tree) -> None:
    assert rules.meaningless_names(tree) == []


@pytest.mark.parametrize("name", ["utils", "helpers", "common", "date_utils"])
def test_a_meaningless_name_is_found(tmp_path: Path, name: str) -> None:
    assert rules.meaningless_names(one_module(tmp_path, f"shared/{name}.py", "")) == [f"shared.{name}"]


def test_every_module_has_a_docstring(tree: Tree) -> None:
    assert rules.modules_without_docstring(tree) == []


def test_a_module_without_docstring_is_found(tmp_path: Path) -> None:
    assert rules.modules_without_docstring(one_module(tmp_path, "shared/topics.py", "RAW = 1\n")) == ["shared.topics"]


def test_no_function_is_too_long(tree: Tree) -> None:
    assert rules.long_functions(tree) == []


def test_a_function_that_is_too_long_is_found(tmp_path: Path) -> None:
    tree = one_module(tmp_path, "shared/topics.py", "def f():\n" + "    x = 1\n" * 50)

    assert rules.long_functions(tree) == ["shared.topics: f has 51 lines, at most 50 are allowed"]
