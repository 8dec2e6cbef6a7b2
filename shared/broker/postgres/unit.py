"""Implements the units of the embedded broker: each is one PostgreSQL transaction."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import psycopg

from shared.broker.contract import NewRecord, Ownership, TopicPartition
from shared.broker.postgres import log as postgres_log
from shared.broker.postgres.log import PostgresTopics
from shared.database.connection import TIMEOUTS, ReconnectingConnection, TimeoutConnection, Timeouts, first_line
from shared.errors import Aborted, BrokerError, Fenced, TransientError, Unknown, WentBack


@dataclass
class Lease:
    """The lease of an owned partition: its epoch and its committed position. `leader_epoch`: on Kafka, that of the
    last polled record."""

    epoch: int
    committed: int
    leader_epoch: int | None = None


@dataclass(frozen=True)
class Leases:
    """The embedded broker's ownership token."""

    group: str
    held: Mapping[TopicPartition, Lease]

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        return frozenset(self.held)


@dataclass
class HeldSlot:
    """The slot of a producer: its epoch, and the number of units that the slot has committed in all."""

    name: str
    epoch: int
    units: int

    def went_back(self, row: tuple[Any, ...] | None) -> WentBack:
        stored = f"epoch {row[0]} and {row[1]} units" if row else "nothing"
        return WentBack(
            f"the database is at an earlier state than before: slot {self.name!r} has {stored} there, but epoch"
            f" {self.epoch} and {self.units} units were committed. This process ends; a new one starts from what the"
            " database holds"
        )


class PostgresProducer:
    """Creates units on one connection, one at a time. Creating another producer for the slot fences this one."""

    def __init__(self, conninfo: str, slot: str, timeouts: Timeouts = TIMEOUTS, prefix: str = "") -> None:
        """`prefix` precedes the names of the topics that it writes to (see PostgresTopics)."""
        self._topics = PostgresTopics(prefix)
        self._unit_s = timeouts.unit_s
        ended_after = {"idle_in_transaction_session_timeout": f"{timeouts.stopped_unit_s * 1000:.0f}ms"}
        self._link = ReconnectingConnection(
            conninfo, f"producer {slot}", autocommit=False, settings=ended_after, answer_s=timeouts.answer_s
        )
        with self._link.use() as connection:
            row = connection.execute(
                "INSERT INTO broker.slots (name, epoch) VALUES (%s, 1)"
                " ON CONFLICT (name) DO UPDATE SET epoch = slots.epoch + 1 RETURNING epoch, units",
                (slot,),
            ).fetchone()
            assert row is not None  # noqa: S101  # RETURNING of an upsert always gives the row
            self._held_slot = HeldSlot(slot, *row)
            connection.commit()

    def unit(self) -> PostgresUnit:
        return PostgresUnit(self._link, self._topics, self._held_slot, self._unit_s)

    def db_unit(self) -> PostgresUnit:
        return self.unit()

    def verify(self) -> None:
        with self._link.use() as connection:
            row = connection.execute(
                "SELECT epoch, units FROM broker.slots WHERE name = %s", (self._held_slot.name,)
            ).fetchone()
            connection.commit()
        if row is None or row < (self._held_slot.epoch, self._held_slot.units):
            raise self._held_slot.went_back(row)

    def close(self) -> None:
        self._link.drop()


class PostgresUnit:
    """Collects appends and writes them at commit, so that the locks on the partitions are held only briefly."""

    def __init__(
        self, link: ReconnectingConnection, topics: PostgresTopics, slot: HeldSlot, limit_s: float = TIMEOUTS.unit_s
    ) -> None:
        """`limit_s`: the time from the first use of the connection to the commit."""
        self._link = link
        self._limit_s = limit_s
        self._topics = topics
        self._slot = slot
        self._records: list[NewRecord] = []
        self._advances: dict[tuple[str, TopicPartition], tuple[Lease, int, int | None]] = {}
        self._cursors: dict[tuple[str, str], bytes] = {}
        self._is_finished = False
        self._connection: TimeoutConnection | None = None

    @property
    def connection(self) -> TimeoutConnection:
        """Always the same connection: a unit whose connection breaks must not continue on another one without its
        first part."""
        if self._connection is None:
            with self._link.use() as connection:
                connection.deadline_s = time.monotonic() + self._limit_s
                self._connection = connection
        if self._connection.closed:
            raise TransientError("the database connection broke inside the unit")
        return self._connection

    def append(self, records: Sequence[NewRecord]) -> None:
        self._records.extend(records)

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        if not isinstance(token, Leases):
            raise BrokerError(f"expected an ownership token of the embedded broker, got {type(token).__name__}")
        for tp, offset in offsets.items():
            lease = token.held.get(tp)
            if lease is None:
                raise Fenced(f"{tp.topic}/{tp.partition} is not in the ownership token: this member did not own it")
            self._advances[token.group, tp] = (lease, offset, ctl_seq)

    def cursor_set(self, topic: str, key: str, value: bytes) -> None:
        self._cursors[topic, key] = value

    def commit(self) -> None:
        if self._is_finished:
            raise BrokerError("this unit is already committed or aborted: create another")
        try:
            connection = self.connection
            self._write(connection)
        except (psycopg.Error, TransientError) as error:
            self.abort()
            raise Aborted(f"the unit was rolled back: {first_line(error)}") from error
        except BaseException:
            self.abort()
            raise
        self._is_finished = True
        connection.deadline_s = None
        try:
            connection.commit()
        except psycopg.Error as error:
            if not connection.closed:  # the server answered: the commit was refused
                raise Aborted(f"the unit was rolled back at commit: {first_line(error)}") from error
            self._link.drop()
            raise Unknown(f"no reply to commit: {first_line(error)}") from error
        self._slot.units += 1
        for lease, offset, _ in self._advances.values():
            lease.committed = offset

    def abort(self) -> None:
        if self._is_finished:
            return
        self._is_finished = True
        if self._connection is None:
            return
        self._connection.deadline_s = None
        try:
            self._connection.rollback()
        except psycopg.Error:
            self._link.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.abort()

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        slot = self._slot
        row = connection.execute(
            "UPDATE broker.slots SET units = units + 1 WHERE name = %s RETURNING epoch, units - 1", (slot.name,)
        ).fetchone()
        if row is None or row < (slot.epoch, slot.units):
            raise slot.went_back(row)
        if row != (slot.epoch, slot.units):
            raise Fenced(
                f"another process has taken slot {slot.name!r}, or a commit without a reply took effect (epoch {row[0]}"
                f" and {row[1]} units, here {slot.epoch} and {slot.units})"
            )
        if self._advances:
            self._advance(connection)
        if self._cursors:
            self._set_cursors(connection)
        if self._records:
            postgres_log.write(connection, self._topics, self._records)

    def _set_cursors(self, connection: psycopg.Connection[Any]) -> None:
        """All cursors in one statement, always in the same order, which avoids deadlocks."""
        rows = [
            (self._topics.get(connection, topic).id, key, value)
            for (topic, key), value in sorted(self._cursors.items())
        ]
        connection.execute(
            "INSERT INTO broker.cursors (topic_id, key, value)"
            " SELECT * FROM unnest(%s::int[], %s::text[], %b::bytea[])"
            " ON CONFLICT (topic_id, key) DO UPDATE SET value = excluded.value",
            [list(column) for column in zip(*rows, strict=True)],
        )

    def _advance(self, connection: psycopg.Connection[Any]) -> None:
        """Compare-and-swap every position: the row must still have this owner's epoch and committed position."""
        moves = [
            (
                group, self._topics.get(connection, tp.topic).id, tp.partition, lease.epoch, lease.committed, new, seq,
                lease.leader_epoch,
            )
            for (group, tp), (lease, new, seq) in self._advances.items()
        ]  # fmt: skip
        columns = [list(column) for column in zip(*sorted(moves), strict=True)]
        moved = connection.execute(
            "UPDATE broker.positions pos SET next_off = w.new, ctl_seq = coalesce(w.seq, pos.ctl_seq),"
            " leader_epoch = coalesce(w.leader_epoch, pos.leader_epoch)"
            " FROM unnest(%s::text[], %s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],"
            " %s::int[]) AS w(grp, topic_id, p, epoch, loaded, new, seq, leader_epoch)"
            " WHERE pos.grp = w.grp AND pos.topic_id = w.topic_id AND pos.p = w.p"
            " AND pos.epoch = w.epoch AND pos.next_off = w.loaded",
            columns,
        ).rowcount
        if moved != len(self._advances):
            raise Fenced(
                f"{len(self._advances) - moved} of {len(self._advances)} partitions now belong to another owner"
            )
