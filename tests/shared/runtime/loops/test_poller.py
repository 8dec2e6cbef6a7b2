"""The poller loop on a real log: steps and cursors are one, and one replica works at a time."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import TransientError
from shared.ops.orders import DesiredState, Order, Orders
from shared.runtime.control.mailbox import ORDERS_FRESH_S, ControlMailbox
from shared.runtime.loops.handler import SourceStep
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, FETCHER_CURSORS, RAW
from tests.shared.runtime.stage import LEASE_S, append, broker_on, contents, raw, running
from tests.waiting import DEADLINE_S, wait_until


class Counting:
    """A source of numbers: the cursor is the next one. `before` is called before each step, and may raise."""

    def __init__(self, last: int, before: Callable[[int], None] = lambda number: None) -> None:
        self.loads: list[int] = []
        self._last = last
        self._before = before
        self._next = -1

    def load(self, cursors: Mapping[str, bytes]) -> None:
        self._next = int(cursors.get("next", b"0"))
        self.loads.append(self._next)

    def next(self, timeout_s: float) -> SourceStep | None:
        if self._next >= self._last:
            time.sleep(0.01)
            return None
        self._before(self._next)
        number = self._next
        self._next += 1
        return SourceStep([raw(number)], {"next": str(number + 1).encode()})


def loop_of(
    broker: PostgresBroker, source: Counting, slot: str = "0", steering: ControlMailbox | None = None
) -> PollerLoop:
    return PollerLoop(
        broker,
        service="fetcher",
        slot=slot,
        cursors=FETCHER_CURSORS,
        source=source,
        metrics=Metrics(),
        writes=RAW,
        mailbox=steering,
    )


def give(steering: ControlMailbox, desired: DesiredState, seq: int) -> None:
    """Fresh for as long as a test may take: a loop on a slow machine begins late."""
    steering.set_orders(Orders({RAW: Order(RAW, desired, seq)}), time.monotonic() + DEADLINE_S)


def obeyed(steering: ControlMailbox) -> tuple[int, dict[int, str]] | None:
    """Up to which order, and what is done with which partition."""
    standing = steering.status()
    if standing is None:
        return None
    return standing.seq, {tp.partition: doing.state for tp, doing in standing.partitions.items()}


def raws(broker: PostgresBroker) -> list[NewRecord]:
    return [NewRecord(RAW, record.key, record.value, record.headers) for record in contents(broker, RAW)]


def test_steps_and_cursors_are_appended_and_a_second_run_continues_from_them(broker: PostgresBroker) -> None:
    for last, loaded in ((5, 0), (8, 5)):
        source = Counting(last)
        with running(loop_of(broker, source)):
            wait_until(lambda last=last: broker.cursors(FETCHER_CURSORS) == {"next": str(last).encode()})  # type: ignore[misc]
        assert source.loads == [loaded]

    assert raws(broker) == [raw(number) for number in range(8)]


def test_after_a_failed_unit_the_source_starts_again_from_the_committed_cursors(broker: PostgresBroker) -> None:
    def fence(number: int) -> None:
        if number == 3 and len(source.loads) == 1:
            broker.producer("fetcher/" + FETCHER_CURSORS).close()  # another one: our units are fenced from now on

    source = Counting(6, fence)
    with running(loop_of(broker, source)):
        wait_until(lambda: broker.cursors(FETCHER_CURSORS) == {"next": b"6"})

    assert source.loads == [0, 3]
    assert raws(broker) == [raw(number) for number in range(6)]


def test_an_unavailable_source_is_retried(broker: PostgresBroker) -> None:
    def away(number: int) -> None:
        if number == 2 and len(source.loads) < 3:
            raise TransientError("the source is away")

    source = Counting(4, away)
    with running(loop_of(broker, source)):
        wait_until(lambda: broker.cursors(FETCHER_CURSORS) == {"next": b"4"})

    assert source.loads == [0, 2, 2]
    assert raws(broker) == [raw(number) for number in range(4)]


def test_of_two_replicas_one_stands_by_and_takes_over_when_the_other_ends(broker: PostgresBroker, url: str) -> None:
    other = broker_on(url)
    first, second = Counting(3), Counting(6)
    first_loop, second_loop = loop_of(broker, first, "0"), loop_of(other, second, "1")
    with running(first_loop) as run:
        wait_until(lambda: broker.cursors(FETCHER_CURSORS) == {"next": b"3"})
        with running(second_loop):
            wait_until(lambda: second_loop.state == "standing by")
            assert second.loads == []
            first_loop.stop()
            run.join()
            wait_until(lambda: other.cursors(FETCHER_CURSORS) == {"next": b"6"})
    other.close()

    assert second.loads == [3]
    assert raws(broker) == [raw(number) for number in range(6)]


def test_a_replica_that_crashes_is_replaced_at_once(broker: PostgresBroker, url: str) -> None:
    def bug(number: int) -> None:
        if number == 2:
            raise RuntimeError("a bug")

    other = broker_on(url)
    second_loop = loop_of(other, Counting(4), "1")
    with running(loop_of(broker, Counting(4, bug), "0")) as run:
        run.join()
        assert isinstance(run.died_of, RuntimeError)
        with running(second_loop):
            wait_until(lambda: second_loop.state == "running", deadline_s=LEASE_S / 2)
            wait_until(lambda: other.cursors(FETCHER_CURSORS) == {"next": b"4"})
    other.close()


def test_as_background_work_it_runs_until_the_event_is_set(broker: PostgresBroker) -> None:
    loop, stop = loop_of(broker, Counting(3)), threading.Event()
    thread = threading.Thread(target=loop.run_until, args=(stop,))
    thread.start()
    wait_until(lambda: broker.cursors(FETCHER_CURSORS) == {"next": b"3"})

    stop.set()
    thread.join(DEADLINE_S)

    assert not thread.is_alive()
    assert loop.state == "stopped"


def test_the_records_of_the_cursor_topic_are_not_read_repeatedly(broker: PostgresBroker) -> None:
    append(broker, [NewRecord(CLEAN, b"k", b"v", {}) for _ in range(50)])
    loop = PollerLoop(
        broker, service="fetcher", slot="0", cursors=CLEAN, source=Counting(20), metrics=Metrics()
    )  # its records are passed over as those of a compacted topic are
    with running(loop):
        wait_until(lambda: broker.cursors(CLEAN) == {"next": b"20"})
        assert loop._consumer is not None
        assert sum(loop._consumer.position(tp) for tp in loop._consumer.assignment()) <= 1


def test_stop_ends_an_idle_poller_promptly(broker: PostgresBroker) -> None:
    append(broker, [raw(0)])
    loop = loop_of(broker, Counting(0))
    with running(loop) as run:
        wait_until(lambda: loop.state == "running")
        loop.stop()
        run.join()

    assert (run.died_of, loop.state) == (None, "stopped")


def test_a_paused_poller_does_not_call_its_source_and_continues_where_it_was(broker: PostgresBroker) -> None:
    steering = ControlMailbox()
    source = Counting(100_000, lambda number: give(steering, "paused", 2) if number == 3 else None)
    give(steering, "running", 1)
    loop = loop_of(broker, source, steering=steering)

    with running(loop):
        wait_until(lambda: obeyed(steering) == (2, {0: "paused"}))
        reached = broker.cursors(FETCHER_CURSORS)
        assert (loop.state, reached, len(raws(broker))) == ("paused", {"next": b"4"}, 4)
        ticked_at = loop.ticked_at
        wait_until(lambda: loop.ticked_at > ticked_at)  # it polls on
        assert broker.cursors(FETCHER_CURSORS) == reached

        give(steering, "running", 3)
        wait_until(lambda: obeyed(steering) == (3, {0: "running"}))
        wait_until(lambda: len(raws(broker)) > 4)

    assert source.loads == [0]


def test_a_poller_without_orders_or_in_a_pause_does_not_start(
    broker: PostgresBroker, url: str
) -> None:
    other, steering, standby = broker_on(url), ControlMailbox(), ControlMailbox()
    source = Counting(5)
    loop, second = loop_of(broker, source, "0", steering), loop_of(other, Counting(5), "1", standby)
    with running(loop):
        wait_until(lambda: (loop.state, loop.assigned) == ("waiting for orders", 1))
        assert steering.status() is None
        give(steering, "paused", 7)
        give(standby, "paused", 7)
        with running(second):
            wait_until(lambda: obeyed(steering) == (7, {0: "paused"}))
            wait_until(lambda: obeyed(standby) == (7, {}))  # it owns nothing, and obeys too
        assert (source.loads, raws(broker)) == ([], [])

        give(steering, "running", 8)
        wait_until(lambda: len(raws(broker)) == 5)
    other.close()


def test_a_poller_does_not_start_under_stale_orders(broker: PostgresBroker) -> None:
    steering, source = ControlMailbox(), Counting(5)
    steering.set_orders(Orders(), time.monotonic() - ORDERS_FRESH_S)

    with running(loop_of(broker, source, steering=steering)) as run:
        wait_until(lambda: run.loop.state == "waiting for orders")
        assert source.loads == []
        steering.set_orders(Orders(), time.monotonic() + DEADLINE_S)
        wait_until(lambda: len(raws(broker)) == 5)
