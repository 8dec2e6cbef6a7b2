"""The import graph points downwards and never in a circle; every rule fails on a planted violation."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.architecture import rules
from tests.architecture.tree import Tree, read_tree

PYPROJECT = """
[project]
dependencies = ["psycopg[binary]>=3.2,<4", "PyYAML>=6.0"]
[project.optional-dependencies]
fetcher = ["httpx>=0.28"]
cleaner = []
predictor = ["torch==2.13.0"]
cli = ["typer>=0.15"]
simulator = ["numpy>=1.26,<3"]
"""


@pytest.fixture(scope="module")
def tree() -> Tree:
    return read_tree(Path(__file__).parents[2])


def planted(root: Path, **sources: str) -> Tree:
    """A tree with these modules; a double underscore in a name is a dot (services__cleaner__clean)."""
    for name, source in sources.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f'"""A module."""\n{source}\n')
    (root / "pyproject.toml").write_text(PYPROJECT)
    return read_tree(root)


def test_the_tree_is_seen(tree: Tree) -> None:
    assert {"shared.events", "shared.broker.contract", "services.cleaner.clean", "headrace.run.session"} <= tree.keys()
    assert "shared.events" in tree["services.cleaner.clean"].imports


def test_imports_never_point_upwards(tree: Tree) -> None:
    assert rules.pointing_upwards(tree) == []


def test_an_import_upwards_is_found(tmp_path: Path) -> None:
    tree = planted(
        tmp_path,
        shared__events="import shared.broker.contract",
        shared__broker__contract="import shared.topics",
        shared__topics="",
    )

    assert rules.pointing_upwards(tree) == ["shared.events imports shared.broker.contract, which is above it"]


def test_a_module_without_a_layer_is_found(tmp_path: Path) -> None:
    tree = planted(tmp_path, shared__surprise="")

    assert rules.pointing_upwards(tree) == ["shared.surprise has no layer; give it one in LAYERS of shape.py"]


def test_no_service_imports_another(tree: Tree) -> None:
    assert rules.services_importing_services(tree) == []


def test_a_service_that_imports_another_is_found(tmp_path: Path) -> None:
    tree = planted(tmp_path, services__loader__rows="", services__cleaner__clean="from services.loader import rows")

    assert rules.services_importing_services(tree) == [
        "services.cleaner.clean imports services.loader.rows of another service"
    ]


def test_there_is_no_circle(tree: Tree) -> None:
    assert rules.circles(tree) == []


def test_a_circle_is_found(tmp_path: Path) -> None:
    tree = planted(
        tmp_path, services__cleaner__a="import services.cleaner.b", services__cleaner__b="import services.cleaner.a"
    )

    assert len(rules.circles(tree)) == 1


def test_folders_do_not_import_each_other_in_a_circle(tree: Tree) -> None:
    assert rules.circles_of_folders(tree) == []


def test_a_circle_of_folders_is_found(tmp_path: Path) -> None:
    """No two modules import each other, but their folders do."""
    tree = planted(
        tmp_path,
        shared__ops__rules__a="import shared.ops.rows.b",
        shared__ops__rows__b="",
        shared__ops__rules__c="",
        shared__ops__rows__d="import shared.ops.rules.c",
    )

    assert rules.circles(tree) == []
    assert [found.split(":")[0] for found in rules.circles_of_folders(tree)] == ["shared.ops"]


def test_command_and_simulator_stand_on_top(tree: Tree) -> None:
    assert rules.imports_of_the_top(tree) == []


@pytest.mark.parametrize(
    ("sources", "found"),
    [
        ({"headrace__a": "", "services__cleaner__a": "import headrace.a"}, "services.cleaner.a imports headrace.a"),
        ({"simulator__world": "", "shared__topics": "import simulator.world"}, "shared.topics imports simulator.world"),
        ({"simulator__world": "", "headrace__run": "import simulator.world"}, "headrace.run imports simulator.world"),
        ({"shared__events": "", "simulator__a": "import shared.events"}, "simulator.a imports shared.events"),
    ],
)
def test_an_import_of_the_top_is_found(tmp_path: Path, sources: dict[str, str], found: str) -> None:
    assert rules.imports_of_the_top(planted(tmp_path, **sources)) == [found]


def test_the_simulator_may_share_the_clock(tmp_path: Path) -> None:
    tree = planted(tmp_path, shared__clock="", simulator__serve="import shared.clock")

    assert rules.imports_of_the_top(tree) == []


def test_pure_modules_touch_nothing_outside(tree: Tree) -> None:
    assert rules.impure(tree) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("import os", "services.cleaner.clean imports os"),
        ("from urllib.request import urlopen", "services.cleaner.clean imports urllib.request"),
        ("def f():\n    import threading", "services.cleaner.clean imports threading"),
        ("from datetime import datetime\nx = datetime.now()", "services.cleaner.clean:3 calls datetime.now"),
        ("print('here')", "services.cleaner.clean:2 calls print"),
        ("def f(c: DbConnection): ...", "services.cleaner.clean takes a DbConnection"),
    ],
)
def test_an_impure_module_is_found(tmp_path: Path, source: str, found: str) -> None:
    assert rules.impure(planted(tmp_path, services__cleaner__clean=source)) == [found]


def test_a_pure_module_that_leans_on_an_impure_one_is_found(tmp_path: Path) -> None:
    tree = planted(
        tmp_path, services__loader__postgres_rows="", services__loader__rows="import services.loader.postgres_rows"
    )

    assert rules.impure(tree) == [
        "services.loader.rows imports services.loader.postgres_rows, which touches the outside"
    ]


def test_a_clock_that_was_passed_in_may_be_read(tmp_path: Path) -> None:
    assert rules.impure(planted(tmp_path, services__cleaner__clean="def f(clock):\n    return clock.now()")) == []


def test_a_module_in_a_place_for_io_may_touch_the_outside(tmp_path: Path) -> None:
    tree = planted(
        tmp_path, services__loader__kafka__reader="import socket", services__loader__kafkaesque="import socket"
    )

    assert rules.impure(tree) == ["services.loader.kafkaesque imports socket"]


def test_every_listed_outside_module_exists(tree: Tree) -> None:
    assert rules.unused_entries(tree) == []


def test_a_listed_module_that_is_gone_is_found(tmp_path: Path) -> None:
    tree = planted(tmp_path, services__cleaner__clean="")

    found = rules.unused_entries(tree, ("services.*.clean", "services.*.postgres_store"), {"clean", "storage"})

    assert found == ["services.*.postgres_store", "storage"]


def test_a_part_imports_only_what_its_image_installs(tree: Tree, repository: Path) -> None:
    assert rules.not_carried(tree, repository / "pyproject.toml") == []


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("services__cleaner__clean", "import httpx"),
        ("services__fetcher__rates", "import numpy"),
        ("shared__settings", "import httpx"),
        ("headrace__run", "import numpy as np"),
        ("simulator__serve", "import typer"),
    ],
)
def test_an_import_that_no_image_installs_is_found(tmp_path: Path, name: str, source: str) -> None:
    tree = planted(tmp_path, **{name: source})

    assert len(rules.not_carried(tree, tmp_path / "pyproject.toml")) == 1


def test_base_and_own_extra_may_be_imported(tmp_path: Path) -> None:
    tree = planted(tmp_path, services__fetcher__http_source="import httpx\nimport psycopg\nimport yaml\nimport os")

    assert rules.not_carried(tree, tmp_path / "pyproject.toml") == []


def test_a_part_that_wants_another_extra_may_import_it(tmp_path: Path) -> None:
    tree = planted(tmp_path, headrace__backtest__run="import torch\nimport typer")

    assert rules.not_carried(tree, tmp_path / "pyproject.toml") == []


def test_what_wants_another_extra_is_imported_when_it_is_asked_for(tree: Tree) -> None:
    assert rules.eager(tree) == []


def test_an_import_of_it_at_the_top_is_found(tmp_path: Path) -> None:
    tree = planted(
        tmp_path,
        headrace__backtest__run="import torch",
        headrace__cli="from headrace.backtest.run import backtest",
        headrace__commands__backtest="def run() -> None:\n    from headrace.backtest.run import backtest",
    )

    assert rules.eager(tree) == ["headrace.cli imports headrace.backtest.run when it is imported itself"]
