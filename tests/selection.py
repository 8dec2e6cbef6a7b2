"""A pytest plugin: marks tests that need Kafka, leaves out long tests, and orders the files."""

from __future__ import annotations

import random

import pytest

# The mark of tests that take minutes: they run only if `-m` names it, as `make test-long` does.
LONG = "long"


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--shuffle-files", type=int, metavar="SEED", help="run the files in a random order that depends on SEED only"
    )


def pytest_configure(config: pytest.Config) -> None:
    if hasattr(config.option, "loadscopereorder"):
        config.option.loadscopereorder = False  # else pytest-xdist begins with the files that have the most tests


@pytest.hookimpl(tryfirst=True)  # before pytest applies -m
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        if _starts_kafka(item):
            item.add_marker(pytest.mark.kafka)
    if LONG not in config.option.markexpr:
        _leave_out_long_tests(config, items)
    seed: int | None = config.getoption("--shuffle-files")
    if seed is None:
        _slow_files_first(items)
    else:
        _shuffle_files(items, random.Random(seed))


def _starts_kafka(item: pytest.Item) -> bool:
    """Whether the test uses the fixture `kafka`, or is the Kafka variant of a test that runs on several brokers."""
    return isinstance(item, pytest.Function) and (
        "kafka" in item.fixturenames or (hasattr(item, "callspec") and "kafka" in item.callspec.params.values())
    )


def _leave_out_long_tests(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Change both lists of pytest: the tests that it runs, and those that it counts as deselected."""
    long = [item for item in items if item.get_closest_marker(LONG)]
    if long:
        config.hook.pytest_deselected(items=long)
        items[:] = [item for item in items if item not in long]


def _slow_files_first(items: list[pytest.Item]) -> None:
    """Sort in position. A slow file that starts last would keep one worker busy when the others have finished."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def _shuffle_files(items: list[pytest.Item], rng: random.Random) -> None:
    """Shuffle in position. The tests of a file stay together and in their order, because they share servers."""
    files = list(dict.fromkeys(item.path for item in items))
    rng.shuffle(files)
    rank = {path: position for position, path in enumerate(files)}
    items.sort(key=lambda item: rank[item.path])
