"""What a broker must do for Headrace: the words every service and both brokers share.

Offsets of a partition rise; the next offset after a record is its offset + 1, but offsets may have gaps (Kafka's
transaction markers), so nobody counts with them. A *unit* is one atomic step: all of its appends, advances and
cursors become visible together, or none does. An *ownership token* comes with each poll and goes into `advance`: if
the partition was given to somebody else in the meantime, the unit is `Fenced`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, Self

from shared.database.connection import DbConnection
from shared.topics import TopicSpec

Headers = Mapping[str, bytes]


class TopicPartition(NamedTuple):
    topic: str
    partition: int


class Record(NamedTuple):
    """An entry of the log. `timestamp_ms` is when it was appended."""

    topic: str
    partition: int
    offset: int
    timestamp_ms: int
    key: bytes
    value: bytes
    headers: Headers

    @property
    def place(self) -> str:
        """Where it is, for people and for `inputs`: topic/partition/offset."""
        return f"{self.topic}/{self.partition}/{self.offset}"


class NewRecord(NamedTuple):
    """What a handler wants appended; the key chooses the partition unless one is named."""

    topic: str
    key: bytes
    value: bytes
    headers: Headers
    partition: int | None = None


class Ownership(Protocol):
    """Proof that the partitions of a poll were ours when it returned."""

    @property
    def partitions(self) -> frozenset[TopicPartition]: ...


class Polled(NamedTuple):
    """Records of one poll, each partition's in offset order, and the token to advance them with."""

    records: list[Record]
    token: Ownership


class Consumer(Protocol):
    """A member of a group. Not thread-safe: one thread calls it, always the same."""

    def assignment(self) -> frozenset[TopicPartition]:
        """The partitions this member owns now."""
        ...

    def poll(self, timeout_s: float, max_records: int) -> Polled:
        """Wait up to `timeout_s` for records; may return none. Keeps membership alive also while paused.

        Raises TransientError when the broker is away; HeadraceError when another process has got this slot, which
        ends this one (both going on would fence each other for ever).
        """
        ...

    def seek(self, tp: TopicPartition, offset: int) -> None:
        """Go on from there. Like `position`, raises Fenced for a partition that is not assigned."""
        ...

    def pause(self, tps: Sequence[TopicPartition]) -> None: ...

    def resume(self, tps: Sequence[TopicPartition]) -> None: ...

    def position(self, tp: TopicPartition) -> int:
        """The offset of the next record that poll would give."""
        ...

    def reload(self) -> None:
        """Forget what was polled and not advanced: go back to the committed positions. After any failed unit.

        Raises as `poll` does.
        """
        ...

    def close(self) -> None: ...


class Reader(Protocol):
    """Reads without a group and without moving anything: replays, audits, `headrace topics`."""

    def poll(self, timeout_s: float, max_records: int) -> list[Record]: ...

    def seek(self, tp: TopicPartition, offset: int) -> None: ...

    def position(self, tp: TopicPartition) -> int:
        """Where it is: at the end offset, all is read, whatever the last record's offset was."""
        ...

    def close(self) -> None: ...


class Unit(Protocol):
    """One atomic step. After commit raised, it and its producer are dead: nothing but `abort` and `close` may be
    called. What was committed is visible to others soon, and to a producer made later at once."""

    def append(self, records: Sequence[NewRecord]) -> None: ...

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        """Commit positions (the next offset to read) of the token's group; `ctl_seq` is the order last obeyed.

        Said twice of a partition, the last one holds. Raises Fenced for a partition that is not in the token.
        """
        ...

    def cursor_set(self, topic: str, key: str, value: bytes) -> None:
        """Set keyed state in a compacted topic."""
        ...

    def commit(self) -> None:
        """Raises Fenced, Aborted or Unknown (shared/errors.py)."""
        ...

    def abort(self) -> None:
        """Drop everything; safe to call more than once, and after commit."""
        ...

    def __enter__(self) -> Self:
        """Leaving the block without a commit aborts."""
        ...

    def __exit__(self, *_: object) -> None: ...


class DatabaseUnit(Unit, Protocol):
    """A unit that lives in a PostgreSQL transaction: the caller's rows and the positions commit together."""

    @property
    def connection(self) -> DbConnection: ...


class Producer(Protocol):
    """Makes units under the name of a slot; making a second producer of the same slot fences the first.

    Once a unit failed, make another producer before anything else: that settles what became of the unit.
    """

    def unit(self) -> Unit: ...

    def db_unit(self) -> DatabaseUnit: ...

    def close(self) -> None: ...


class Span(NamedTuple):
    """Offsets of a partition from `begin` to before `end`."""

    tp: TopicPartition
    begin: int
    end: int


class RecordCount(Protocol):
    """Counts records between offsets. Raises TransientError when the broker does not answer."""

    def count(self, spans: Collection[Span]) -> dict[Span, int]:
        """Records in each span."""
        ...

    def empty(self, spans: Collection[Span]) -> frozenset[Span]:
        """The spans that hold no record."""
        ...


class Waiting(NamedTuple):
    """Records that wait to be read. `oldest_ms` is when the first of them was appended; None: none waits, or it is not
    known yet."""

    records: int
    exact: bool
    oldest_ms: int | None


Stretch = tuple[int, int]
"""A position, and the end it is before or at."""


class Backlog(Protocol):
    """Measures what waits between positions and ends. Raises TransientError when the broker does not answer."""

    def look(self, stretches: Mapping[TopicPartition, Stretch], *, thorough: bool) -> dict[TopicPartition, Waiting]:
        """`thorough`: for a caller who waits; without it this is one look of many, and may leave work to the next."""
        ...

    def close(self) -> None: ...


class Broker(Protocol):
    """Topics, and who reads and writes them.

    `gapless`: every offset from the begin to the end offset of a partition holds a record. `table_prefix` stands before
    a topic's name in the tables of the schema `broker`, where positions and outputs that commit with rows lie.
    `has_outbox`: these outputs reach their topics later, through a relay.
    """

    @property
    def gapless(self) -> bool: ...

    @property
    def table_prefix(self) -> str: ...

    @property
    def has_outbox(self) -> bool: ...

    @property
    def client_errors(self) -> tuple[type[Exception], ...]:
        """Errors of its client library, which a reader may raise beside those of shared/errors.py."""
        ...

    def ensure_topics(self, specs: Sequence[TopicSpec]) -> None:
        """Create what is missing. Raises ConfigError where a topic exists with another number of partitions."""
        ...

    def partitions(self, topic: str) -> list[TopicPartition]: ...

    def begin_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]: ...

    def end_offsets(self, tps: Sequence[TopicPartition]) -> dict[TopicPartition, int]: ...

    def offsets_for_times(self, tps: Sequence[TopicPartition], at: datetime) -> dict[TopicPartition, int]:
        """Per partition the first offset appended at or after `at`; its end offset where there is none."""
        ...

    def committed(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """The group's committed positions; the begin offset where it has none yet."""
        ...

    def consumer(self, group: str, topics: Sequence[str], slot: str, *, in_database: bool = False) -> Consumer:
        """`in_database`: the group's positions lie in PostgreSQL and are advanced by `db_unit` only."""
        ...

    def reader(self, tps: Sequence[TopicPartition]) -> Reader: ...

    def producer(self, slot: str, *, in_database: bool = False) -> Producer:
        """`in_database`: for `db_unit`; without it, for `unit`. What the slot's former producer left open is ended."""
        ...

    def cursors(self, topic: str, *, in_database: bool = False) -> dict[str, bytes]:
        """All keyed state of a compacted topic, as committed; `in_database`: what was set by a `db_unit`."""
        ...

    def group_offsets(self, group: str, topics: Sequence[str]) -> dict[TopicPartition, int]:
        """Offsets committed for the group on the broker itself, -1 where none was; empty where it keeps no such offsets
        beside the positions of `committed`."""
        ...

    def record_count(self) -> RecordCount: ...

    def backlog(self) -> Backlog: ...

    def stored_bytes(self, topic: str) -> int | None:
        """The size of a topic's records as stored; None: the broker does not say."""
        ...

    def probe(self) -> None:
        """Raises TransientError at once when nothing listens at the broker's address."""
        ...

    def health(self) -> None:
        """Raises TransientError when the broker cannot be reached."""
        ...

    def close(self) -> None: ...
