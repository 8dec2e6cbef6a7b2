"""The consumer loop as a member of its group: joining, waiting, stopping."""

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
from tests.shared.runtime.loops.consumer_loops import KEYS, broker_has_member, copy, loop_of
from tests.shared.runtime.stage import LEASE_S, advanced, append, broker_on, raw, running
from tests.waiting import DEADLINE_S, wait_until

# Its first delay outlasts every deadline.
ENDLESS = Backoff(first_s=10 * DEADLINE_S)


def test_a_member_that_backs_off_stays_in_its_group(broker: PostgresBroker, url: str) -> None:
    append(broker, [raw(0, KEYS[1])])
    tries: list[int] = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        tries.append(1)
        raise TransientError("away")

    other, waiting = broker_on(url), loop_of(broker, handler=InUnit(handle), slot="a")
    waiting._backoff = ENDLESS
    joining = loop_of(other, handler=InUnit(copy), slot="b")
    with running(waiting):
        wait_until(lambda: len(tries) >= 1)
        with running(joining):
            wait_until(lambda: joining.assigned == 1)
            assert len(tries) == 1  # the other waits still
    other.close()


class Rebalanced:
    """A broker whose consumer owns nothing in the moment after a reload: all is dealt out anew just then."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self._dealing = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def consumer(self, *arguments: Any, **options: Any) -> Rebalanced:
        return Rebalanced(self._real.consumer(*arguments, **options))

    def reload(self) -> None:
        self._real.reload()
        self._dealing = True

    def assignment(self) -> frozenset[TopicPartition]:
        owned: frozenset[TopicPartition] = frozenset() if self._dealing else self._real.assignment()
        self._dealing = False
        return owned


def test_partitions_paused_for_a_back_off_are_resumed_even_if_unassigned_at_that_moment(broker: PostgresBroker) -> None:
    append(broker, [raw(number, key) for number, key in enumerate(KEYS)])
    tries: list[int] = []

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        tries.append(1)
        if len(tries) == 1:
            raise TransientError("away")
        return copy(batch)

    loop = ConsumerLoop(
        cast("Broker", Rebalanced(broker)),
        service="cleaner",
        slot="0",
        reads=[RAW],
        metrics=Metrics(),
        handler=InUnit(handle),
    )
    with running(loop):
        wait_until(lambda: advanced(broker) == len(KEYS))


def test_stop_returns_promptly_when_idle_and_when_backing_off(broker: PostgresBroker) -> None:
    def away(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        raise TransientError("away")

    idle, waiting = loop_of(broker, handler=InUnit(copy)), loop_of(broker, handler=InUnit(away), service="loader")
    append(broker, [raw(0)])
    waiting._backoff = ENDLESS
    for loop, state in ((idle, "running"), (waiting, "backing off")):
        with running(loop) as run:
            wait_until(lambda loop=loop, state=state: loop.state == state)  # type: ignore[misc]
            loop.stop()
            run.join()
        assert (run.died_of, loop.state) == (None, "stopped")


def test_a_stopped_loop_releases_its_partitions_at_once(broker: PostgresBroker) -> None:
    with running(loop_of(broker, handler=InUnit(copy), slot="a")):
        wait_until(lambda: broker_has_member(broker, "cleaner-a"))

    append(broker, [raw(0)])
    with running(loop_of(broker, handler=InUnit(copy), slot="b")):
        wait_until(lambda: advanced(broker) == 1, deadline_s=LEASE_S / 2)


def test_a_second_process_under_the_same_slot_ends_the_first(broker: PostgresBroker, url: str) -> None:
    other = broker_on(url)
    with running(loop_of(broker, handler=InUnit(copy))) as first:
        wait_until(lambda: broker_has_member(broker, "cleaner-0"))
        with running(loop_of(other, handler=InUnit(copy))) as second:
            first.join()
            assert "slot 'cleaner-0'" in str(first.died_of)
            append(other, [raw(0)])
            wait_until(lambda: advanced(other) == 1)
            assert second.died_of is None
    other.close()
