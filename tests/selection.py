"""A pytest plugin: marks tests by what they need, so that one can choose, and can run files in another order."""

from __future__ import annotations

import random

import pytest


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle-files", type=int, metavar="SEED", help="run the files in a random order that depends on SEED only"
    )


def pytest_configure(config: pytest.Config) -> None:
    if _seed(config) is not None and hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # else pytest-xdist begins with the files that hold the most tests


@pytest.hookimpl(tryfirst=True)  # before pytest looks at -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _starts_kafka(item):
            item.add_marker(pytest.mark.kafka)
    if (seed := _seed(config)) is not None:
        _shuffle_files(items, random.Random(seed))


def _seed(config: pytest.Config) -> int | None:
    seed: int | None = config.getoption("--shuffle-files")
    return seed


def _starts_kafka(item: pytest.Item) -> bool:
    """It uses the fixture, or is the variant of a test that runs on several brokers."""
    return isinstance(item, pytest.Function) and (
        "kafka" in item.fixturenames or (hasattr(item, "callspec") and "kafka" in item.callspec.params.values())
    )


def _shuffle_files(items: list[pytest.Item], chance: random.Random) -> None:
    """In place. The tests of a file stay together and in their order: they share servers."""
    files = list(dict.fromkeys(item.path for item in items))
    chance.shuffle(files)
    rank = {path: place for place, path in enumerate(files)}
    items.sort(key=lambda item: rank[item.path])
