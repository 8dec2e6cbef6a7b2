"""Defines the broker interface that both brokers implement: topics, consumers, readers, producers and units.

The offsets of a partition increase. A reader continues at a record's offset + 1, but offsets may have gaps (Kafka's
transaction markers), so a difference of offsets is not a number of records. A *unit* is one atomic step: all of its
appends, advances and cursors become visible together, or none does. Each poll returns an *ownership token*, which is
passed to `advance`: if the partition has been reassigned in the meantime, the unit raises `Fenced`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Literal, NamedTuple, Protocol, Self
from uuid import UUID

from shared.database.connection import DbConnection
from shared.errors import BrokerError, TransientError
from shared.topics import TopicSpec

Headers = Mapping[str, bytes]


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Record(NamedTuple):
    """A record in a topic. `timestamp_ms` is the Unix time at which it was appended."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes
    headers: Headers

    @property
    def place(self) -> str:
        """Its location as text, topic/partition/offset: used in messages and in the `inputs` of events."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class NewRecord(NamedTuple):
    """A record to append. The key determines the partition unless `partition` is set."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers
    partition: int | None = None


class Ownership(Protocol):
    """Ownership token: proves that this member owned the partitions when the poll returned."""

    @property
    def partitions(self) -> frozenset[TopicPartition]: ...


class PollResult(NamedTuple):
    """The records of one poll, in offset order within each partition, and the token to advance them with."""

    records: list[Record]
    token: Ownership


LossKind = Literal["removed", "truncated", "recreated", "forgotten"]


class Loss(NamedTuple):
    """Records of a partition that were gone before its group read them (losses.py).

    `kind`: removed (by retention), truncated, recreated (another topic of the same name), forgotten (the group's
    offset). `position` is the offset at which the group stopped, `kafka_id` the topic that is there now, `continue_at`
    where reading continues once the loss is accepted. `records` is an upper bound where it is known, otherwise 1;
    `uncounted` is the part of it that was not recorded before. `cause` is a text for people, with the command that
    accepts the loss.
    """

    kind: LossKind
    position: int
    kafka_id: UUID
    continue_at: int
    records: int
    cause: str
    uncounted: int = 0


class Consumer(Protocol):
    """A member of a group. Not thread-safe: always call it from the same thread."""

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions this member owns now."""
        ...

    def losses(self) -> Mapping[TopicPartition, Loss]:
        """The owned partitions whose position cannot be continued because records are gone. `poll` returns nothing of
        them until a person accepts the loss."""
        ...

    def poll(self, timeout_s: float, max_records: int) -> PollResult:
        """Wait up to `timeout_s` for records; may return none. Keeps the membership alive, also while paused.

        Raises TransientError when the broker is unavailable, and HeadraceError when another process has taken this
        slot: this process must then exit, because the two would keep fencing each other. Raises Damaged for a partition
        whose next records cannot be decoded; pause it to read the others.
        """
        ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Continue at this offset. Like `position`, raises Fenced for a partition that is not assigned."""
        ...

    def pause(self, tps: Sequence[TopicPartition]) -> None: ...

    def resume(self, tps: Sequence[TopicPartition]) -> None: ...

    def position(self, tp: TopicPartition) -> int:
        """The offset of the next record that poll would return."""
        ...

    def reload(self) -> None:
        """Return to the committed positions. Call it after every failed unit.

        Raises the same errors as `poll`.
        """
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """Reads without a group and commits no positions. Used by replays, audits and `headrace topics`."""

    def poll(self, timeout_s: float, max_records: int) -> list[Record]: ...

    def seek(self, tp: TopicPartition, offset: int) -> None: ...

    def position(self, tp: TopicPartition) -> int:
        """The next offset to read. Equal to the end offset once everything is read, whatever the last record's offset
        was."""
        ...

    def close(self) -> None: ...


class Unit(Protocol):
    """One atomic step. If `commit` raises, only `abort` may be called on the unit and only `close` on its producer.
    A committed unit becomes visible to other clients soon, and to a producer created later immediately."""

    def append(self, records: Sequence[NewRecord]) -> None: ...

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        """Commit positions (the next offset to read) of the token's group. `ctl_seq` is the number of the newest order
        that the loop obeys.

        A later call for the same partition replaces the earlier one. Raises Fenced for a partition that is not in the
        token.
        """
        ...

    def cursor_set(self, topic: str, key: str, value: bytes) -> None:
        """Set keyed state in a compacted topic."""
        ...

    def commit(self) -> None:
        """Raises Fenced, Aborted or Unknown (shared/errors.py)."""
        ...

    def abort(self) -> None:
        """Discard the unit. Safe to call more than once, and after commit."""
        ...

    def __enter__(self) -> Self:
        """Leaving the block without a commit aborts the unit."""
        ...

    def __exit__(self, *_: object) -> None: ...


class DatabaseUnit(Unit, Protocol):
    """A unit that is a PostgreSQL transaction: the caller's rows and the positions commit together."""

    @property
    def connection(self) -> DbConnection: ...


class Producer(Protocol):
    """Creates units under a slot's name. Creating a second producer for the same slot fences the first.

    After a failed unit, create a new producer before anything else: that settles whether the unit was committed.
    """

    def unit(self) -> Unit: ...

    def db_unit(self) -> DatabaseUnit: ...

    def verify(self) -> None:
        """Raises WentBack if the database has lost units of this producer. Call it now and then while no unit is due:
        what was read from the database is then no longer true."""
        ...

    def close(self) -> None: ...


class OffsetRange(NamedTuple):
    """The offsets of a partition from `begin` (inclusive) to `end` (exclusive)."""

    tp: TopicPartition
    begin: int
    end: int


class Damaged(BrokerError):
    """Stored records of a partition cannot be decoded, from the member's position to before `end`; other partitions can
    be read. A reader neither skips them nor returns records after them."""

    def __init__(self, tp: TopicPartition, position: int, end: int, cause: str) -> None:
        super().__init__(f"{tp.topic}/{tp.partition}: the records from offset {position} to before {end}: {cause}")
        self.tp, self.position, self.end, self.cause = tp, position, end, cause


class OffsetsGone(TransientError):
    """A reader stands before the first record that is left, or after the end of the log: it neither skips nor repeats
    records. `begin`: the first offset that is left, `count`: how many offsets before it are gone."""

    def __init__(self, tp: TopicPartition, position: int, begin: int) -> None:
        self.tp, self.position, self.begin, self.count = tp, position, begin, max(0, begin - position)
        place = f"{tp.topic}/{tp.partition}"
        super().__init__(
            f"{place}: the {self.count} offsets from {position} to before {begin} are gone, because retention removed"
            f" them; read from {begin} on, or restore them from an earlier topic or the archive (`headrace replay`)"
            if position < begin
            else f"{place}: the log ends before offset {position}, because its end was lost; read it from the begin"
        )


class RecordCount(Protocol):
    """Counts records between offsets. Raises TransientError when the broker does not answer."""

    def count(self, spans: Collection[OffsetRange]) -> dict[OffsetRange, int]:
        """The number of records in each range."""
        ...

    def empty(self, spans: Collection[OffsetRange]) -> frozenset[OffsetRange]:
        """The ranges that contain no record."""
        ...


class PartitionBacklog(NamedTuple):
    """The unread records of a partition. `exact`: False if `records` is an estimate. `oldest_ms` is the Unix time at
    which the first of them was appended, None if there is none or it is not known yet."""

    records: int
    exact: bool
    oldest_ms: int | None


PositionAndEnd = tuple[int, int]
"""A position and the end offset of its partition, which is not smaller."""


class Backlog(Protocol):
    """Counts the records between positions and end offsets. Raises TransientError when the broker does not answer."""

    def measure(
        self, ranges: Mapping[TopicPartition, PositionAndEnd], *, thorough: bool
    ) -> dict[TopicPartition, PartitionBacklog]:
        """`thorough`: take the time to count exactly. Otherwise the call is one of many and may leave work to the
        next."""
        ...

    def close(self) -> None: ...


class Broker(Protocol):
    """Topics, offsets and positions, and the factory of consumers, readers and producers.

    `gapless`: every offset from the begin to the end offset of a partition holds a record. `table_prefix` precedes a
    topic's name in the tables of the schema `broker`, which hold the positions and outputs that commit together with
    rows. `has_outbox`: a relay copies these outputs to their topics later.
    """

    @property
    def gapless(self) -> bool: ...

    @property
    def table_prefix(self) -> str: ...

    @property
    def has_outbox(self) -> bool: ...

    @property
    def client_errors(self) -> tuple[type[Exception], ...]:
        """Errors of the client library that a reader may raise in addition to those of shared/errors.py."""
        ...

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create the missing topics. Raises ConfigError if a topic exists with a different number of partitions."""
        ...

    def partitions(self, topic: str) -> list[TopicPartition]: ...

    def begin_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]: ...

    def end_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]: ...

    def offsets_for_times(self, tps: Sequence[TopicPartition], at: datetime) -> dict[TopicPartition, int]:
        """Per partition, the offset of the first record appended at or after `at`; the end offset if there is none."""
        ...

    def committed(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """The group's committed positions; the begin offset of partitions without one."""
        ...

    def consumer(self, group: str, topics: Sequence[str], slot: str, *, in_database: bool = False) -> Consumer:
        """`in_database`: the group's positions are stored in PostgreSQL and only `db_unit` advances them."""
        ...

    def reader(self, tps: Sequence[TopicPartition], *, complete: bool = False) -> Reader:
        """`complete`: `poll` raises OffsetsGone if the records at an offset that was sought are gone. Otherwise it goes
        on at the first record that is left, which suits measurements."""
        ...

    def producer(self, slot: str, *, in_database: bool = False) -> Producer:
        """`in_database`: the producer supports `db_unit`, otherwise `unit`. Ends the open unit of the slot's previous
        producer."""
        ...

    def cursors(self, topic: str, *, in_database: bool = False) -> dict[str, bytes]:
        """All committed keyed state of a compacted topic. `in_database`: the state that was set by a `db_unit`."""
        ...

    def group_offsets(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """The offsets committed for the group on the broker itself, -1 for partitions without one. Empty if the broker
        keeps no such offsets besides the positions of `committed`."""
        ...

    def offsets_retention_s(self) -> float | None:
        """How long the broker keeps the offsets of a group that is stopped, in seconds; None if it never forgets them,
        or does not say."""
        ...

    def record_count(self) -> RecordCount: ...

    def backlog(self) -> Backlog: ...

    def stored_bytes(self, topic: str) -> int | None:
        """The stored size of a topic's records in bytes; None if the broker does not report it."""
        ...

    def probe(self) -> None:
        """Raises TransientError immediately if nothing listens at the broker's address."""
        ...

    def health(self) -> None:
        """Raises TransientError when the broker cannot be reached."""
        ...

    def close(self) -> None: ...
