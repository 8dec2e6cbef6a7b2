"""Works around faults of kafka-python 3.0.12, one definition per fault. Only this module uses its private members.

The version is pinned below 3.1. tests/shared/broker/kafka/test_traps.py shows the faults on a real broker. When an
upgrade fixes a fault, delete its definition here.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from kafka import KafkaAdminClient, OffsetAndMetadata, errors
from kafka import KafkaConsumer as ConsumerClient
from kafka import KafkaProducer as ProducerClient
from kafka import TopicPartition as ClientPartition
from kafka.net.compat import KafkaNetClient
from kafka.net.connection import KafkaConnection
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.protocol.consumer import OffsetForLeaderEpochRequest
from kafka.protocol.producer.transaction import WriteTxnMarkersRequest
from kafka.structs import ConsumerGroupMetadata, MemberState

from shared.broker.hanging import Marker
from shared.broker.kafka.security import refusal
from shared.errors import ConfigError

_RECONNECT_PAUSE_S = 0.05


class NoAnswerYet(errors.KafkaTimeoutError):  # type: ignore[misc]  # the library has no types
    """The broker accepts connections but does not answer: a starting broker opens its port before it is ready."""


class DiagnosingConnectionManager(KafkaConnectionManager):  # type: ignore[misc]  # the library has no types
    """A connection manager that reports why the first connection fails."""

    def __init__(self, net: Any, **configs: Any) -> None:
        self._is_bootstrapping = False
        self._refusal: ConfigError | None = None
        self._last_error: BaseException | None = None
        super().__init__(net, **configs)

    def bootstrap(self, timeout_ms: float | None = None, refresh: bool = True) -> None:
        """Raises ConfigError if the broker's refusal shows that a setting is wrong.

        A client that fails here is never returned, so its caller cannot close it. The library would leak its thread
        and its sockets at every attempt while a broker is unavailable.
        """
        self._is_bootstrapping = True
        try:
            super().bootstrap(timeout_ms, refresh)
        except BaseException as error:
            self.close()
            self._net.close()
            if isinstance(error, errors.KafkaTimeoutError):
                silent = isinstance(self._last_error, errors.RequestTimedOutError)
                kind = NoAnswerYet if silent else errors.KafkaTimeoutError
                raise kind(f"no answer{_cause_suffix(self._last_error)}") from error
            raise
        finally:
            self._is_bootstrapping = False

    def get_connection(self, node_id: object, **options: Any) -> KafkaConnection:
        """Raises the refusal during the bootstrap only. Later the library retries a failed connection: a client that
        was accepted once must survive a broker that is being reconfigured."""
        if self._is_bootstrapping and self._refusal is not None:
            raise self._refusal
        connection = super().get_connection(node_id, **options)
        connection.init_future.add_errback(self._record_error)
        return connection

    async def _build_transport(self, *arguments: Any, **options: Any) -> Any:
        """A broker that refuses a client sends the reason, then disconnects. If both arrive together, the library loses
        the reason."""
        transport = await super()._build_transport(*arguments, **options)
        receive = transport._sock_recv

        def words_first() -> tuple[bytes, BaseException | None]:
            words, end = receive()
            return words, (None if words else end)  # the next call returns the end again

        transport._sock_recv = words_first
        return transport

    def _record_error(self, error: BaseException) -> None:
        self._last_error = error
        self._refusal = refusal(error, self.config["bootstrap_servers"])


def _cause_suffix(error: BaseException | None) -> str:
    return "" if error is None else f" (last attempt: {error})"


class SafeClient(KafkaNetClient):  # type: ignore[misc]  # the library has no types
    """A client whose transactions survive a restart of the broker.

    If the coordinator is unavailable, the library raises and drops the request that it was about to send, and the
    caller waits for the reply without end (fixed after 3.0.12: dpkp/kafka-python#3110). Returning "not ready" keeps
    the request.
    """

    def __init__(self, **configs: Any) -> None:
        net = NetworkSelector(**configs)
        super().__init__(net, DiagnosingConnectionManager(net, **configs), **configs)

    def await_ready(self, node_id: int, timeout_ms: float = 30000) -> bool:
        try:
            return bool(super().await_ready(node_id, timeout_ms=timeout_ms))
        except errors.KafkaConnectionError:
            time.sleep(_RECONNECT_PAUSE_S)
            return False


class TimeLimitedProducer(ProducerClient):  # type: ignore[misc]  # the library has no types
    """A producer that limits the wait at each step of a transaction. The library offers no limit."""

    def __init__(self, answer_s: float, **settings: Any) -> None:
        self._answer_ms = int(answer_s * 1000)
        super().__init__(**settings)

    def send_offsets_to_transaction(
        self, offsets: Mapping[ClientPartition, OffsetAndMetadata], group: ConsumerGroupMetadata
    ) -> None:
        self._answered(self._transaction_manager.send_offsets_to_transaction(offsets, group))

    def commit_transaction(self) -> None:
        self._answered(self._transaction_manager.begin_commit())

    def _answered(self, result: Any) -> None:
        self._sender.wakeup()
        if not result.wait(timeout_ms=self._answer_ms):
            raise errors.KafkaTimeoutError(f"no answer for {self._answer_ms / 1000:.0f} s")


def keep_finished_joins(client: ConsumerClient) -> None:
    """Use the result of a join that finishes between two polls.

    The library (3.0.12) discards it and joins again at the next poll. If the group's leader does so, all members must
    join again, so a group whose members poll briefly, or work between polls, may rebalance without end.
    """
    coordinator = client._coordinator
    join = coordinator._do_join_and_sync_async
    finished: list[bytes] = []

    async def join_or_finish() -> bytes:
        # If the library has used the last join, the member's state is stable.
        if finished and coordinator.state == MemberState.REBALANCING:
            return finished.pop()
        finished.clear()
        assignment: bytes = await join()
        finished.append(assignment)
        return assignment

    coordinator._do_join_and_sync_async = join_or_finish


def forget_fetched(client: ConsumerClient, tps: Collection[ClientPartition]) -> None:
    """Discard the records of partitions that are fetched but not returned; they are fetched again from the position.

    The library (3.0.12) sets the records of a paused partition aside. After `resume` it returns to them only if the
    records of no other partition came since, and until then it does not fetch the partition. And after a wrong checksum
    it keeps the batch that it cannot decode; a poll from the same position would loop without end.
    """
    fetcher = client._fetcher
    for tp in tps:
        fetcher._paused_partition_records.pop(tp, None)
        if fetcher._next_partition_records is not None and fetcher._next_partition_records.topic_partition == tp:
            fetcher._next_partition_records = None


def has_lost_slot(client: ConsumerClient) -> bool:
    """Whether another process has taken the slot. The library then stops its heartbeats, logs it, and polls on."""
    coordinator = client._coordinator
    return bool(coordinator.stable() and not coordinator._heartbeat_enabled)


def force_close(client: ProducerClient) -> None:
    """Stop the library's sender thread. `close` flushes first, fails if the broker is unavailable, and would leave the
    thread running."""
    client._sender.force_close()


def broker_version(admin: KafkaAdminClient) -> Any:
    """The version of the broker, which has no public accessor."""
    return admin._manager.broker_version


def forget_coordinators(admin: KafkaAdminClient) -> None:
    """Discard the cached coordinators: the library never does, even when a group has moved to another node."""
    admin._manager.cluster._coordinators.clear()


def refresh_nodes(admin: KafkaAdminClient) -> None:
    """Ask for the nodes of the cluster: the library does so every five minutes only, and until then refuses requests to
    a node that was away meanwhile (UnknownBrokerIdError)."""
    admin._manager.run(admin._manager.cluster.refresh_metadata)


def known_topic_id(client: ConsumerClient, topic: str) -> UUID | None:
    """The topic's id in the consumer's metadata, None if it is not known yet."""
    topic_id: UUID | None = client._manager.cluster.topic_id(topic)
    return topic_id


def epoch_ends(admin: KafkaAdminClient, epochs: Mapping[ClientPartition, int]) -> dict[ClientPartition, int]:
    """Where each leader epoch ends in its partition's log, -1 if the log does not know the epoch. The library asks only
    for partitions that a consumer is fetching."""
    ends: dict[ClientPartition, int] = admin._manager.run(_epoch_ends, admin, epochs)
    return ends


async def _epoch_ends(admin: KafkaAdminClient, epochs: Mapping[ClientPartition, int]) -> dict[ClientPartition, int]:
    ends: dict[ClientPartition, int] = {}
    for leader, tps in (await admin._async_get_leader_for_partitions(epochs.keys())).items():
        topics: dict[str, list[Any]] = defaultdict(list)
        for tp in tps:
            partition = OffsetForLeaderEpochRequest.OffsetForLeaderTopic.OffsetForLeaderPartition(
                partition=tp.partition, current_leader_epoch=-1, leader_epoch=epochs[tp]
            )
            topics[tp.topic].append(partition)
        request = OffsetForLeaderEpochRequest(replica_id=-1, topics=list(topics.items()))
        response = await admin._manager.send(request, node_id=leader)
        for topic in response.topics:
            for each in topic.partitions:
                if each.error_code:
                    raise errors.for_code(each.error_code)
                ends[ClientPartition(topic.topic, each.partition)] = each.end_offset
    return ends


def write_marker(admin: KafkaAdminClient, marker: Marker) -> None:
    """End a transaction in one partition, as its coordinator should have done. The library can only abort."""
    admin._manager.run(_write_marker, admin, marker)


async def _write_marker(admin: KafkaAdminClient, marker: Marker) -> None:
    tp = ClientPartition(*marker.tp)
    (leader,) = await admin._async_get_leader_for_partitions([tp])
    writable = WriteTxnMarkersRequest.WritableTxnMarker
    request = WriteTxnMarkersRequest(
        markers=[
            writable(
                producer_id=marker.producer_id,
                producer_epoch=marker.epoch,
                transaction_result=marker.commits,
                topics=[writable.WritableTxnMarkerTopic(name=tp.topic, partition_indexes=[tp.partition])],
                coordinator_epoch=marker.coordinator_epoch,
            )
        ]
    )
    response = await admin._manager.send(request, node_id=leader)
    for each in (p for result in response.markers for topic in result.topics for p in topic.partitions):
        if each.error_code:
            raise errors.for_code(each.error_code)
