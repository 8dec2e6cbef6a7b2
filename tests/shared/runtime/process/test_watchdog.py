"""The background tasks that do not move are named."""

from __future__ import annotations

import threading

from shared.runtime.process.watchdog import BackgroundWatch, part_of
from tests.waiting import DEADLINE_S, wait_until


class GivenClock:
    now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


def watch_at(clock: GivenClock) -> BackgroundWatch:
    return BackgroundWatch(still_s=60, clock=clock)


def test_a_task_that_neither_waits_nor_asks_is_named() -> None:
    clock = GivenClock()
    watch = watch_at(clock)
    still, moving = watch.stop_of("exports", threading.Event()), watch.stop_of("alerts", threading.Event())

    clock.now_s += 61
    assert not moving.is_set()
    assert watch.problem() == "the background task exports has not moved for 61 s"

    assert not still.wait(0)
    assert watch.problem() == ""


def test_a_task_may_wait_for_long() -> None:
    clock, stopping = GivenClock(), threading.Event()
    watch = watch_at(clock)
    stop = watch.stop_of("retention", stopping)
    thread = threading.Thread(target=stop.wait)
    thread.start()
    wait_until(lambda: stop.still_s(clock.now_s + 1) == 0)

    clock.now_s += 3600
    assert watch.problem() == ""
    stopping.set()
    thread.join(DEADLINE_S)
    assert stop.is_set()


def test_each_thread_of_a_task_is_watched() -> None:
    clock, stopping = GivenClock(), threading.Event()
    watch = watch_at(clock)
    whole = watch.stop_of("Sender.run", stopping)
    webhook, console = (part_of(whole, f"sender {name}") for name in ("webhook", "console"))

    clock.now_s += 61
    assert not console.is_set()
    assert watch.problem() == "the background task sender webhook has not moved for 61 s"

    webhook.set()
    assert stopping.is_set()


def test_without_a_watch_a_part_has_the_same_stop() -> None:
    stop = threading.Event()
    assert part_of(stop, "sender webhook") is stop
