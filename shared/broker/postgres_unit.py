"""One atomic step on the embedded log: a PostgreSQL transaction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg

from shared.broker import postgres_log
from shared.broker.contract import DbConnection, NewRecord, Ownership, TopicPartition
from shared.broker.postgres_link import Link, first_line
from shared.broker.postgres_log import Topics
from shared.errors import Aborted, BrokerError, Fenced, TransientError, Unknown


@dataclass
class Lease:
    """A partition that is ours: under which epoch, and which position is committed."""

    epoch: int
    loaded: int


@dataclass(frozen=True)
class Leases:
    """The embedded broker's ownership token."""

    group: str
    held: Mapping[TopicPartition, Lease]

    @property
    def partitions(self) -> frozenset[TopicPartition]:
        return frozenset(self.held)


# A process that was stopped inside a unit holds its locks; the server ends such a session after this long. Much
# longer than any handler works on a batch, shorter than anybody wants to wait.
STOPPED_UNIT_S = 15


class PostgresProducer:
    """Makes units on one connection, one at a time. Making another producer of the slot fences this one."""

    def __init__(self, conninfo: str, slot: str) -> None:
        self._slot = slot
        self._topics = Topics()
        self._link = Link(conninfo, f"producer {slot}", autocommit=False)
        with self._link.use() as connection:
            connection.execute(f"SET idle_in_transaction_session_timeout = '{STOPPED_UNIT_S}s'")
            self._epoch: int = connection.execute(
                "INSERT INTO broker.slots VALUES (%s, 1) ON CONFLICT (name) DO UPDATE SET epoch = slots.epoch + 1"
                " RETURNING epoch",
                (slot,),
            ).fetchone()[0]  # type: ignore[index]  # RETURNING always gives the row
            connection.commit()

    def unit(self) -> PostgresUnit:
        return PostgresUnit(self._link, self._topics, self._slot, self._epoch)

    def db_unit(self) -> PostgresUnit:
        return self.unit()

    def close(self) -> None:
        self._link.drop()


class PostgresUnit:
    """Appends are gathered and written at commit, so that the partitions' locks are held for a moment only."""

    def __init__(self, link: Link, topics: Topics, slot: str, epoch: int) -> None:
        self._link = link
        self._topics = topics
        self._slot = (slot, epoch)
        self._records: list[NewRecord] = []
        self._advances: list[tuple[Leases, TopicPartition, int, int | None]] = []
        self._cursors: list[tuple[str, str, bytes]] = []
        self._over = False

    @property
    def connection(self) -> DbConnection:
        try:
            return self._link.connection()
        except psycopg.OperationalError as error:
            raise TransientError(f"the database is away: {first_line(error)}") from error

    def append(self, records: Sequence[NewRecord]) -> None:
        self._records.extend(records)

    def advance(self, token: Ownership, offsets: Mapping[TopicPartition, int], ctl_seq: int | None = None) -> None:
        if not isinstance(token, Leases):
            raise BrokerError(f"expected a token of the embedded broker, got {type(token).__name__}")
        self._advances.extend((token, tp, offset, ctl_seq) for tp, offset in offsets.items())

    def cursor_set(self, topic: str, key: str, value: bytes) -> None:
        self._cursors.append((topic, key, value))

    def commit(self) -> None:
        if self._over:
            raise BrokerError("this unit is over: make another")
        connection = self.connection
        try:
            self._write(connection)
        except psycopg.Error as error:
            self.abort()
            raise Aborted(f"the unit was rolled back: {first_line(error)}") from error
        except BaseException:
            self.abort()
            raise
        self._over = True
        try:
            connection.commit()
        except psycopg.Error as error:
            self._link.drop()
            raise Unknown(f"no reply to commit: {first_line(error)}") from error
        for token, tp, offset, _ in self._advances:
            token.held[tp].loaded = offset

    def abort(self) -> None:
        if self._over:
            return
        self._over = True
        try:
            self._link.connection().rollback()
        except psycopg.Error:
            self._link.drop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.abort()

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        name, epoch = self._slot
        found = connection.execute("SELECT epoch FROM broker.slots WHERE name = %s FOR SHARE", (name,)).fetchone()
        if found != (epoch,):
            raise Fenced(f"slot {name!r} belongs to another process now (epoch {found and found[0]}, ours {epoch})")
        if self._advances:
            self._advance(connection)
        for topic, key, value in self._cursors:
            connection.execute(
                "INSERT INTO broker.cursors VALUES (%s, %s, %s)"
                " ON CONFLICT (topic_id, key) DO UPDATE SET value = excluded.value",
                (self._topics.get(connection, topic).id, key, value),
            )
        if self._records:
            postgres_log.write(connection, self._topics, self._records)

    def _advance(self, connection: psycopg.Connection[Any]) -> None:
        """Compare and swap every position: with what this owner loaded, under its epoch."""
        moves = [
            (token.group, self._topics.get(connection, tp.topic).id, tp.partition, lease.epoch, lease.loaded, new, seq)
            for token, tp, new, seq in self._advances
            if (lease := token.held.get(tp)) is not None
        ]
        columns = [list(column) for column in zip(*sorted(moves), strict=True)]
        moved = connection.execute(
            "UPDATE broker.positions pos SET next_off = w.new, ctl_seq = coalesce(w.seq, pos.ctl_seq)"
            " FROM unnest(%s::text[], %s::int[], %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])"
            " AS w(grp, topic_id, p, epoch, loaded, new, seq) WHERE pos.grp = w.grp AND pos.topic_id = w.topic_id"
            " AND pos.p = w.p AND pos.epoch = w.epoch AND pos.next_off = w.loaded",
            columns,
        ).rowcount
        if moved != len(self._advances):
            raise Fenced(
                f"{len(self._advances) - moved} of {len(self._advances)} partitions belong to another owner now"
            )
