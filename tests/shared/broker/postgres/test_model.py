"""The embedded log compared with a reference in memory: units, leases and offsets, with crashes at every step.

The log is a real PostgreSQL. After a crash there are a new consumer and a new producer of the same slot, while the old
ones (zombies) still have their records and may try to commit them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from shared.broker.contract import Consumer, PollResult, Producer, TopicPartition, Unit
from shared.broker.postgres.broker import PostgresBroker
from shared.errors import BrokerError, Fenced, HeadraceError
from shared.topics import TopicSpec
from tests.contract.records import new_record, next_offsets, read_all, values

pytestmark = pytest.mark.slow
TPS = [TopicPartition("in", 0), TopicPartition("in", 1)]


@dataclass
class Worker:
    """One process: its consumer, its producer, and the records that it has polled but not committed."""

    consumer: Consumer
    producer: Producer
    polled: PollResult | None = None


@dataclass
class Reference:
    """The expected log: values by partition, positions of the group, outputs in order, the cursor."""

    appended: dict[TopicPartition, list[str]] = field(default_factory=lambda: {tp: [] for tp in TPS})
    position: dict[TopicPartition, int] = field(default_factory=lambda: dict.fromkeys(TPS, 0))
    outputs: list[str] = field(default_factory=list)
    cursor: bytes | None = None


class LogMachine(RuleBasedStateMachine):
    url = ""
    runs = 0

    @initialize()
    def start(self) -> None:
        type(self).runs += 1
        self.number = self.runs
        self.broker = PostgresBroker(self.url)
        # Each run has its own topics: emptying the tables would take longer than a run.
        self.topics = {name: f"{name}-{self.number}" for name in ("in", "out", "state")}
        self.broker.ensure_topics(
            [
                TopicSpec(self.topics["in"], 2, None),
                TopicSpec(self.topics["out"], 1, None),
                TopicSpec(self.topics["state"], 1, None, compacted=True),
            ]
        )
        self.reference = Reference()
        self.zombies: list[Worker] = []
        self.feeder = self.broker.producer(f"feeder-{self.number}")
        self.input_count = 0
        self.worker = self._worker()

    def _worker(self) -> Worker:
        slot, group = f"worker-{self.number}", f"group-{self.number}"
        producer = self.broker.producer(slot)
        return Worker(self.broker.consumer(group, [self.topics["in"]], slot), producer)

    def _fill(self, unit: Unit, worker: Worker, count: int) -> list[str]:
        """Outputs and positions of the first records that the worker has polled."""
        assert worker.polled is not None
        part = worker.polled._replace(records=worker.polled.records[:count])
        outputs = values(part.records)
        unit.append([new_record(self.topics["out"], value) for value in outputs])
        unit.advance(part.token, next_offsets(part))
        unit.cursor_set(self.topics["state"], "last", outputs[-1].encode())
        return outputs

    @rule(p=st.integers(0, 1), size=st.integers(1, 4), committed=st.booleans())
    def append(self, p: int, size: int, committed: bool) -> None:
        fresh = [f"{self.input_count + each}" for each in range(size)]
        self.input_count += size
        with self.feeder.unit() as unit:
            unit.append([new_record(self.topics["in"], value, partition=p) for value in fresh])
            if committed:
                unit.commit()
                self.reference.appended[TPS[p]] += fresh

    @precondition(lambda self: self.worker.polled is None)
    @rule(max_records=st.integers(1, 5))
    def poll(self, max_records: int) -> None:
        polled = self.worker.consumer.poll(0, max_records)
        assert len(polled.records) <= max_records
        for p, tp in enumerate(TPS):
            mine = values([record for record in polled.records if record.partition == p])
            start = self.reference.position[tp]
            assert mine == self.reference.appended[tp][start : start + len(mine)]
        has_backlog = any(len(self.reference.appended[tp]) > self.reference.position[tp] for tp in TPS)
        assert bool(polled.records) == has_backlog
        self.worker.polled = polled if polled.records else None

    @precondition(lambda self: self.worker.polled is not None)
    @rule(count=st.integers(1, 5))
    def finish(self, count: int) -> None:
        with self.worker.producer.unit() as unit:
            outputs = self._fill(unit, self.worker, count)
            unit.commit()
        self.reference.outputs += outputs
        self.reference.cursor = outputs[-1].encode()
        for p, tp in enumerate(TPS):
            assert self.worker.polled is not None
            self.reference.position[tp] += sum(
                record.partition == p for record in self.worker.polled.records[: len(outputs)]
            )
        if len(outputs) < len(self.worker.polled.records if self.worker.polled else []):
            self.worker.consumer.reload()  # the rest was polled and not committed
        self.worker.polled = None

    @precondition(lambda self: self.worker.polled is not None)
    @rule(count=st.integers(1, 5))
    def fail(self, count: int) -> None:
        with self.worker.producer.unit() as unit:
            self._fill(unit, self.worker, count)
        self.worker.consumer.reload()
        self.worker.polled = None

    @rule()
    def crash(self) -> None:
        self.zombies.append(self.worker)
        self.worker = self._worker()

    @precondition(lambda self: any(zombie.polled for zombie in self.zombies))
    @rule(own_producer=st.booleans(), count=st.integers(1, 5))
    def zombie_commits(self, own_producer: bool, count: int) -> None:
        """Also with a producer that is not fenced: then the position must refuse the commit."""
        zombie = next(zombie for zombie in self.zombies if zombie.polled)
        self.worker.consumer.poll(0, 0)  # the new owner acquires its partitions
        producer = zombie.producer if own_producer else self.feeder
        unit = producer.unit()
        self._fill(unit, zombie, count)
        with pytest.raises(Fenced):
            unit.commit()
        zombie.polled = None

    @precondition(lambda self: bool(self.zombies))
    @rule()
    def zombie_reloads(self) -> None:
        with pytest.raises(HeadraceError) as caught:
            self.zombies[-1].consumer.reload()
        assert not isinstance(caught.value, BrokerError)

    @precondition(lambda self: bool(self.zombies))
    @rule()
    def zombie_leaves(self) -> None:
        zombie = self.zombies.pop()
        zombie.consumer.close()
        zombie.producer.close()

    @invariant()
    def the_log_equals_the_reference(self) -> None:
        topic = self.topics["in"]
        tps = [TopicPartition(topic, 0), TopicPartition(topic, 1)]
        assert self.broker.end_offsets(tps) == {
            real: len(self.reference.appended[tp]) for real, tp in zip(tps, TPS, strict=True)
        }
        assert self.broker.committed(f"group-{self.number}", [topic]) == {
            real: self.reference.position[tp] for real, tp in zip(tps, TPS, strict=True)
        }
        assert values(read_all(self.broker, self.topics["out"])) == self.reference.outputs
        assert self.broker.cursors(self.topics["state"]).get("last") == self.reference.cursor

    def teardown(self) -> None:
        if not hasattr(self, "broker"):
            return
        for worker in (*self.zombies, self.worker):
            worker.consumer.close()
            worker.producer.close()
        self.feeder.close()
        self.broker.close()


def test_the_log_behaves_like_the_reference_despite_crashes(url: str) -> None:
    machine = type("LogMachineWithServer", (LogMachine,), {"url": url})

    run_state_machine_as_test(
        machine, settings=settings(max_examples=20, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    )
