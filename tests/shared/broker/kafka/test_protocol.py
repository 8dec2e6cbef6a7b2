"""Several members consume, transform and append; they crash, stop, return and lose replies. Each step is a rule.

`Reference` is the specification: only the member that acquired a partition last may move its position, from the current
one, once; each input is then in the output, in order. The log is a real PostgreSQL, and a proxy drops replies. Nothing
depends on the clock: leases end and are renewed by rules.
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
from psycopg.conninfo import conninfo_to_dict

from shared.broker.contract import PollResult, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.consumer import PostgresConsumer
from shared.broker.postgres.unit import Leases, PostgresProducer, PostgresUnit
from shared.database.connection import Timeouts
from shared.errors import BrokerError, Fenced, HeadraceError, Unknown
from shared.topics import TopicSpec
from tests.contract.cutting_proxy import CuttingProxy, cutting_proxy
from tests.contract.records import new_record, next_offsets, until, values
from tests.proxy import proxied_conninfo

pytestmark = pytest.mark.slow
PARTITIONS = 2
SLOTS = ("a", "b")
MAX_PROCESSES = 4
WHICH = st.integers(0, MAX_PROCESSES - 1)
RECEIVED, REPLY_LOST, COMMIT_LOST = "reply received", "reply lost", "commit lost"
REPLIES = (RECEIVED, RECEIVED, REPLY_LOST, COMMIT_LOST)
# Steps of a unit (it has five): often all, for progress; sometimes fewer, so that other rules come in between.
STEPS = (5, 10, 1, 2, 3, 4)
# Leases end and are renewed only by rules.
NO_EXPIRY = Timeouts(lease_s=3600, renew_s=3600)


class Reference:
    """The specified state of each partition."""

    def __init__(self) -> None:
        self.inputs: list[list[str]] = [[] for _ in range(PARTITIONS)]
        self.position = [0] * PARTITIONS
        self.epoch = [0] * PARTITIONS
        self.process = dict.fromkeys(SLOTS, 0)

    def acquire(self, p: int, epoch: int) -> None:
        """A member reports that it owns a partition."""
        assert epoch <= self.epoch[p] or epoch == self.epoch[p] + 1
        self.epoch[p] = max(self.epoch[p], epoch)

    def may_commit(self, slot: str, process: int, ranges: dict[int, tuple[int, int, int]]) -> bool:
        """`ranges`: epoch, first offset and next offset by partition."""
        return self.process[slot] == process and all(
            self.epoch[p] == epoch and self.position[p] == first for p, (epoch, first, _) in ranges.items()
        )

    def commit(self, ranges: dict[int, tuple[int, int, int]]) -> None:
        for p, (_, _, following) in ranges.items():
            self.position[p] = following

    def outputs(self, p: int) -> list[str]:
        return self.inputs[p][: self.position[p]]


@dataclass
class Process:
    """A replica: its parts, its polled records, its unit. `stopped`: another process has its slot now."""

    slot: str
    number: int
    consumer: PostgresConsumer
    producer: PostgresProducer
    polled: PollResult | None = None
    unit: PostgresUnit | None = None
    has_advanced: bool = False
    must_reload: bool = False
    stopped: bool = False

    def polled_ranges(self) -> dict[int, tuple[int, int, int]]:
        """The epoch of the lease, the first offset and the next offset of each polled partition."""
        assert self.polled is not None
        assert isinstance(self.polled.token, Leases)
        ranges: dict[int, tuple[int, int, int]] = {}
        for record in self.polled.records:
            epoch = self.polled.token.held[TopicPartition(record.topic, record.partition)].epoch
            first = ranges.get(record.partition, (0, record.offset, 0))[1]
            ranges[record.partition] = (epoch, first, record.offset + 1)
        return ranges

    def forget(self) -> None:
        self.polled, self.unit, self.has_advanced, self.must_reload = None, None, False, True


class ProtocolMachine(RuleBasedStateMachine):
    url = ""
    proxy: CuttingProxy
    runs = 0

    @initialize()
    def start(self) -> None:
        type(self).runs += 1
        self.source, self.target = f"in-{self.runs}", f"out-{self.runs}"
        self.group = f"group-{self.runs}"
        self.direct_broker = PostgresBroker(self.url)
        self.direct_broker.ensure_topics([TopicSpec(name, PARTITIONS, None) for name in (self.source, self.target)])
        self.reader = self.direct_broker.reader([TopicPartition(self.target, p) for p in range(PARTITIONS)])
        self.outputs: list[list[str]] = [[] for _ in range(PARTITIONS)]
        self.feeder = self.direct_broker.producer(f"feeder-{self.runs}")
        self.admin = psycopg.connect(self.url, autocommit=True)
        self.proxied_broker = PostgresBroker(proxied_conninfo(self.url, self.proxy.directory), NO_EXPIRY)
        self.reference = Reference()
        self.processes: list[Process] = []
        self.crashed: list[UUID] = []
        self.input_count = 0
        self.join("a")
        for p in range(PARTITIONS):
            self.feed(p, 5)

    @rule(p=st.integers(0, PARTITIONS - 1), size=st.integers(1, 4))
    def feed(self, p: int, size: int) -> None:
        fresh = [str(self.input_count + each) for each in range(size)]
        self.input_count += size
        with self.feeder.unit() as unit:
            unit.append([new_record(self.source, value, partition=p) for value in fresh])
            unit.commit()
        self.reference.inputs[p] += fresh

    @precondition(lambda self: len(self.processes) < MAX_PROCESSES)
    @rule(slot=st.sampled_from(SLOTS))
    def join(self, slot: str) -> None:
        """A process starts; earlier processes of that slot count as stopped, whatever they were doing."""
        for process in self.processes:
            if process.slot == slot:
                process.stopped = True
        self.reference.process[slot] += 1
        name = f"{slot}-{self.runs}"
        producer = self.proxied_broker.producer(name)
        consumer = self.proxied_broker.consumer(self.group, [self.source], name)
        self.processes.append(Process(slot, self.reference.process[slot], consumer, producer))

    @rule(which=WHICH)
    def renew(self, which: int) -> None:
        """What the lease thread does every second."""
        process = self._some(which)
        if process.stopped:
            with pytest.raises(HeadraceError, match="another process has taken slot"):
                process.consumer._group._renew()
        else:
            process.consumer._group._renew()

    @rule(which=WHICH)
    def lease_ends(self, which: int) -> None:
        """The member was silent for too long. It may return, also under the same name."""
        self._end_leases(self._some(which).consumer._group.incarnation)

    @precondition(lambda self: bool(self.crashed))
    @rule()
    def leases_of_crashed_members_end(self) -> None:
        for incarnation in self.crashed:
            self._end_leases(incarnation)

    def _end_leases(self, incarnation: UUID) -> None:
        for table, column in (("leases", "lease_until"), ("members", "alive_until")):
            self.admin.execute(
                f"UPDATE broker.{table} SET {column} = now() - interval '1s' WHERE grp = %s AND incarnation = %s",
                (self.group, incarnation),
            )

    @rule(which=WHICH, steps=st.sampled_from(STEPS), max_records=st.integers(1, 5), reply=st.sampled_from(REPLIES))
    def work(self, which: int, steps: int, max_records: int, reply: str) -> None:
        """The next steps of its work. Any other rule can come between two steps."""
        process = self._some(which)
        for _ in range(steps):
            if process.must_reload:
                self._reload(process)
            elif process.polled is None:
                self._poll(process, max_records)
            elif process.unit is None:
                process.unit = process.producer.unit()
                process.unit.append(
                    [
                        new_record(self.target, each.value.decode(), partition=each.partition)
                        for each in process.polled.records
                    ]
                )
            elif not process.has_advanced:
                process.unit.advance(process.polled.token, next_offsets(process.polled))
                process.has_advanced = True
            else:
                self._commit(process, process.unit, reply)

    @precondition(lambda self: len(self.processes) < MAX_PROCESSES and any(each.polled for each in self.processes))
    @rule(which=WHICH, steps=st.sampled_from(STEPS))
    def commit_after_another_slot_took_the_partitions(self, which: int, steps: int) -> None:
        """It still owns its slot: only epochs and positions show that it is too late."""
        late = [index for index, process in enumerate(self.processes) if process.polled]
        index = late[which % len(late)]
        self.lease_ends(index)
        self.join(SLOTS[self.processes[index].slot == SLOTS[0]])
        self.renew(-1)
        self.work(-1, steps, 5, RECEIVED)
        self.work(index, 5, 5, RECEIVED)

    def _poll(self, process: Process, max_records: int) -> None:
        polled = process.consumer.poll(0, max_records)
        assert isinstance(polled.token, Leases)
        for tp, lease in polled.token.held.items():
            self.reference.acquire(tp.partition, lease.epoch)
        for p in range(PARTITIONS):
            mine = [record for record in polled.records if record.partition == p]
            first = mine[0].offset if mine else 0
            assert values(mine) == self.reference.inputs[p][first : first + len(mine)]
        process.polled = polled if polled.records else None

    def _commit(self, process: Process, unit: PostgresUnit, reply: str) -> None:
        """Also by a process that was stopped or replaced meanwhile, with its old token. The reference decides whether
        the commit must succeed."""
        ranges = process.polled_ranges()
        if not self.reference.may_commit(process.slot, process.number, ranges):
            event("fenced")
            with pytest.raises(Fenced):
                unit.commit()
            process.forget()
            return
        event(reply)
        if reply == RECEIVED:
            unit.commit()
        else:
            assert not unit.connection.closed  # connects now: a new connection has its own COMMIT
            self.proxy.cut_at_commit(delivered=reply == REPLY_LOST)
            with pytest.raises(Unknown):
                unit.commit()
            process.producer.close()  # as the loops do: it does not know how many units its slot has committed
            process.producer = self.proxied_broker.producer(f"{process.slot}-{self.runs}")
        if reply != COMMIT_LOST:
            self.reference.commit(ranges)
        process.forget()
        process.must_reload = reply != RECEIVED

    @precondition(lambda self: any(process.unit for process in self.processes))
    @rule(which=WHICH)
    def abort(self, which: int) -> None:
        process = self._some(which)
        if process.unit is not None:
            process.unit.abort()
            process.forget()

    @rule(which=WHICH)
    def reload(self, which: int) -> None:
        """At any time: the same records are polled again."""
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
        """A graceful stop at any point."""
        process = self._some(which)
        self.processes.remove(process)
        self._end(process)

    @precondition(lambda self: len(self.processes) > 1)
    @rule(which=WHICH)
    def crash(self, which: int) -> None:
        """kill -9: the leases stay."""
        process = self._some(which)
        self.processes.remove(process)
        self.crashed.append(process.consumer._group.incarnation)
        process.consumer._group.incarnation = UUID(int=0)  # so that _end does not release them
        self._end(process)

    @invariant()
    def each_input_is_in_the_output_once_and_in_order(self) -> None:
        while records := self.reader.poll(0, 1000):
            for record in records:
                self.outputs[record.partition].append(record.value.decode())
        assert self.outputs == [self.reference.outputs(p) for p in range(PARTITIONS)]
        committed = self.direct_broker.committed(self.group, [self.source])
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
            for broker in (self.direct_broker, self.proxied_broker):
                broker.close()

    def _finish(self) -> None:
        """From any state: after all leases have ended, one more process does the remaining work."""
        while self.processes:
            self.crash(0)
        self.leases_of_crashed_members_end()
        self.join(SLOTS[0])

        def all_processed() -> bool:
            self.work(0, 1, 5, RECEIVED)
            return self.reference.position == [len(each) for each in self.reference.inputs]

        until(all_processed)
        self.each_input_is_in_the_output_once_and_in_order()

    def _some(self, which: int) -> Process:
        return self.processes[which % len(self.processes)]

    def _end(self, process: Process) -> None:
        process.consumer.close()
        process.producer.close()


def test_each_record_is_processed_once_and_in_order_despite_crashes_stops_and_lost_replies(url: str) -> None:
    with cutting_proxy(Path(str(conninfo_to_dict(url)["host"]))) as proxy:
        machine = type("ProtocolMachineWithServer", (ProtocolMachine,), {"url": url, "proxy": proxy})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=15,
                stateful_step_count=30,
                suppress_health_check=list(HealthCheck),
                # A failing example is short enough to read; to shrink it takes minutes.
                phases=(Phase.explicit, Phase.reuse, Phase.generate),
            ),
        )
