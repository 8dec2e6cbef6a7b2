"""Reading Kafka: as a member of a group, or on one's own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol

from kafka import ConsumerRebalanceListener, KafkaAdminClient, errors
from kafka import KafkaConsumer as Client
from kafka import TopicPartition as ClientPartition
from kafka.admin import MemberToRemove
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import Ownership, Polled, Record, TopicPartition
from shared.broker.kafka_client import REQUEST_TIMEOUT_S, translated
from shared.broker.kafka_unit import Holding, Membership
from shared.errors import Fenced, HeadraceError, TransientError

# A member that does not poll for so long is taken for stuck; the watchdog ends a loop that is stuck before that.
LONGEST_BETWEEN_POLLS_S = 60
HEARTBEATS_PER_SESSION = 6
# Partitions of one broker are fetched together: an idle one keeps the others waiting for so long.
FETCH_WAIT_MS = 50
LARGEST_FETCH_BYTES = 8 * 1024 * 1024
CLOSE_TIMEOUT_S = 2.0

_READING = {
    "isolation_level": "read_committed",
    "enable_auto_commit": False,
    "auto_offset_reset": "earliest",
    "fetch_max_wait_ms": FETCH_WAIT_MS,
    "max_partition_fetch_bytes": LARGEST_FETCH_BYTES,
    "allow_auto_create_topics": False,
    "metrics_enabled": False,
    # No deserializers: one that raises makes poll spin for ever.
}


Begins = Callable[[Collection[TopicPartition]], dict[TopicPartition, int]]


class Positions(Protocol):
    """Where a group's positions lie."""

    def take(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Make partitions ours, from now on and for this owner only; the positions to go on from."""
        ...

    def drop(self, tps: Collection[TopicPartition]) -> None:
        """They are ours no more."""
        ...

    def token(self, group: ConsumerGroupMetadata) -> Ownership: ...

    def close(self) -> None: ...


class GroupPositions:
    """Positions in the group's own offsets, advanced by transactions."""

    def __init__(self, client: Client, begins: Begins) -> None:
        self._client = client
        self._begins = begins
        self._held: dict[TopicPartition, Holding] = {}

    def take(self, tps: Collection[TopicPartition]) -> Mapping[TopicPartition, int]:
        """Waits for transactions that are just being settled: what they advance is read, not what was before."""
        self.drop(tps)
        self._held.update({tp: Holding() for tp in tps})
        found = {tp: self._committed(tp) for tp in tps}
        begins = self._begins([tp for tp, offset in found.items() if offset is None])
        return begins | {tp: offset for tp, offset in found.items() if offset is not None}

    def drop(self, tps: Collection[TopicPartition]) -> None:
        for tp in tps:
            if holding := self._held.pop(tp, None):
                holding.valid = False

    def token(self, group: ConsumerGroupMetadata) -> Ownership:
        return Membership(group, dict(self._held))

    def close(self) -> None:
        self.drop(list(self._held))

    def _committed(self, tp: TopicPartition) -> int | None:
        offset = self._client.committed(ClientPartition(*tp), timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
        return None if offset is None else int(offset)


class KafkaConsumer:
    """A member of a group. Its slot is a static membership: a process that starts again under the slot takes over at
    once, and the one before is fenced.

    A partition that was given to us is paused until its position is known: that needs a request, which must not be
    made where we are told (the library's I/O thread).
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        group: str,
        topics: Sequence[str],
        slot: str,
        session_timeout_s: float,
        begins: Begins,
        positions: Positions | None = None,
    ) -> None:
        self._settings = settings
        self._group = group
        self._slot = slot
        self._lock = threading.Lock()
        self._given: set[TopicPartition] = set()
        self._lost: set[TopicPartition] = set()
        self._owned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        with translated(f"group {group!r}, slot {slot!r}"):
            self._client = Client(
                **settings,
                **_READING,
                group_id=group,
                group_instance_id=slot,
                session_timeout_ms=int(session_timeout_s * 1000),
                heartbeat_interval_ms=int(session_timeout_s * 1000 / HEARTBEATS_PER_SESSION),
                max_poll_interval_ms=LONGEST_BETWEEN_POLLS_S * 1000,
            )
            self._client.subscribe(list(topics), listener=_Told(self))
        self._positions = positions or GroupPositions(self._client, begins)

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._owned)

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        with self._translated():
            found = self._client.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
            # Now, not at commit: who was put out of the group since would commit as nobody, which nobody fences.
            group = self._client.group_metadata()
            self._require_membership()
            self._follow()
        records = [_record(each) for tp, batch in found.items() if TopicPartition(*tp) in self._owned for each in batch]
        if records and (group.generation_id < 0 or not group.member_id):
            self.reload()
            return Polled([], self._positions.token(group))
        return Polled(records, self._positions.token(group))

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._require(tp)
        self._client.seek(ClientPartition(*tp), offset)

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.update(tps)
        if here := [ClientPartition(*tp) for tp in tps if tp in self._owned]:
            self._client.pause(*here)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(tps)
        if here := [ClientPartition(*tp) for tp in tps if tp in self._owned]:
            self._client.resume(*here)

    def position(self, tp: TopicPartition) -> int:
        self._require(tp)
        with self._translated():
            offset = self._client.position(ClientPartition(*tp), timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
        if offset is None:
            raise TransientError(f"{tp.topic}/{tp.partition}: its position is not known yet")
        return int(offset)

    def reload(self) -> None:
        with self._translated():
            self._require_membership()
            self._follow()
            self._take(self._owned)

    def close(self) -> None:
        """Leave at once, so that the others need not wait for the session to end."""
        member = self._client.group_metadata()
        self._positions.close()
        with suppress(errors.KafkaError):
            self._client.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))
        if member.generation_id >= 0 and member.member_id:
            _leave(self._settings, self._group, member)

    def told(self, *, given: Collection[TopicPartition] = (), lost: Collection[TopicPartition] = ()) -> None:
        """From the I/O thread: what the group gives and takes. Only noted here."""
        with self._lock:
            self._given |= {TopicPartition(*tp) for tp in given}
            gone = {TopicPartition(*tp) for tp in lost}
            self._given -= gone
            self._lost |= gone
        if given:
            self._client.pause(*given)

    def _require_membership(self) -> None:
        """Where another process took the slot, the library stops its heartbeats, says so in its log, and polls on."""
        coordinator = self._client._coordinator  # pinned below 3.1; nothing public tells it
        if coordinator.stable() and not coordinator._heartbeat_enabled:
            raise errors.FencedInstanceIdError((self._group, self._slot))

    def _follow(self) -> None:
        """Let go of what was taken from us, and make ours what was given."""
        with self._lock:
            given, lost = set(self._given), set(self._lost)
            self._lost.clear()
        self._positions.drop(lost)
        self._owned -= lost
        self._paused -= lost - given
        if given:
            self._take(given)
            with self._lock:
                self._given -= given

    def _take(self, tps: Collection[TopicPartition]) -> None:
        for tp, offset in self._positions.take(tps).items():
            with suppress(errors.IllegalStateError):  # taken away again in this moment: `_follow` hears of it
                self._client.seek(ClientPartition(*tp), offset)
                self._owned.add(tp)
                if tp not in self._paused:
                    self._client.resume(ClientPartition(*tp))

    def _require(self, tp: TopicPartition) -> None:
        if tp not in self._owned:
            raise Fenced(f"{tp.topic}/{tp.partition} is not assigned to this member")

    def _translated(self) -> Any:
        return translated(f"group {self._group!r}, slot {self._slot!r}")


class _Told(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._consumer.told(given=assigned)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._consumer.told(lost=revoked)

    def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._consumer.told(lost=lost)


class KafkaReader:
    """Reads partitions from given offsets on; moves nothing."""

    def __init__(self, settings: Mapping[str, Any], tps: Sequence[TopicPartition]) -> None:
        with translated("reader"):
            self._client = Client(**settings, **_READING, group_id=None)
            self._client.assign([ClientPartition(*tp) for tp in tps])
            self._client.seek_to_beginning()

    def poll(self, timeout_s: float, max_records: int) -> list[Record]:
        with translated("reader"):
            found = self._client.poll(timeout_ms=int(timeout_s * 1000), max_records=max_records)
        return [_record(each) for batch in found.values() for each in batch]

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._client.seek(ClientPartition(*tp), offset)

    def position(self, tp: TopicPartition) -> int:
        """The offset of the next record that poll would give, or the end."""
        with translated("reader"):
            return int(self._client.position(ClientPartition(*tp)))

    def close(self) -> None:
        with suppress(errors.KafkaError):
            self._client.close(autocommit=False, timeout_ms=int(CLOSE_TIMEOUT_S * 1000))


def _leave(settings: Mapping[str, Any], group: str, member: ConsumerGroupMetadata) -> None:
    """A static member does not leave by itself: its partitions would wait for the session to end. Named by its member
    id too, so that a successor under the same slot is not put out."""
    with suppress(errors.KafkaError, HeadraceError):
        admin = KafkaAdminClient(**{**settings, "bootstrap_timeout_ms": int(CLOSE_TIMEOUT_S * 1000)})
        try:
            admin.remove_group_members(
                group, [MemberToRemove(member_id=member.member_id, group_instance_id=member.group_instance_id)]
            )
        finally:
            admin.close()


def _record(found: ConsumerRecord) -> Record:
    return Record(
        found.topic, found.partition, found.offset, found.timestamp, found.key or b"", found.value or b"",
        dict(found.headers),
    )  # fmt: skip
