"""Accidents of the topics: a new Kafka, and retention that removes what a stopped service has not read."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import Any

import psycopg
from kafka import KafkaAdminClient
from kafka import TopicPartition as ClientPartition

from shared.broker.contract import TopicPartition
from shared.broker.postgres import retention
from shared.broker.postgres.losses import open_losses
from shared.topics import CLEAN, LOADED, RAW, SERVICES
from tests.faults.accidents.of_databases import COMMAND_LIMIT_S, EVIDENCE_LIMIT_S, Action
from tests.faults.accidents.operator import Operator
from tests.faults.recovery import READS, Sample, settled_baseline
from tests.faults.recovery_meter import RecoveryMeter
from tests.faults.report import Report
from tests.faults.schedule import KAFKA, Fault, Kind
from tests.faults.topics import Entry
from tests.faults.world import START_LIMIT_S, World

# A unit that was sent before its connection was blocked is committed or aborted after this time.
IN_FLIGHT_S = 1.0
# The default of broker.retention_days.
KEPT_S = 14 * 86_400


def log_accidents(world: World, meter: RecoveryMeter, report: Report) -> Mapping[Kind, Action]:
    accidents = _LogAccidents(world, meter, report)
    return {Kind.NEW_KAFKA: accidents.new_kafka, Kind.RETENTION: accidents.retention}


class _LogAccidents:
    """Recovery is measured from the command by which a person accepts the loss."""

    def __init__(self, world: World, meter: RecoveryMeter, report: Report) -> None:
        self._world = world
        self._meter = meter
        self._report = report
        self._operator = Operator(world.data_dir, world.broker_url)

    def new_kafka(self, fault: Fault) -> None:
        """Kafka loses its disk. A person prepares the new one and accepts the losses of each reader."""
        world, kafka = self._world, self._world.required_kafka()
        with self._blocked_kafka():
            world.rest(IN_FLIGHT_S)
            world.history.read(world.observer.broker)
            sample = world.sample()
            kafka.kill()
        world.disconnect()
        world.work(kafka.start_empty, 4 * START_LIMIT_S, "the new Kafka")
        world.history.begin_era()
        world.reconnect()
        held = {
            service: {tp for tp, position in positions.items() if position > 0}
            for service, positions in sample.committed.items()
        }
        world.work(self._operator.migrate, COMMAND_LIMIT_S, "the topics of the new Kafka")
        self._report.allowance.repeats.update({RAW: 1, CLEAN: 1, LOADED: 1})
        self._allow_unnotified(self._unread(sample, "notifier"))
        self._accept(fault, {service: tps for service, tps in held.items() if tps})

    def retention(self, fault: Fault) -> None:
        """On Kafka, everything that a stopped service has not read is removed. The embedded log keeps it."""
        world, service = self._world, fault.service
        world.replicas.suspend([service])
        self._await_unread(service)
        world.rest(fault.hold_s)
        if world.plan.broker == KAFKA:
            self._overtake(fault)
        else:
            self._try_to_overtake(fault)

    def _overtake(self, fault: Fault) -> None:
        world, service = self._world, fault.service
        world.history.read(world.observer.broker)
        sample = world.sample()
        ends = {tp: sample.ends[tp] for tp in sample.committed[service]}
        with closing(KafkaAdminClient(bootstrap_servers=world.required_kafka().bootstrap)) as client:
            client.delete_records({ClientPartition(*tp): end for tp, end in ends.items()})
        behind = {tp for tp, position in sample.committed[service].items() if position < ends[tp]}
        unread = self._unread(sample, service)
        if service == "notifier":
            self._allow_unnotified(unread)
        world.replicas.resume()
        self._accept(fault, {service: behind}, at_least=len(unread))

    def _try_to_overtake(self, fault: Fault) -> None:
        """Retention of nothing: what the service has not read must stay. Recovery is measured from its start."""
        world, service = self._world, fault.service
        world.history.read(world.observer.broker)
        sample = world.sample()
        with world.connect() as connection:
            _set_retention(connection, 0)
            try:
                world.wait(lambda: retention.enforce(connection) > 0, EVIDENCE_LIMIT_S, "the end of some records")
            finally:
                _set_retention(connection, KEPT_S)
        begins = world.observer.broker.begin_offsets(list(sample.committed[service]))
        cut = [tp for tp, position in sample.committed[service].items() if begins[tp] > position]
        if cut:
            self._report.problems.append(f"RETENTION removed records that the {service} has not read: {cut}")
        began_s = time.monotonic()
        world.replicas.resume()
        self._meter.await_recovery(fault, before=sample, began_s=began_s)

    def _accept(self, fault: Fault, held: Mapping[str, Collection[TopicPartition]], at_least: int = 0) -> None:
        """Wait until the partitions are held back and the loss is counted, and accept it by its name. `at_least`: how
        many records must be counted, beside one for each partition."""
        world = self._world

        def all_held() -> bool:
            with world.connect() as connection:
                return all(
                    set(tps) <= {loss.tp for loss in open_losses(connection, service)} for service, tps in held.items()
                )

        world.wait(all_held, EVIDENCE_LIMIT_S, f"{', '.join(held)} to be held back")
        with world.connect() as connection:
            for service, tps in held.items():
                # A metric would start again from 0 with its process.
                count = sum(loss.records for loss in open_losses(connection, service))
                if count < max(len(tps), at_least):
                    self._report.problems.append(
                        f"LOST SILENTLY: the {service} counted {count} lost records in {len(tps)} partitions, and at"
                        f" least {at_least} are lost"
                    )
        sample = world.sample()
        begins = world.observer.broker.begin_offsets(list(sample.ends))
        began_s = time.monotonic()
        with ThreadPoolExecutor(len(held)) as executor:
            commands = [executor.submit(self._operator.accept_loss, service) for service in held]
            world.wait(lambda: all(each.done() for each in commands), COMMAND_LIMIT_S, "the acceptance of the losses")
        for each in commands:
            each.result()
        self._meter.await_recovery(fault, before=settled_baseline(sample, begins), began_s=began_s)

    def _allow_unnotified(self, lost: Collection[Entry]) -> None:
        """What the notifier has not read gives no message once a person has accepted the loss."""
        self._report.allowance.unnotified |= {entry.key.decode() for entry in lost}

    def _unread(self, sample: Sample, service: str) -> set[Entry]:
        return self._world.history.unread(sample.committed[service])

    def _await_unread(self, service: str) -> None:
        """Records that the stopped service has not read, in each partition."""

        def waits() -> bool:
            sample = self._world.observer.sample()
            return sample is not None and all(
                sample.ends[tp] > position for tp, position in sample.committed[service].items()
            )

        self._world.wait(waits, EVIDENCE_LIMIT_S, f"records of {READS[service]} that the {service} has not read")

    @contextmanager
    def _blocked_kafka(self) -> Iterator[None]:
        proxies = [self._world.proxies[f"{service}-kafka"] for service in SERVICES]
        for proxy in proxies:
            proxy.block()
        try:
            yield
        finally:
            for proxy in proxies:
                proxy.unblock(cut=True)


def _set_retention(connection: psycopg.Connection[Any], seconds: float) -> None:
    connection.execute("UPDATE broker.topics SET retention_s = %s WHERE name = %s", (seconds, LOADED))
