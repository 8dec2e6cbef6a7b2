"""The consumer loop as a member of its group: joining, backing off, stopping."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from shared.backoff import Backoff
from shared.broker.contract import Broker, NewRecord, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import TransientError
from shared.records import DecodedRecord
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.topics import RAW
from tests.shared.runtime.loop_harness import LEASE_S, append, committed_count, open_broker, raw, run_in_thread
from tests.shared.runtime.loops.consumer_loops import KEYS, broker_has_member, copy, loop_of
from tests.waiting import DEADLINE_S, wait_until

# The first delay is longer than every deadline.
ENDLESS_BACKOFF = Backoff(first_s=10 * DEADLINE_S)


def test_a_member_that_backs_off_stays_in_its_group(broker: PostgresBroker, url: str) -> None:
    append(broker, [raw(0, KEYS[1])])
    tries: list[int] = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        tries.append(1)
        raise TransientError("unavailable")

    other, waiting = open_broker(url), loop_of(broker, handler=InUnit(handle), slot="a")
    waiting._backoff = ENDLESS_BACKOFF
    joining = loop_of(other, handler=InUnit(copy), slot="b")
    with run_in_thread(waiting):
        wait_until(lambda: len(tries) >= 1)
        with run_in_thread(joining):
            wait_until(lambda: joining.assigned == 1)
            assert len(tries) == 1  # the first member still waits
    other.close()


class RebalancingBroker:
    """A broker whose consumer owns nothing directly after a reload, as in a rebalance."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._is_rebalancing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def consumer(self, *arguments: Any, **options: Any) -> RebalancingBroker:
        return RebalancingBroker(self._real.consumer(*arguments, **options))

    def reload(self) -> None:
        self._real.reload()
        self._is_rebalancing = True

    def assignment(self) -> frozenset[TopicPartition]:
        owned: frozenset[TopicPartition] = frozenset() if self._is_rebalancing else self._real.assignment()
        self._is_rebalancing = False
        return owned


def test_partitions_paused_for_a_back_off_are_resumed_even_if_unassigned_at_that_moment(broker: PostgresBroker) -> None:
    append(broker, [raw(number, key) for number, key in enumerate(KEYS)])
    tries: list[int] = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        tries.append(1)
        if len(tries) == 1:
            raise TransientError("unavailable")
        return copy(batch)

    loop = ConsumerLoop(
        cast("Broker", RebalancingBroker(broker)),
        service="cleaner",
        slot="0",
        reads=[RAW],
        metrics=Metrics(),
        handler=InUnit(handle),
    )
    with run_in_thread(loop):
        wait_until(lambda: committed_count(broker) == len(KEYS))


def test_stop_returns_promptly_when_idle_and_when_backing_off(broker: PostgresBroker) -> None:
    def fail(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        raise TransientError("unavailable")

    idle, waiting = loop_of(broker, handler=InUnit(copy)), loop_of(broker, handler=InUnit(fail), service="loader")
    append(broker, [raw(0)])
    waiting._backoff = ENDLESS_BACKOFF
    for loop, state in ((idle, "running"), (waiting, "backing off")):
        with run_in_thread(loop) as thread:
            wait_until(lambda loop=loop, state=state: loop.state == state)  # type: ignore[misc]
            loop.stop()
            thread.join()
        assert (thread.error, loop.state) == (None, "stopped")


def test_a_stopped_loop_releases_its_partitions_at_once(broker: PostgresBroker) -> None:
    with run_in_thread(loop_of(broker, handler=InUnit(copy), slot="a")):
        wait_until(lambda: broker_has_member(broker, "cleaner-a"))

    append(broker, [raw(0)])
    with run_in_thread(loop_of(broker, handler=InUnit(copy), slot="b")):
        wait_until(lambda: committed_count(broker) == 1, deadline_s=LEASE_S / 2)


def test_a_second_process_under_the_same_slot_ends_the_first(broker: PostgresBroker, url: str) -> None:
    other = open_broker(url)
    with run_in_thread(loop_of(broker, handler=InUnit(copy))) as first:
        wait_until(lambda: broker_has_member(broker, "cleaner-0"))
        with run_in_thread(loop_of(other, handler=InUnit(copy))) as second:
            first.join()
            assert "slot 'cleaner-0'" in str(first.error)
            append(other, [raw(0)])
            wait_until(lambda: committed_count(other) == 1)
            assert second.error is None
    other.close()
