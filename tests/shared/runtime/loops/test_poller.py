"""The poller loop on a real log: records and cursors commit together, and one replica is active at a time."""

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
from tests.shared.runtime.loop_harness import LEASE_S, append, contents, open_broker, raw, run_in_thread
from tests.waiting import DEADLINE_S, wait_until


class NumberSource:
    """A source of numbers; the cursor is the next number. `before` is called before each step and may raise."""

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
    broker: PostgresBroker, source: NumberSource, slot: str = "0", mailbox: ControlMailbox | None = None
) -> PollerLoop:
    return PollerLoop(
        broker,
        service="fetcher",
        slot=slot,
        cursors=FETCHER_CURSORS,
        source=source,
        metrics=Metrics(),
        writes=RAW,
        mailbox=mailbox,
    )


def set_order(mailbox: ControlMailbox, desired: DesiredState, seq: int) -> None:
    """The order stays fresh during the test, because a loop on a slow machine starts late."""
    mailbox.set_orders(Orders({RAW: Order(RAW, desired, seq)}), time.monotonic() + DEADLINE_S)


def obeyed(mailbox: ControlMailbox) -> tuple[int, dict[int, str]] | None:
    """The number of the obeyed order, and the state of each partition."""
    status = mailbox.status()
    if status is None:
        return None
    return status.seq, {tp.partition: each.state for tp, each in status.partitions.items()}


def raw_records(broker: PostgresBroker) -> list[NewRecord]:
    return [NewRecord(RAW, record.key, record.value, record.headers) for record in contents(broker, RAW)]


def test_steps_and_cursors_are_appended_and_a_second_run_continues_from_them(broker: PostgresBroker) -> None:
    for last, loaded in ((5, 0), (8, 5)):
        source = NumberSource(last)
        with run_in_thread(loop_of(broker, source)):
            wait_until(lambda last=last: broker.cursors(FETCHER_CURSORS) == {"next": str(last).encode()})  # type: ignore[misc]
        assert source.loads == [loaded]

    assert raw_records(broker) == [raw(number) for number in range(8)]


def test_after_a_failed_unit_the_source_starts_again_from_the_committed_cursors(broker: PostgresBroker) -> None:
    def fence(number: int) -> None:
        if number == 3 and len(source.loads) == 1:
            broker.producer("fetcher/" + FETCHER_CURSORS).close()  # fences the producer of the loop

    source = NumberSource(6, fence)
    with run_in_thread(loop_of(broker, source)):
        wait_until(lambda: broker.cursors(FETCHER_CURSORS) == {"next": b"6"})

    assert source.loads == [0, 3]
    assert raw_records(broker) == [raw(number) for number in range(6)]


def test_an_unavailable_source_is_retried(broker: PostgresBroker) -> None:
    def fail(number: int) -> None:
        if number == 2 and len(source.loads) < 3:
            raise TransientError("the source is unavailable")

    source = NumberSource(4, fail)
    with run_in_thread(loop_of(broker, source)):
        wait_until(lambda: broker.cursors(FETCHER_CURSORS) == {"next": b"4"})

    assert source.loads == [0, 2, 2]
    assert raw_records(broker) == [raw(number) for number in range(4)]


def test_of_two_replicas_one_stands_by_and_takes_over_when_the_other_ends(broker: PostgresBroker, url: str) -> None:
    other = open_broker(url)
    first, second = NumberSource(3), NumberSource(6)
    first_loop, second_loop = loop_of(broker, first, "0"), loop_of(other, second, "1")
    with run_in_thread(first_loop) as thread:
        wait_until(lambda: broker.cursors(FETCHER_CURSORS) == {"next": b"3"})
        with run_in_thread(second_loop):
            wait_until(lambda: second_loop.state == "standing by")
            assert second.loads == []
            first_loop.stop()
            thread.join()
            wait_until(lambda: other.cursors(FETCHER_CURSORS) == {"next": b"6"})
    other.close()

    assert second.loads == [3]
    assert raw_records(broker) == [raw(number) for number in range(6)]


def test_a_replica_that_crashes_is_replaced_at_once(broker: PostgresBroker, url: str) -> None:
    def crash(number: int) -> None:
        if number == 2:
            raise RuntimeError("a bug")

    other = open_broker(url)
    second_loop = loop_of(other, NumberSource(4), "1")
    with run_in_thread(loop_of(broker, NumberSource(4, crash), "0")) as thread:
        thread.join()
        assert isinstance(thread.error, RuntimeError)
        with run_in_thread(second_loop):
            wait_until(lambda: second_loop.state == "running", deadline_s=LEASE_S / 2)
            wait_until(lambda: other.cursors(FETCHER_CURSORS) == {"next": b"4"})
    other.close()


def test_as_background_work_it_runs_until_the_event_is_set(broker: PostgresBroker) -> None:
    loop, stop = loop_of(broker, NumberSource(3)), threading.Event()
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
        broker, service="fetcher", slot="0", cursors=CLEAN, source=NumberSource(20), metrics=Metrics()
    )  # its records are skipped like those of a compacted topic
    with run_in_thread(loop):
        wait_until(lambda: broker.cursors(CLEAN) == {"next": b"20"})
        assert loop._consumer is not None
        assert sum(loop._consumer.position(tp) for tp in loop._consumer.assignment()) <= 1


def test_stop_ends_an_idle_poller_promptly(broker: PostgresBroker) -> None:
    append(broker, [raw(0)])
    loop = loop_of(broker, NumberSource(0))
    with run_in_thread(loop) as thread:
        wait_until(lambda: loop.state == "running")
        loop.stop()
        thread.join()

    assert (thread.error, loop.state) == (None, "stopped")


def test_a_paused_poller_does_not_call_its_source_and_continues_where_it_was(broker: PostgresBroker) -> None:
    mailbox = ControlMailbox()
    source = NumberSource(100_000, lambda number: set_order(mailbox, "paused", 2) if number == 3 else None)
    set_order(mailbox, "running", 1)
    loop = loop_of(broker, source, mailbox=mailbox)

    with run_in_thread(loop):
        wait_until(lambda: obeyed(mailbox) == (2, {0: "paused"}))
        cursors = broker.cursors(FETCHER_CURSORS)
        assert (loop.state, cursors, len(raw_records(broker))) == ("paused", {"next": b"4"}, 4)
        ticked_at = loop.ticked_at
        wait_until(lambda: loop.ticked_at > ticked_at)  # it continues to poll
        assert broker.cursors(FETCHER_CURSORS) == cursors

        set_order(mailbox, "running", 3)
        wait_until(lambda: obeyed(mailbox) == (3, {0: "running"}))
        wait_until(lambda: len(raw_records(broker)) > 4)

    assert source.loads == [0]


def test_a_poller_without_orders_or_in_a_pause_does_not_start(broker: PostgresBroker, url: str) -> None:
    other, mailbox, standby = open_broker(url), ControlMailbox(), ControlMailbox()
    source = NumberSource(5)
    loop, second = loop_of(broker, source, "0", mailbox), loop_of(other, NumberSource(5), "1", standby)
    with run_in_thread(loop):
        wait_until(lambda: (loop.state, loop.assigned) == ("waiting for orders", 1))
        assert mailbox.status() is None
        set_order(mailbox, "paused", 7)
        set_order(standby, "paused", 7)
        with run_in_thread(second):
            wait_until(lambda: obeyed(mailbox) == (7, {0: "paused"}))
            wait_until(lambda: obeyed(standby) == (7, {}))  # it owns no partition and obeys too
        assert (source.loads, raw_records(broker)) == ([], [])

        set_order(mailbox, "running", 8)
        wait_until(lambda: len(raw_records(broker)) == 5)
    other.close()


def test_a_poller_does_not_start_under_stale_orders(broker: PostgresBroker) -> None:
    mailbox, source = ControlMailbox(), NumberSource(5)
    mailbox.set_orders(Orders(), time.monotonic() - ORDERS_FRESH_S)

    with run_in_thread(loop_of(broker, source, mailbox=mailbox)) as thread:
        wait_until(lambda: thread.loop.state == "waiting for orders")
        assert source.loads == []
        mailbox.set_orders(Orders(), time.monotonic() + DEADLINE_S)
        wait_until(lambda: len(raw_records(broker)) == 5)
