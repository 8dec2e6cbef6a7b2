"""Backfills record the outcome of each window. A window of two backfills is due once."""

from __future__ import annotations

from datetime import date

from services.fetcher.planning.backfills import Backfills
from services.fetcher.planning.windows import Window

ONE, TWO, THREE = (Window("cards", date(2031, 4, day)) for day in (1, 2, 3))


def test_done_windows_are_due_only_with_again() -> None:
    backfills = Backfills()
    backfills.add("once", [ONE, TWO], again=False, done={ONE})
    backfills.add("again", [ONE], again=True, done={ONE})

    assert backfills.counts() == {
        "once": {"due": 1, "done": 1, "failed": 0, "missing": 0},
        "again": {"due": 1, "done": 0, "failed": 0, "missing": 0},
    }


def test_a_window_of_two_backfills_is_due_once() -> None:
    backfills = Backfills()
    backfills.add("first", [ONE, TWO], again=False, done=())
    backfills.add("second", [TWO, THREE], again=False, done=())

    assert list(backfills.due_windows()) == [ONE, TWO, THREE]


def test_an_outcome_counts_in_every_backfill_that_has_the_window() -> None:
    backfills = Backfills()
    backfills.add("first", [ONE], again=False, done=())
    backfills.add("second", [ONE, TWO], again=False, done=())

    backfills.record_outcome(ONE, "missing")

    assert backfills.counts()["first"]["missing"] == backfills.counts()["second"]["missing"] == 1
    assert list(backfills.due_windows()) == [TWO]


def test_a_restart_forgets_outcomes_that_were_not_committed() -> None:
    backfills = Backfills()
    backfills.add("one", [ONE, TWO], again=False, done=())
    backfills.record_outcome(ONE, "done")
    backfills.record_outcome(TWO, "done")

    backfills.restart(done={TWO})

    assert list(backfills.due_windows()) == [ONE]


def test_adding_a_backfill_twice_changes_nothing_and_dropping_removes_it() -> None:
    backfills = Backfills()
    backfills.add("one", [ONE], again=False, done=())
    backfills.add("one", [TWO], again=False, done=())

    assert list(backfills.due_windows()) == [ONE]

    backfills.drop("one")

    assert backfills.counts() == {}
