"""Reads Kafka as a member of a group."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import Any
from uuid import UUID

import structlog
from kafka import ConsumerRebalanceListener, KafkaAdminClient, OffsetAndMetadata, errors
from kafka import KafkaConsumer as Client
from kafka import TopicPartition as ClientPartition
from kafka.admin import MemberToRemove
from kafka.consumer.fetcher import ConsumerRecord
from kafka.structs import ConsumerGroupMetadata, MemberState

from shared.broker.contract import Loss, PollResult, TopicPartition
from shared.broker.kafka.client import REQUEST_TIMEOUT_S, reason_of, translate_errors
from shared.broker.kafka.damage import damage_of
from shared.broker.kafka.hanging_transactions import HangingTransactions
from shared.broker.kafka.positions import PositionStore
from shared.broker.kafka.reader import CLOSE_TIMEOUT_S, READER_SETTINGS, close_client, record_of
from shared.broker.kafka.workarounds import forget_fetched, has_lost_slot, keep_finished_joins, known_topic_id
from shared.errors import Fenced, HeadraceError, TransientError

# Kafka removes a member that does not poll for this long. The watchdog ends a hung loop at the same limit.
LONGEST_BETWEEN_POLLS_S = 60
HEARTBEATS_PER_SESSION = 6
# Joining takes as long as the slowest member's batch. After this share of the session timeout it counts as hung. The
# limit doubles each time: on a busy machine every join may take longer, and a client that is always replaced too early
# would never join.
JOINING_PER_SESSION = 0.5
# How often lost partitions are looked at again.
CHECK_LOST_S = 1.0
# How often partitions are looked for whose position does not move although there are records.
CHECK_STALLED_S = 10.0
# Errors for a partition that the library's I/O thread is revoking at that moment. (It has no lock for this.)
_REVOKED_ERRORS = (KeyError, AssertionError, errors.IllegalStateError)

FetchCommitted = Callable[[TopicPartition], OffsetAndMetadata | None]
"""The offset that the group has committed on Kafka."""

log = structlog.get_logger(__name__)


class KafkaConsumer:
    """A member of a group. Its slot is a static membership: a process that restarts with the same slot takes over
    immediately, and the previous one is fenced.

    A newly assigned partition is paused until its position is known. Fetching the position needs a request, which must
    not be made in the rebalance listener (it runs in the library's I/O thread).
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        group: str,
        topics: Sequence[str],
        slot: str,
        session_timeout_s: float,
        make_positions: Callable[[FetchCommitted], PositionStore],
        hanging: HangingTransactions,
    ) -> None:
        self._settings = settings
        self._group = group
        self._topics = list(topics)
        self._slot = slot
        self._session_timeout_s = session_timeout_s
        self._lock = threading.Lock()
        self._assigned: set[TopicPartition] = set()
        self._revoked: set[TopicPartition] = set()
        self._owned: set[TopicPartition] = set()
        self._paused: set[TopicPartition] = set()
        self._client = self._connect()
        self._joining_since_s = time.monotonic()
        self._join_limit_s = session_timeout_s * JOINING_PER_SESSION
        self._positions = make_positions(self._committed)
        self._topic_ids: dict[str, UUID] = {}
        self._lost: dict[TopicPartition, Loss] = {}
        self._check_lost_at_s = 0.0
        self._hanging = hanging
        self._behind: dict[TopicPartition, int] = {}
        self._check_stalled_at_s = time.monotonic() + CHECK_STALLED_S
        self._stalled: dict[TopicPartition, str] = {}

    def assignment(self) -> frozenset[TopicPartition]:
        return frozenset(self._owned)

    def losses(self) -> Mapping[TopicPartition, Loss]:
        return dict(self._lost)

    def poll(self, timeout_s: float, max_records: int) -> PollResult:
        with self._translate_errors():
            batches = self._poll_client(timeout_s, max_records)
            # Taken at the poll, not at commit: a member removed since then would commit without a generation, and
            # Kafka does not fence that.
            group = self._client.group_metadata()
            self._require_membership()
            self._apply_rebalance()
            self._check_lost()
            self._replace_hung_client(group)
            self._check_stalled()
        readable = self._owned - self._lost.keys()
        polled = {tp: batch for each, batch in batches.items() if batch and (tp := TopicPartition(*each)) in readable}
        if self._stalled and not polled:
            raise TransientError("; ".join(self._stalled.values()))
        if polled and (group.generation_id < 0 or not group.member_id):
            self.reload()
            return PollResult([], self._positions.token(group))
        self._positions.record_epochs({tp: batch[-1].leader_epoch for tp, batch in polled.items()})
        records = [record_of(each) for batch in polled.values() for each in batch]
        return PollResult(records, self._positions.token(group))

    def seek(self, tp: TopicPartition, offset: int) -> None:
        self._require(tp)
        self._client.seek(ClientPartition(*tp), offset)

    def pause(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.update(tps)
        for here in self._client_partitions(tps):
            with suppress(*_REVOKED_ERRORS):
                self._client.pause(here)

    def resume(self, tps: Sequence[TopicPartition]) -> None:
        self._paused.difference_update(tps)
        forget_fetched(self._client, self._client_partitions(tps))
        for here in self._client_partitions(tps):
            with suppress(*_REVOKED_ERRORS):
                self._client.resume(here)

    def position(self, tp: TopicPartition) -> int:
        self._require(tp)
        if tp in self._lost:
            return self._lost[tp].position
        try:
            with self._translate_errors():
                offset = self._client.position(ClientPartition(*tp), timeout_ms=int(REQUEST_TIMEOUT_S * 1000))
        except _REVOKED_ERRORS as error:
            raise Fenced(f"{tp.topic}/{tp.partition} is being revoked from this member") from error
        if offset is None:
            raise TransientError(f"the position of {tp.topic}/{tp.partition} is not known yet")
        return int(offset)

    def reload(self) -> None:
        with self._translate_errors():
            self._require_membership()
            self._apply_rebalance()
            self._acquire(self._owned)

    def close(self) -> None:
        """Leave the group immediately, so that the other members need not wait for the session to expire."""
        member = self._client.group_metadata()
        self._positions.close()
        close_client(self._client)
        if member.generation_id >= 0 and member.member_id:
            _remove_member(self._settings, self._group, member)

    def record_rebalance(
        self, *, assigned: Collection[TopicPartition] = (), revoked: Collection[TopicPartition] = ()
    ) -> None:
        """Record assigned and revoked partitions. Called by the library's I/O thread; `poll` applies them."""
        with self._lock:
            self._assigned |= {TopicPartition(*tp) for tp in assigned}
            revoked_tps = {TopicPartition(*tp) for tp in revoked}
            self._assigned -= revoked_tps
            self._revoked |= revoked_tps
        if assigned:
            self._client.pause(*assigned)

    def _connect(self) -> Client:
        with self._translate_errors():
            client = Client(
                # Without a reset: reading from elsewhere would skip or repeat records in silence.
                **{**self._settings, **READER_SETTINGS, "auto_offset_reset": "none"},
                group_id=self._group,
                group_instance_id=self._slot,
                session_timeout_ms=int(self._session_timeout_s * 1000),
                heartbeat_interval_ms=int(self._session_timeout_s * 1000 / HEARTBEATS_PER_SESSION),
                max_poll_interval_ms=LONGEST_BETWEEN_POLLS_S * 1000,
            )
            keep_finished_joins(client)
            client.subscribe(self._topics, listener=_RebalanceListener(self))
        return client

    def _replace_hung_client(self, group: ConsumerGroupMetadata) -> None:
        """Replace the client if joining the group hangs.

        Seen with 3.0.12 in about one of ten groups under load: the leader's SyncGroup is answered but its task never
        continues, heartbeats stay off, and poll never returns records again. If the group is only slow, joining again
        with the same slot does no harm.
        """
        now_s = time.monotonic()
        if group.state == MemberState.STABLE:
            self._joining_since_s = now_s
            self._join_limit_s = self._session_timeout_s * JOINING_PER_SESSION
        elif now_s - self._joining_since_s > self._join_limit_s:
            log.warning("group_join_hung", group=self._group, slot=self._slot, limit_s=self._join_limit_s)
            self._joining_since_s = now_s  # also if connecting fails
            self._join_limit_s = min(2 * self._join_limit_s, LONGEST_BETWEEN_POLLS_S)
            self.record_rebalance(revoked=set(self._owned))
            self._apply_rebalance()
            former, self._client = self._client, self._connect()
            close_client(former)
            self._joining_since_s = time.monotonic()  # connecting and closing take seconds on a busy machine

    def _poll_client(self, timeout_s: float, max_records: int) -> Mapping[ClientPartition, Sequence[ConsumerRecord]]:
        """Raises Damaged if records cannot be decoded, TransientError if the records at a position are gone; `reload`
        then finds out what is lost."""
        try:
            batches: Mapping[ClientPartition, Sequence[ConsumerRecord]] = self._client.poll(
                timeout_ms=int(timeout_s * 1000), max_records=max_records
            )
        except errors.NoOffsetForPartitionError:  # a newly assigned partition, whose position is acquired next
            return {}
        except (errors.OffsetOutOfRangeError, errors.LogTruncationError) as error:
            raise TransientError(f"Kafka no longer has the records at a position: {reason_of(error)}") from error
        except errors.CorruptRecordError as error:
            forget_fetched(self._client, self._client.assignment())
            raise damage_of(error, self._settings, self.position, self._end_offset) from error
        for topic, topic_id in self._topic_ids.items():
            if known_topic_id(self._client, topic) not in (None, topic_id):
                raise TransientError(f"topic {topic!r} was deleted and recreated")
        return batches

    def _end_offset(self, tp: TopicPartition) -> int:
        here = ClientPartition(*tp)
        return int(self._client.end_offsets([here])[here])

    def _check_lost(self) -> None:
        """Look now and then whether a person has accepted the losses."""
        if self._lost and time.monotonic() >= self._check_lost_at_s:
            self._acquire(self._lost.keys() & self._owned)

    def _check_stalled(self) -> None:
        """Look now and then for partitions that cannot be read on because a transaction hangs in them: their position
        stays below the high watermark."""
        if time.monotonic() < self._check_stalled_at_s:
            return
        self._check_stalled_at_s = time.monotonic() + CHECK_STALLED_S
        before, self._behind = self._behind, {}
        for tp in self._owned - self._lost.keys() - self._paused:
            with suppress(*_REVOKED_ERRORS):
                position, high_watermark = self.position(tp), self._client.highwater(ClientPartition(*tp))
                if high_watermark is not None and position < high_watermark:
                    self._behind[tp] = position
        stalled = {tp for tp, position in self._behind.items() if before.get(tp) == position} | self._stalled.keys()
        blocked = self._hanging.repair(stalled & self._owned)
        self._stalled = {each.tp: each.cause for each in blocked if not each.is_active}

    def _committed(self, tp: TopicPartition) -> OffsetAndMetadata | None:
        """Raises TransientError if a transaction keeps the offsets of the group unstable."""
        with suppress(errors.KafkaTimeoutError):
            return self._fetch_committed(tp)
        blocked = self._hanging.repair_offsets(self._group)
        try:
            return self._fetch_committed(tp)
        except errors.KafkaTimeoutError as error:
            causes = "; ".join(each.cause for each in blocked) or "Kafka did not give them in time"
            raise TransientError(f"the offsets of group {self._group!r} are not stable: {causes}") from error

    def _fetch_committed(self, tp: TopicPartition) -> OffsetAndMetadata | None:
        return self._client.committed(ClientPartition(*tp), metadata=True, timeout_ms=int(REQUEST_TIMEOUT_S * 1000))

    def _require_membership(self) -> None:
        if has_lost_slot(self._client):
            raise errors.FencedInstanceIdError((self._group, self._slot))

    def _apply_rebalance(self) -> None:
        """Release the revoked partitions and acquire the assigned ones."""
        with self._lock:
            assigned, revoked = set(self._assigned), set(self._revoked)
            self._revoked.clear()
        self._positions.release(revoked)
        self._owned -= revoked
        self._lost = {tp: loss for tp, loss in self._lost.items() if tp not in revoked}
        if assigned:
            self._acquire(assigned)
            with self._lock:
                self._assigned -= assigned
            # After the assignment: a rebalance first revokes all partitions, and one that returns stays paused.
            self._paused &= self._owned

    def _acquire(self, tps: Collection[TopicPartition]) -> None:
        acquired = self._positions.acquire(set(tps))
        self._topic_ids |= acquired.topic_ids
        self._lost = {tp: loss for tp, loss in self._lost.items() if tp not in tps} | acquired.losses
        self._check_lost_at_s = time.monotonic() + CHECK_LOST_S
        for tp, loss in acquired.losses.items():
            with suppress(errors.IllegalStateError):
                self._client.pause(ClientPartition(*tp))
                self._client.seek(ClientPartition(*tp), loss.continue_at)  # the client insists on a position
                self._owned.add(tp)
        for tp, offset in acquired.positions.items():
            with suppress(errors.IllegalStateError):  # revoked again: the next poll releases it
                self._client.seek(ClientPartition(*tp), offset)
                forget_fetched(self._client, [ClientPartition(*tp)])
                self._owned.add(tp)
                if tp not in self._paused:
                    self._client.resume(ClientPartition(*tp))

    def _client_partitions(self, tps: Sequence[TopicPartition]) -> list[ClientPartition]:
        return [ClientPartition(*tp) for tp in tps if tp in self._owned and tp not in self._lost]

    def _require(self, tp: TopicPartition) -> None:
        if tp not in self._owned:
            raise Fenced(f"{tp.topic}/{tp.partition} is not assigned to this member")

    def _translate_errors(self) -> Any:
        return translate_errors(f"group {self._group!r}, slot {self._slot!r}")


class _RebalanceListener(ConsumerRebalanceListener):  # type: ignore[misc]  # the library has no types
    def __init__(self, consumer: KafkaConsumer) -> None:
        self._consumer = consumer

    def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self._consumer.record_rebalance(assigned=assigned)

    def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self._consumer.record_rebalance(revoked=revoked)

    def on_partitions_lost(self, lost: Collection[TopicPartition]) -> None:
        self._consumer.record_rebalance(revoked=lost)


def _remove_member(settings: Mapping[str, Any], group: str, member: ConsumerGroupMetadata) -> None:
    """Remove a static member from its group: it does not leave by itself, and its partitions would have no owner until
    the session expires. The member id is given too, so that a successor with the same slot is not removed."""
    with suppress(errors.KafkaError, HeadraceError):
        admin = KafkaAdminClient(**{**settings, "bootstrap_timeout_ms": int(CLOSE_TIMEOUT_S * 1000)})
        try:
            admin.remove_group_members(
                group, [MemberToRemove(member_id=member.member_id, group_instance_id=member.group_instance_id)]
            )
        finally:
            admin.close()
