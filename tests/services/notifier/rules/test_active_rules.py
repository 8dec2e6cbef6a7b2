"""The current rules follow their file; an invalid file changes nothing."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import get_args

import pytest

from services.notifier.kinds import EventKind, PipelineKind
from services.notifier.rules.active_rules import ActiveRules
from services.notifier.rules.rule_book import RuleBook
from shared.errors import ConfigError
from tests.waiting import DEADLINE_S, wait_until

AT = datetime(2026, 1, 31, tzinfo=UTC)
ONE, TWO, INVALID = (
    "rules:\n  one: {finding: tip}\n",
    "rules:\n  two: {finding: daily}\n",
    "rules:\n  3: {finding: x}\n",
)


class Loads:
    """Counts loads; a clock that advances by a second with each look."""

    def __init__(self) -> None:
        self.books: list[RuleBook | None] = []
        self._seconds = 0

    def now(self) -> datetime:
        self._seconds += 1
        return AT + timedelta(seconds=self._seconds)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "rules.yaml"
    file.write_text(ONE)
    return file


def names(rules: ActiveRules) -> list[str]:
    return [rule.name for rule in rules.book().rules]


def active(file: Path | None, loads: Loads) -> ActiveRules:
    return ActiveRules(file, loads.now, {"tip": 0.6}, loads.books.append, interval_s=0.01)


def test_a_changed_file_is_loaded(file: Path) -> None:
    loads = Loads()
    rules = active(file, loads)
    first = rules.status()
    assert names(rules) == ["one"]
    assert rules.book().rules[0].threshold == 0.6

    rules.refresh()
    file.write_text(TWO)
    rules.refresh()
    rules.refresh()

    assert names(rules) == ["two"]
    assert loads.books == [loads.books[0], rules.book()]
    assert (rules.status().digest != first.digest, rules.status().loaded_at > first.loaded_at) == (True, True)


@pytest.mark.parametrize("is_removed", [False, True])
def test_the_rules_before_stay_in_use_while_the_file_is_invalid(file: Path, is_removed: bool) -> None:
    loads = Loads()
    rules = active(file, loads)
    loaded = rules.status()

    if is_removed:
        file.unlink()
    else:
        file.write_text(INVALID)
    rules.refresh()
    rules.refresh()

    assert names(rules) == ["one"]
    assert loads.books[1:] == [None]  # reported once, although the file is read again and again
    status = rules.status()
    assert (status.digest, status.loaded_at) == (loaded.digest, loaded.loaded_at)
    assert status.error is not None
    assert ("cannot read" if is_removed else "rules.yaml:2: rules.3") in status.error
    assert status.failed_at is not None


def test_a_file_that_is_corrected_is_in_use_again(file: Path) -> None:
    loads = Loads()
    rules = active(file, loads)
    file.write_text(INVALID)
    rules.refresh()
    file.write_text(ONE)

    rules.refresh()

    assert rules.status().error is None
    assert len(loads.books) == 3


def test_a_reload_reports_an_invalid_file(file: Path) -> None:
    rules = active(file, Loads())
    file.write_text(INVALID)

    with pytest.raises(ConfigError, match=r"rules.yaml:2: rules.3: expected a name"):
        rules.reload()

    file.write_text(TWO)
    rules.reload()
    assert names(rules) == ["two"]


def test_a_process_does_not_start_with_an_invalid_file(file: Path) -> None:
    file.write_text(INVALID)

    with pytest.raises(ConfigError):
        active(file, Loads())


def test_the_shipped_rules_are_in_use_without_a_file() -> None:
    rules = active(None, Loads())
    rules.refresh()

    assert names(rules) == [*get_args(EventKind), *get_args(PipelineKind)]
    assert rules.status().file is None


def test_a_thread_follows_the_file(file: Path) -> None:
    rules, stop = active(file, Loads()), threading.Event()
    thread = threading.Thread(target=rules.run, args=(stop,))
    thread.start()
    try:
        file.write_text(TWO)
        wait_until(lambda: names(rules) == ["two"])
    finally:
        stop.set()
        thread.join(DEADLINE_S)
    assert not thread.is_alive()
