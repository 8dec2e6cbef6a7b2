"""Imports point downwards and form no cycle. Each rule is also tested with a violation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.tree import Tree, read_tree

PYPROJECT = """
[project]
dependencies = ["psycopg[binary]>=3.2,<4", "PyYAML>=6.0"]
[project.optional-dependencies]
fetcher = ["httpx2>=0.28"]
cleaner = []
predictor = ["torch==2.13.0"]
cli = ["typer>=0.15"]
simulator = ["numpy>=1.26,<3"]
"""


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read_tree(Path(__file__).parents[2])


def tree_of(root: Path, **sources: str) -> Tree:
    """A tree with these modules; a double underscore in a name is a dot (services__cleaner__clean)."""
    for name, source in sources.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""A module."""\n{source}\n')
    (root / "pyproject.toml").write_text(PYPROJECT)
    return read_tree(root)


def test_the_tree_contains_modules_and_their_imports(tree: Tree) -> None:
    assert {"shared.events", "shared.broker.contract", "services.cleaner.clean", "headrace.run.session"} <= tree.keys()
    assert "shared.events" in tree["services.cleaner.clean"].imports


def test_imports_never_point_upwards(tree: Tree) -> None:
    assert rules.upward_imports(tree) == []


def test_an_import_upwards_is_found(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        shared__events="import shared.broker.contract",
        shared__broker__contract="import shared.topics",
        shared__topics="",
    )

    assert rules.upward_imports(tree) == ["shared.events imports shared.broker.contract, which is above it"]


def test_a_module_without_a_layer_is_found(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, shared__surprise="")

    assert rules.upward_imports(tree) == ["shared.surprise has no layer; give it one in LAYERS of shape.py"]


def test_no_service_imports_another(tree: Tree) -> None:
    assert rules.services_importing_services(tree) == []


def test_a_service_that_imports_another_is_found(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, services__loader__rows="", services__cleaner__clean="from services.loader import rows")

    assert rules.services_importing_services(tree) == [
        "services.cleaner.clean imports services.loader.rows of another service"
    ]


def test_there_is_no_import_cycle(tree: Tree) -> None:
    assert rules.import_cycles(tree) == []


def test_an_import_cycle_is_found(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path, services__cleaner__a="import services.cleaner.b", services__cleaner__b="import services.cleaner.a"
    )

    assert len(rules.import_cycles(tree)) == 1


def test_folders_form_no_import_cycle(tree: Tree) -> None:
    assert rules.folder_cycles(tree) == []


def test_a_cycle_of_folders_is_found(tmp_path: Path) -> None:
    """No two modules import each other, but their folders do."""
    tree = tree_of(
        tmp_path,
        shared__ops__rules__a="import shared.ops.rows.b",
        shared__ops__rows__b="",
        shared__ops__rules__c="",
        shared__ops__rows__d="import shared.ops.rules.c",
    )

    assert rules.import_cycles(tree) == []
    assert [cycle.split(":")[0] for cycle in rules.folder_cycles(tree)] == ["shared.ops"]


def test_nothing_imports_the_command_or_the_simulator(tree: Tree) -> None:
    assert rules.imports_of_the_top(tree) == []


@pytest.mark.parametrize(
    ("sources", "violation"),
    [
        ({"headrace__a": "", "services__cleaner__a": "import headrace.a"}, "services.cleaner.a imports headrace.a"),
        ({"simulator__world": "", "shared__topics": "import simulator.world"}, "shared.topics imports simulator.world"),
        ({"simulator__world": "", "headrace__run": "import simulator.world"}, "headrace.run imports simulator.world"),
        ({"shared__events": "", "simulator__a": "import shared.events"}, "simulator.a imports shared.events"),
    ],
)
def test_an_import_of_the_command_or_the_simulator_is_found(
    tmp_path: Path, sources: dict[str, str], violation: str
) -> None:
    assert rules.imports_of_the_top(tree_of(tmp_path, **sources)) == [violation]


def test_the_simulator_may_import_the_clock(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, shared__clock="", simulator__serve="import shared.clock")

    assert rules.imports_of_the_top(tree) == []


def test_pure_modules_touch_nothing_outside(tree: Tree) -> None:
    assert rules.impure_modules(tree) == []


@pytest.mark.parametrize(
    ("source", "violation"),
    [
        ("import os", "services.cleaner.clean imports os"),
        ("from urllib.request import urlopen", "services.cleaner.clean imports urllib.request"),
        ("def f():\n    import threading", "services.cleaner.clean imports threading"),
        ("from datetime import datetime\nx = datetime.now()", "services.cleaner.clean:3 calls datetime.now"),
        ("print('here')", "services.cleaner.clean:2 calls print"),
        ("def f(c: DbConnection): ...", "services.cleaner.clean takes a DbConnection"),
    ],
)
def test_an_impure_module_is_found(tmp_path: Path, source: str, violation: str) -> None:
    assert rules.impure_modules(tree_of(tmp_path, services__cleaner__clean=source)) == [violation]


def test_a_pure_module_that_imports_an_impure_one_is_found(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path, services__loader__postgres_rows="", services__loader__rows="import services.loader.postgres_rows"
    )

    assert rules.impure_modules(tree) == ["services.loader.rows imports services.loader.postgres_rows, which does I/O"]


def test_a_clock_that_is_passed_in_may_be_read(tmp_path: Path) -> None:
    assert (
        rules.impure_modules(tree_of(tmp_path, services__cleaner__clean="def f(clock):\n    return clock.now()")) == []
    )


def test_a_module_in_a_place_for_io_may_do_io(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path, services__loader__kafka__reader="import socket", services__loader__kafkaesque="import socket"
    )

    assert rules.impure_modules(tree) == ["services.loader.kafkaesque imports socket"]


def test_every_listed_io_module_exists(tree: Tree) -> None:
    assert rules.unused_entries(tree) == []


def test_a_listed_module_that_does_not_exist_is_found(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, services__cleaner__clean="")

    unused = rules.unused_entries(tree, ("services.*.clean", "services.*.postgres_store"), {"clean", "storage"})

    assert unused == ["services.*.postgres_store", "storage"]


def test_a_program_imports_only_what_its_image_installs(tree: Tree, repository: Path) -> None:
    assert rules.uninstalled_imports(tree, repository / "pyproject.toml") == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("services__cleaner__clean", "import httpx2"),
        ("services__fetcher__rates", "import numpy"),
        ("shared__settings", "import httpx2"),
        ("headrace__run", "import numpy as np"),
        ("simulator__serve", "import typer"),
    ],
)
def test_an_import_that_no_image_installs_is_found(tmp_path: Path, name: str, source: str) -> None:
    tree = tree_of(tmp_path, **{name: source})

    assert len(rules.uninstalled_imports(tree, tmp_path / "pyproject.toml")) == 1


def test_base_dependencies_and_the_own_extra_may_be_imported(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, services__fetcher__http_source="import httpx2\nimport psycopg\nimport yaml\nimport os")

    assert rules.uninstalled_imports(tree, tmp_path / "pyproject.toml") == []


def test_a_module_with_an_additional_extra_may_import_it(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, headrace__backtest__run="import torch\nimport typer")

    assert rules.uninstalled_imports(tree, tmp_path / "pyproject.toml") == []


def test_an_extra_of_an_extra_counts(tmp_path: Path) -> None:
    tree = tree_of(tmp_path, headrace__backtest__run="import numpy")
    extras = PYPROJECT.replace('predictor = ["torch==2.13.0"]', 'predictor = ["headrace[cli,simulator]"]')
    (tmp_path / "pyproject.toml").write_text(extras)

    assert rules.uninstalled_imports(tree, tmp_path / "pyproject.toml") == []


def test_the_libraries_of_analysts_are_used_only_in_their_places(tree: Tree) -> None:
    assert rules.misplaced_analysis(tree) == []


def test_another_use_of_them_is_found(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        headrace__frames__typed="import pandas",
        headrace__frameset="import pandas",
        services__loader__rows="def f():\n    from pandas.api import types",
    )

    assert rules.misplaced_analysis(tree) == [
        "headrace.frameset imports pandas",
        "services.loader.rows imports pandas.api",
    ]


def test_modules_with_an_additional_extra_are_imported_on_demand(tree: Tree) -> None:
    assert rules.eager_imports(tree) == []


def test_a_module_level_import_of_such_a_module_is_found(tmp_path: Path) -> None:
    tree = tree_of(
        tmp_path,
        headrace__backtest__run="import torch",
        headrace__cli="from headrace.backtest.run import backtest",
        headrace__commands__backtest="def run() -> None:\n    from headrace.backtest.run import backtest",
    )

    assert rules.eager_imports(tree) == ["headrace.cli imports headrace.backtest.run at module level"]
