"""Implements the broker interface on Kafka. kafka/positions.py holds the positions that are stored in PostgreSQL."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import cached_property
from typing import TypeVar

from kafka import KafkaAdminClient, OffsetAndMetadata, errors
from kafka import TopicPartition as ClientPartition
from kafka.admin import ConfigResource, ConfigResourceType, OffsetSpec, OffsetTimestamp

from shared.broker.contract import Producer, Reader, TopicPartition
from shared.broker.counting.backlog import ReadBacklog
from shared.broker.counting.record_count import ReadRecordCount
from shared.broker.kafka import client
from shared.broker.kafka.checkpoints import Checkpoints
from shared.broker.kafka.consumer import FetchCommitted, KafkaConsumer
from shared.broker.kafka.hanging_transactions import HangingTransactions
from shared.broker.kafka.logs import KafkaLogs
from shared.broker.kafka.positions import DatabasePositions, GroupPositions, PositionStore
from shared.broker.kafka.producer import KafkaProducer
from shared.broker.kafka.reader import KafkaReader
from shared.broker.kafka.topics import KafkaTopics
from shared.broker.kafka.workarounds import broker_version, forget_coordinators, refresh_nodes
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.log import LOCAL_PREFIX
from shared.broker.postgres.unit import PostgresProducer
from shared.database.connection import TIMEOUTS, Timeouts
from shared.errors import ConfigError, TransientError
from shared.events import as_utc_ms
from shared.readiness import retry_briefly
from shared.retry import Retry
from shared.settings.sections import KafkaSettings
from shared.topics import DATABASE_CURSOR_TOPICS, DATABASE_POSITION_SERVICES, OUTBOX_CURSORS, TopicSpec

READ_COMMITTED = "read_committed"
# A status query must fail soon if no broker answers. The library waits twice this long for a request.
_SHORT_TIMEOUTS = {"request_timeout_ms": 3000, "bootstrap_timeout_ms": 3000}
# Reading the cursors ends with an error if the broker returns nothing for this long.
STALL_LIMIT_S = 10.0

R = TypeVar("R")


class KafkaBroker:
    """The Kafka broker. Not thread-safe; consumers, readers and producers have their own connections."""

    gapless, table_prefix, has_outbox = False, LOCAL_PREFIX, True
    client_errors: tuple[type[Exception], ...] = (errors.KafkaError,)

    def __init__(
        self,
        url: str,
        kafka: KafkaSettings,
        conninfo: str,
        timeouts: Timeouts = TIMEOUTS,
        answer_s: float = client.ANSWER_S,
        readiness_retry: Retry | None = None,
    ) -> None:
        """`timeouts`: of the database. `answer_s`: limit for each step of a Kafka transaction, in seconds.
        `readiness_retry`: how to wait for a cluster that is still preparing what a request needs."""
        self._readiness_retry = readiness_retry or retry_briefly()
        self._timeouts = timeouts
        self._answer_s = answer_s
        self._addresses = client.addresses_of(url)
        self._kafka = kafka
        self._conninfo = conninfo
        self._local = PostgresBroker(conninfo, timeouts)

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create the topics on Kafka, and their local topics in the database."""
        self._topics.ensure([*specs, TopicSpec(OUTBOX_CURSORS, 1, None, compacted=True)], self._kafka)
        streams = [spec for spec in specs if not spec.compacted]
        local = [*streams, *(spec for spec in specs if spec.name in DATABASE_CURSOR_TOPICS)]
        self._local.ensure_topics(
            [replace(spec, name=LOCAL_PREFIX + spec.name, retention_s=None, retention_bytes=None) for spec in local]
        )

    def partitions(self, topic: str) -> list[TopicPartition]:
        return [TopicPartition(topic, p) for p in range(self._topics.get(topic).partitions)]

    def begin_offsets(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        return self._offsets(dict.fromkeys(tps, OffsetSpec.EARLIEST))

    def end_offsets(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, int]:
        """The end of the committed records: records of open transactions are not included."""
        return self._offsets(dict.fromkeys(tps, OffsetSpec.LATEST))

    def offsets_for_times(self, tps: Sequence[TopicPartition], at: datetime) -> dict[TopicPartition, int]:
        ends = self.end_offsets(tps)
        offsets = self._offsets({tp: OffsetTimestamp(as_utc_ms(at)) for tp in tps})
        return {tp: ends[tp] if offset < 0 else offset for tp, offset in offsets.items()}

    def committed(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
        tps = [tp for topic in topics for tp in self.partitions(topic)]
        offsets = self._local.positions(group, LOCAL_PREFIX)
        if not offsets and group not in DATABASE_POSITION_SERVICES:
            offsets = self._group_offsets(group, tps)
        missing = [tp for tp in tps if offsets.get(tp, -1) < 0]
        return {tp: offsets[tp] for tp in tps if tp not in missing} | (self.begin_offsets(missing) if missing else {})

    def group_offsets(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
        return self._group_offsets(group, [tp for topic in topics for tp in self.partitions(topic)])

    def offsets_retention_s(self) -> float | None:
        try:
            minutes = self._when_ready("reading the broker's settings", self._read_offsets_retention_minutes)
        except ConfigError:  # this login must not read them
            return None
        return None if minutes is None else minutes * 60.0

    def record_count(self) -> ReadRecordCount:
        return ReadRecordCount(self)

    def backlog(self) -> ReadBacklog:
        return ReadBacklog(self)

    def stored_bytes(self, topic: str) -> None:
        """Always None: the Kafka client does not report it."""

    def probe(self) -> None:
        client.require_listener(self._addresses)

    def consumer(self, group: str, topics: Sequence[str], slot: str, *, in_database: bool = False) -> KafkaConsumer:
        for topic in topics:
            self._topics.get(topic)  # raises if it does not exist

        def make_positions(committed: FetchCommitted) -> PositionStore:
            logs = KafkaLogs(self._admin, self._topics, self._when_ready)
            if in_database:
                return DatabasePositions(self._conninfo, group, logs, self._timeouts.answer_s)
            return GroupPositions(group, committed, logs, Checkpoints(self._conninfo, group))

        return KafkaConsumer(
            self._settings(slot), self._qualified_name(group), topics, slot, self._kafka.session_timeout_s,
            make_positions, self._hanging,
        )  # fmt: skip

    def reader(self, tps: Sequence[TopicPartition], *, complete: bool = False) -> KafkaReader:
        return KafkaReader(self._settings("reader"), tps, complete=complete)

    def producer(self, slot: str, *, in_database: bool = False) -> Producer:
        if in_database:
            return PostgresProducer(self._conninfo, slot, self._timeouts, LOCAL_PREFIX)
        return KafkaProducer(self._settings(slot), self._topics, self._qualified_name(slot), self._answer_s)

    def cursors(self, topic: str, *, in_database: bool = False) -> dict[str, bytes]:
        if in_database:
            return self._local.cursors(LOCAL_PREFIX + topic)
        tps = self.partitions(topic)
        self._complete_hanging(tps)
        begins, ends = self.begin_offsets(tps), self.end_offsets(tps)
        cursors: dict[str, bytes] = {}
        for tp in tps:
            with closing(self.reader([tp], complete=True)) as reader:
                cursors |= read_cursors(reader, tp, begins[tp], ends[tp])
        return cursors

    def health(self) -> None:
        self._when_ready("checking the Kafka cluster", self._admin.describe_cluster)

    def close(self) -> None:
        self._local.close()
        if "_admin" in self.__dict__:
            self._admin.close()

    @cached_property
    def _admin(self) -> KafkaAdminClient:
        where = ", ".join(self._addresses)
        settings = self._settings("admin") | _SHORT_TIMEOUTS
        admin = self._when_ready(f"connecting to Kafka at {where}", lambda: KafkaAdminClient(**settings))
        version = broker_version(admin)
        try:
            client.require_version(version, self._addresses)
        except ConfigError:
            admin.close()
            raise
        return admin

    @cached_property
    def _topics(self) -> KafkaTopics:
        return KafkaTopics(self._admin, self._readiness_retry)

    @cached_property
    def _hanging(self) -> HangingTransactions:
        return HangingTransactions(
            self._admin,
            lambda tp: KafkaReader(self._settings("reader"), [tp], uncommitted=True),
            self._addresses,
            self._qualified_name(""),
            f"User:{self._kafka.username or 'NAME'}",
        )

    def _complete_hanging(self, tps: Sequence[TopicPartition]) -> None:
        """Raises TransientError if committed records of these partitions are hidden by a transaction that hangs."""
        ends, logs = self.end_offsets(tps), KafkaLogs(self._admin, self._topics, self._when_ready).describe(tps)
        blocked = self._hanging.repair([tp for tp in tps if ends[tp] < logs[tp].end])
        if causes := [each.cause for each in blocked if not each.is_active]:
            raise TransientError("; ".join(causes))

    def _settings(self, name: str) -> dict[str, object]:
        return client.client_settings(self._addresses, self._kafka, self._qualified_name(name))

    def _read_offsets_retention_minutes(self) -> int | None:
        """The smallest value of the nodes."""
        nodes = [str(node["broker_id"]) for node in self._admin.describe_cluster()["brokers"]]
        key = "offsets.retention.minutes"
        resources = [ConfigResource(ConfigResourceType.BROKER, node, [key]) for node in nodes]
        described = self._admin.describe_configs(resources, config_filter="all")["broker"].values()
        return min((int(each[key]["value"]) for each in described if key in each), default=None)

    def _qualified_name(self, name: str) -> str:
        return f"{self._kafka.environment}.{name}"

    def _offsets(self, specs: Mapping[TopicPartition, object]) -> dict[TopicPartition, int]:
        for tp in specs:
            if tp.partition >= self._topics.get(tp.topic).partitions:
                raise ConfigError(f"partition {tp.topic}/{tp.partition} does not exist")
        if not specs:
            return {}
        admin = self._admin
        client_specs = {ClientPartition(*tp): at for tp, at in specs.items()}
        offsets = self._when_ready(
            "listing offsets", lambda: admin.list_partition_offsets(client_specs, isolation_level=READ_COMMITTED)
        )
        return {TopicPartition(*tp): at.offset for tp, at in offsets.items()}

    def _group_offsets(self, group: str, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]:
        admin, name = self._admin, self._qualified_name(group)
        client_tps = [ClientPartition(*tp) for tp in tps]
        offsets = self._when_ready(
            f"listing the positions of group {name!r}", lambda: _list_group_offsets(admin, name, client_tps)
        )
        return {TopicPartition(*tp): at.offset for tp, at in offsets.items()}

    def _when_ready(self, action: str, request: Callable[[], R]) -> R:
        """The response to a request; the request is repeated while the cluster is not ready."""

        def attempt() -> R:
            with client.translate_errors(action):
                try:
                    return request()
                except errors.UnknownBrokerIdError:  # a node that has come back
                    refresh_nodes(self._admin)
                    return request()

        return self._readiness_retry.call(attempt)


def _list_group_offsets(
    admin: KafkaAdminClient, group: str, tps: Sequence[ClientPartition]
) -> Mapping[ClientPartition, OffsetAndMetadata]:
    try:
        offsets: Mapping[ClientPartition, OffsetAndMetadata] = admin.list_group_offsets({group: tps})[group]
    except errors.KafkaError:
        forget_coordinators(admin)
        raise
    return offsets


def read_cursors(
    reader: Reader, tp: TopicPartition, begin: int, end: int, stall_limit_s: float = STALL_LIMIT_S
) -> dict[str, bytes]:
    """The last value of each key before `end`. Reads until the position reaches the end, because the last offsets may
    be gaps. Raises TransientError if the position stays the same for `stall_limit_s`."""
    cursors: dict[str, bytes] = {}
    reader.seek(tp, begin)
    position, progressed_s = begin, time.monotonic()
    while (now := reader.position(tp)) < end:
        if now > position:
            position, progressed_s = now, time.monotonic()
        if time.monotonic() - progressed_s > stall_limit_s:
            raise TransientError(
                f"{tp.topic}/{tp.partition}: nothing was read at offset {now} of {end} for {stall_limit_s:.0f} s"
            )
        for record in reader.poll(0.2, 1000):
            cursors[record.key.decode()] = record.value
    return cursors
