"""Consume, transform, append, by several members that die, stop, come back and lose replies: each step a rule.

What must hold is small enough to be written down whole (`Reference`): who has taken a partition last may move its
position, once, from where it stands; each input is then in the output, in order. The log is a real PostgreSQL, and a
proxy loses the replies. Nothing here happens by the clock: leases end and are renewed when a rule says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import psycopg
import pytest
from hypothesis import HealthCheck, Phase, event, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from shared.broker.contract import PollResult, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.consumer import PostgresConsumer
from shared.broker.postgres.unit import Leases, PostgresProducer, PostgresUnit
from shared.database.connection import Timeouts
from shared.errors import BrokerError, Fenced, HeadraceError, Unknown
from shared.topics import TopicSpec
from tests.contract.cutting_proxy import CuttingProxy, cutting_proxy
from tests.contract.records import new, next_of, until, values

pytestmark = pytest.mark.slow
PARTITIONS = 2
SLOTS = ("a", "b")
MOST_PROCESSES = 4
WHICH = st.integers(0, MOST_PROCESSES - 1)
HEARD, REPLY_LOST, COMMIT_LOST = "reply heard", "reply lost", "commit lost"
REPLIES = (HEARD, HEARD, REPLY_LOST, COMMIT_LOST)
# Of a unit's five steps: often all of them, so that much gets done; sometimes some, so that anything can come between.
STEPS = (5, 10, 1, 2, 3, 4)
# No lease ends, and none is renewed, unless a rule says so.
STILL = Timeouts(lease_s=3600, renew_s=3600)


class Reference:
    """What must be so, of each partition."""

    def __init__(self) -> None:
        self.inputs: list[list[str]] = [[] for _ in range(PARTITIONS)]
        self.position = [0] * PARTITIONS
        self.epoch = [0] * PARTITIONS
        self.process = dict.fromkeys(SLOTS, 0)

    def take(self, p: int, epoch: int) -> None:
        """A member says it has taken a partition, or has it still."""
        assert epoch <= self.epoch[p] or epoch == self.epoch[p] + 1
        self.epoch[p] = max(self.epoch[p], epoch)

    def may_commit(self, slot: str, process: int, taken: dict[int, tuple[int, int, int]]) -> bool:
        """`taken`: per partition its epoch, the first offset and the next one."""
        return self.process[slot] == process and all(
            self.epoch[p] == epoch and self.position[p] == first for p, (epoch, first, _) in taken.items()
        )

    def commit(self, taken: dict[int, tuple[int, int, int]]) -> None:
        for p, (_, _, following) in taken.items():
            self.position[p] = following

    def outputs(self, p: int) -> list[str]:
        return self.inputs[p][: self.position[p]]


@dataclass
class Process:
    """A replica: its parts, what it has polled, how far its unit is. `stopped`: another one has its slot now."""

    slot: str
    number: int
    consumer: PostgresConsumer
    producer: PostgresProducer
    polled: PollResult | None = None
    unit: PostgresUnit | None = None
    advanced: bool = False
    must_reload: bool = False
    stopped: bool = False

    def taken(self) -> dict[int, tuple[int, int, int]]:
        """Of each partition polled: the epoch it is held under, the first offset and the next one."""
        assert self.polled is not None
        assert isinstance(self.polled.token, Leases)
        found: dict[int, tuple[int, int, int]] = {}
        for record in self.polled.records:
            epoch = self.polled.token.held[TopicPartition(record.topic, record.partition)].epoch
            first = found.get(record.partition, (0, record.offset, 0))[1]
            found[record.partition] = (epoch, first, record.offset + 1)
        return found

    def forget(self) -> None:
        self.polled, self.unit, self.advanced, self.must_reload = None, None, False, True


class ProtocolMachine(RuleBasedStateMachine):
    url = ""
    proxy: CuttingProxy
    runs = 0

    @initialize()
    def start(self) -> None:
        type(self).runs += 1
        self.source, self.target = f"in-{self.runs}", f"out-{self.runs}"
        self.group = f"group-{self.runs}"
        self.outside = PostgresBroker(self.url)
        self.outside.ensure_topics([TopicSpec(name, PARTITIONS, None) for name in (self.source, self.target)])
        self.reader = self.outside.reader([TopicPartition(self.target, p) for p in range(PARTITIONS)])
        self.outputs: list[list[str]] = [[] for _ in range(PARTITIONS)]
        self.feeder = self.outside.producer(f"feeder-{self.runs}")
        self.admin = psycopg.connect(self.url, autocommit=True)
        self.through = PostgresBroker(make_conninfo(self.url, host=str(self.proxy.directory)), STILL)
        self.reference = Reference()
        self.processes: list[Process] = []
        self.dead: list[UUID] = []
        self.fed = 0
        self.join("a")
        for p in range(PARTITIONS):
            self.feed(p, 5)

    @rule(p=st.integers(0, PARTITIONS - 1), size=st.integers(1, 4))
    def feed(self, p: int, size: int) -> None:
        fresh = [str(self.fed + each) for each in range(size)]
        self.fed += size
        with self.feeder.unit() as unit:
            unit.append([new(self.source, value, partition=p) for value in fresh])
            unit.commit()
        self.reference.inputs[p] += fresh

    @precondition(lambda self: len(self.processes) < MOST_PROCESSES)
    @rule(slot=st.sampled_from(SLOTS))
    def join(self, slot: str) -> None:
        """A process starts; one of that slot that was there before is stopped from now on, wherever it was."""
        for process in self.processes:
            if process.slot == slot:
                process.stopped = True
        self.reference.process[slot] += 1
        name = f"{slot}-{self.runs}"
        producer = self.through.producer(name)
        consumer = self.through.consumer(self.group, [self.source], name)
        self.processes.append(Process(slot, self.reference.process[slot], consumer, producer))

    @rule(which=WHICH)
    def renew(self, which: int) -> None:
        """What the thread of the leases does each second."""
        process = self._some(which)
        if process.stopped:
            with pytest.raises(HeadraceError, match="another process has taken slot"):
                process.consumer._group._renew()
        else:
            process.consumer._group._renew()

    @rule(which=WHICH)
    def lease_ends(self, which: int) -> None:
        """Nobody has heard of it for long. It may come back, also under the same name."""
        self._end_leases(self._some(which).consumer._group.incarnation)

    @precondition(lambda self: bool(self.dead))
    @rule()
    def leases_of_the_dead_end(self) -> None:
        for incarnation in self.dead:
            self._end_leases(incarnation)

    def _end_leases(self, incarnation: UUID) -> None:
        for table, column in (("leases", "lease_until"), ("members", "alive_until")):
            self.admin.execute(
                f"UPDATE broker.{table} SET {column} = now() - interval '1s' WHERE grp = %s AND incarnation = %s",
                (self.group, incarnation),
            )

    @rule(which=WHICH, steps=st.sampled_from(STEPS), most=st.integers(1, 5), reply=st.sampled_from(REPLIES))
    def go_on(self, which: int, steps: int, most: int, reply: str) -> None:
        """The next steps of its work, wherever it stands; so any other rule can come between any two of them."""
        process = self._some(which)
        for _ in range(steps):
            if process.must_reload:
                self._reload(process)
            elif process.polled is None:
                self._poll(process, most)
            elif process.unit is None:
                process.unit = process.producer.unit()
                process.unit.append(
                    [new(self.target, each.value.decode(), partition=each.partition) for each in process.polled.records]
                )
            elif not process.advanced:
                process.unit.advance(process.polled.token, next_of(process.polled))
                process.advanced = True
            else:
                self._commit(process, process.unit, reply)

    @precondition(lambda self: len(self.processes) < MOST_PROCESSES and any(each.polled for each in self.processes))
    @rule(which=WHICH, steps=st.sampled_from(STEPS))
    def is_stopped_inside_a_unit_and_goes_on_when_another_slot_has_its_partitions(self, which: int, steps: int) -> None:
        """Its slot is still its own: only epochs and positions can tell that it comes too late."""
        late = [index for index, process in enumerate(self.processes) if process.polled]
        index = late[which % len(late)]
        self.lease_ends(index)
        self.join(SLOTS[self.processes[index].slot == SLOTS[0]])
        self.renew(-1)
        self.go_on(-1, steps, 5, HEARD)
        self.go_on(index, 5, 5, HEARD)

    def _poll(self, process: Process, most: int) -> None:
        polled = process.consumer.poll(0, most)
        assert isinstance(polled.token, Leases)
        for tp, lease in polled.token.held.items():
            self.reference.take(tp.partition, lease.epoch)
        for p in range(PARTITIONS):
            mine = [record for record in polled.records if record.partition == p]
            first = mine[0].offset if mine else 0
            assert values(mine) == self.reference.inputs[p][first : first + len(mine)]
        process.polled = polled if polled.records else None

    def _commit(self, process: Process, unit: PostgresUnit, reply: str) -> None:
        """Also by one that was stopped meanwhile, or replaced, with the token it had: whatever it thinks, the reference
        says whether it may."""
        taken = process.taken()
        if not self.reference.may_commit(process.slot, process.number, taken):
            event("fenced")
            with pytest.raises(Fenced):
                unit.commit()
            process.forget()
            return
        event(reply)
        if reply == HEARD:
            unit.commit()
        else:
            assert not unit.connection.closed  # made now: a new connection has a COMMIT of its own
            self.proxy.cut_at_commit(arrived=reply == REPLY_LOST)
            with pytest.raises(Unknown):
                unit.commit()
        if reply != COMMIT_LOST:
            self.reference.commit(taken)
        process.forget()
        process.must_reload = reply != HEARD

    @precondition(lambda self: any(process.unit for process in self.processes))
    @rule(which=WHICH)
    def abort(self, which: int) -> None:
        process = self._some(which)
        if process.unit is not None:
            process.unit.abort()
            process.forget()

    @rule(which=WHICH)
    def reload(self, which: int) -> None:
        """At any time: what was polled is polled again."""
        self._reload(self._some(which))

    def _reload(self, process: Process) -> None:
        if process.stopped:
            with pytest.raises(HeadraceError) as caught:
                process.consumer.reload()
            assert not isinstance(caught.value, BrokerError)
            return
        if process.unit is not None:
            process.unit.abort()
        process.consumer.reload()
        process.forget()
        process.must_reload = False

    @precondition(lambda self: len(self.processes) > 1)
    @rule(which=WHICH)
    def leave(self, which: int) -> None:
        """A graceful stop, in the middle of whatever it was doing."""
        process = self._some(which)
        self.processes.remove(process)
        self._end(process)

    @precondition(lambda self: len(self.processes) > 1)
    @rule(which=WHICH)
    def die(self, which: int) -> None:
        """kill -9: nobody says goodbye, the leases stay."""
        process = self._some(which)
        self.processes.remove(process)
        self.dead.append(process.consumer._group.incarnation)
        process.consumer._group.incarnation = UUID(int=0)  # so that its goodbye is nobody's
        self._end(process)

    @invariant()
    def each_input_is_in_the_output_once_and_in_order(self) -> None:
        while records := self.reader.poll(0, 1000):
            for record in records:
                self.outputs[record.partition].append(record.value.decode())
        assert self.outputs == [self.reference.outputs(p) for p in range(PARTITIONS)]
        committed = self.outside.committed(self.group, [self.source])
        assert [committed[TopicPartition(self.source, p)] for p in range(PARTITIONS)] == self.reference.position

    def teardown(self) -> None:
        if not hasattr(self, "reference"):
            return
        try:
            self._finish()
        finally:
            for process in self.processes:
                self._end(process)
            self.reader.close()
            self.feeder.close()
            self.admin.close()
            for broker in (self.outside, self.through):
                broker.close()

    def _finish(self) -> None:
        """Whatever state they are in: once their leases have ended, one process more does all that is left."""
        while self.processes:
            self.die(0)
        self.leases_of_the_dead_end()
        self.join(SLOTS[0])

        def all_done() -> bool:
            self.go_on(0, 1, 5, HEARD)
            return self.reference.position == [len(each) for each in self.reference.inputs]

        until(all_done)
        self.each_input_is_in_the_output_once_and_in_order()

    def _some(self, which: int) -> Process:
        return self.processes[which % len(self.processes)]

    def _end(self, process: Process) -> None:
        process.consumer.close()
        process.producer.close()


def test_each_record_is_processed_once_and_in_order_despite_crashes_stops_and_lost_replies(url: str) -> None:
    with cutting_proxy(Path(str(conninfo_to_dict(url)["host"]))) as proxy:
        machine = type("ProtocolHere", (ProtocolMachine,), {"url": url, "proxy": proxy})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=15,
                stateful_step_count=30,
                suppress_health_check=list(HealthCheck),
                # A failing example is short enough to be read as it is; to shrink one takes minutes.
                phases=(Phase.explicit, Phase.reuse, Phase.generate),
            ),
        )
