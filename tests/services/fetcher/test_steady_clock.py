"""A wall clock that jumps by a day, with and without answers of a server."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from services.fetcher.steady_clock import MAX_DISPUTE, UNWITNESSED, SteadyClock, steady
from shared.clock import SystemClock, VirtualClock
from tests.services.fetcher.synthetic_documents import NOON, SettableClock

DAY = timedelta(days=1)
MINUTE = timedelta(minutes=1)


class Machine:
    """A wall clock that can jump, the elapsed time, and the clock over both."""

    def __init__(self) -> None:
        self.wall = SettableClock()
        self.elapsed_s = 1000.0
        self.true_time = NOON
        self.clock = SteadyClock(self.wall, lambda: self.elapsed_s)

    def jump(self, by: timedelta) -> None:
        self.wall.at += by

    def run(self, duration: timedelta) -> None:
        self.wall.at += duration
        self.true_time += duration
        self.elapsed_s += duration.total_seconds()


@pytest.fixture
def machine() -> Machine:
    return Machine()


def test_without_a_jump_it_shows_the_wall_clock(machine: Machine) -> None:
    machine.run(DAY)
    machine.jump(timedelta(seconds=2))  # as NTP corrects it

    assert machine.clock.now() == machine.wall.now()


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_jump_is_not_followed_without_an_answer_that_agrees(machine: Machine, jump: timedelta) -> None:
    machine.jump(jump)
    before = machine.clock.now()
    machine.run(timedelta(hours=5))
    machine.clock.record_server_time(machine.true_time)

    assert (before, machine.clock.now()) == (NOON, machine.true_time)
    assert machine.clock.final_now() == machine.true_time


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_answers_that_contradict_a_jump_hold_it_off_without_limit(machine: Machine, jump: timedelta) -> None:
    machine.jump(jump)
    for _ in range(5):
        machine.run(timedelta(hours=20))
        machine.clock.now()
        machine.clock.record_server_time(machine.true_time)

    assert machine.clock.now() == machine.true_time


@pytest.mark.parametrize("jump", [DAY, -DAY])
def test_a_jump_that_corrects_a_wrong_clock_is_followed_at_the_next_answer(machine: Machine, jump: timedelta) -> None:
    machine.true_time += jump  # the clock was wrong at the start
    machine.jump(jump)
    machine.clock.now()

    machine.clock.record_server_time(machine.true_time)

    assert machine.clock.now() == machine.clock.final_now() == machine.true_time


def test_a_jump_without_any_answer_is_followed_after_a_day(machine: Machine) -> None:
    machine.jump(DAY)
    machine.clock.now()
    machine.run(UNWITNESSED - MINUTE)
    before = machine.clock.now()
    machine.run(MINUTE)

    assert (before, machine.clock.now()) == (machine.true_time - MINUTE, machine.wall.now())


def test_a_jump_back_to_the_true_time_is_followed_at_once(machine: Machine) -> None:
    machine.jump(DAY)
    machine.clock.now()
    machine.jump(-DAY)
    machine.run(MINUTE)

    assert machine.clock.now() == machine.wall.now() == machine.true_time


def test_no_day_is_over_before_it_is_over_for_the_server(machine: Machine) -> None:
    machine.clock.record_server_time(NOON - DAY)  # this machine was a day ahead when it started
    machine.run(MINUTE)

    assert machine.clock.final_now() == NOON - DAY + MINUTE
    assert machine.clock.now() == NOON + MINUTE


def test_a_server_that_is_wrong_by_much_or_ahead_is_not_believed(machine: Machine) -> None:
    for server_time in (NOON - MAX_DISPUTE - MINUTE, NOON + DAY):
        machine.clock.record_server_time(server_time)

        assert machine.clock.final_now() == NOON


def test_a_virtual_clock_stays_as_it_is() -> None:
    virtual = VirtualClock(NOON, 300, 0)

    assert steady(virtual) is virtual
    assert isinstance(steady(SystemClock()), SteadyClock)


@pytest.mark.parametrize("at", [datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)])
def test_a_server_at_the_end_of_the_calendar_is_not_believed(machine: Machine, at: datetime) -> None:
    machine.clock.record_server_time(at)
    machine.run(DAY)

    assert machine.clock.final_now() == machine.clock.now() == machine.true_time
