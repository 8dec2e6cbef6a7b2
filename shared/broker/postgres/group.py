"""Distributes the partitions of a group over its members, by leases with epochs that a thread renews."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from uuid import uuid4

import structlog

from shared.broker.contract import TopicPartition
from shared.broker.postgres import retention
from shared.broker.postgres.log import PostgresTopics
from shared.broker.postgres.staleness import UnchangedValues
from shared.broker.postgres.unit import Lease
from shared.database.connection import TIMEOUTS, DbConnection, ReconnectingConnection, Timeouts
from shared.errors import HeadraceError, TransientError, WentBack

# In renewals: about once a minute.
RETENTION_EVERY = 60

log = structlog.get_logger(__name__)


def share_of(member: str, members: Sequence[str], tps: Sequence[TopicPartition]) -> frozenset[TopicPartition]:
    """The partitions assigned to a member, by partition number, so that one member gets a key's records of all
    topics."""
    ranked = sorted(members)
    if member not in ranked:
        return frozenset()
    index = ranked.index(member)
    return frozenset(tp for tp in tps if tp.partition % len(ranked) == index)


class Group:
    """One member's view of its group. The loop's thread calls the public methods; an own thread renews the leases.

    A new member with the same name (a restarted process) replaces the previous one immediately.
    """

    def __init__(
        self, conninfo: str, group: str, topics: Sequence[str], member: str, timeouts: Timeouts = TIMEOUTS
    ) -> None:
        self.group = group
        self.member = member
        self.incarnation = uuid4()
        self.held: dict[TopicPartition, Lease] = {}
        self._names = topics
        self._timeouts = timeouts
        self._topics = PostgresTopics()
        self._loop_link = ReconnectingConnection(
            conninfo, f"{group} assignment", autocommit=True, answer_s=timeouts.answer_s
        )
        self._thread_link = ReconnectingConnection(
            conninfo, f"{group} leases", autocommit=True, answer_s=timeouts.answer_s
        )
        self._target: frozenset[TopicPartition] = frozenset()
        self._lost_leases: frozenset[TopicPartition] = frozenset()
        # The leases that were not renewed for their whole duration by this process's clock: they are over, even if the
        # database's clock was set back.
        self._stale_leases: dict[TopicPartition, datetime] = {}
        self._seen_members: UnchangedValues[str, datetime] = UnchangedValues()
        self._seen_leases: UnchangedValues[TopicPartition, datetime] = UnchangedValues()
        self._state = threading.Lock()
        self._stop = threading.Event()
        self._thread_error: Exception | None = None
        try:
            self._join()
            self._renew()
        except BaseException:
            self._thread_link.drop()
            raise
        self._thread = threading.Thread(target=self._run, name=f"{group} leases", daemon=True)
        self._thread.start()

    def update_assignment(self) -> bool:
        """Release and acquire partitions as the group's members require; returns whether anything changed.

        Raises HeadraceError if the thread that renews the leases has failed, or if the database went back: this process
        must exit.
        """
        if isinstance(self._thread_error, WentBack):
            raise self._thread_error
        if self._thread_error is not None:
            raise HeadraceError(f"the leases are no longer renewed: {self._thread_error}") from self._thread_error
        with self._state:
            target, lost_leases, stale_leases = self._target, self._lost_leases, self._stale_leases
            self._lost_leases = frozenset()
        released = (self.held.keys() - target) | (lost_leases & self.held.keys())
        missing = target - self.held.keys()
        if not released and not missing:
            return False
        with self._loop_link.use() as connection:
            if released:
                self._release(connection, released)
            leases = {tp: self._acquire(connection, tp, stale_leases.get(tp)) for tp in sorted(missing)}
        acquired = {tp: lease for tp, lease in leases.items() if lease is not None}
        with self._state:
            self.held = {tp: lease for tp, lease in self.held.items() if tp not in released} | acquired
        return bool(released or acquired)

    def reload(self) -> None:
        """Read the committed positions again and drop the partitions that have another owner.

        Creates new leases, so that an older ownership token cannot overwrite the positions that are read here.
        """
        with self._loop_link.use() as connection:
            self._require_membership(connection)
            stored = self._stored_positions(connection)
        committed = {tp: Lease(epoch, offset) for tp, (epoch, offset) in stored.items()}
        with self._state:
            self.held = {
                tp: committed[tp]
                for tp, lease in self.held.items()
                if tp in committed and committed[tp].epoch == lease.epoch
            }

    def close(self) -> None:
        """Leave the group immediately, so that the other members need not wait for the leases to expire."""
        self._stop.set()
        self._thread.join(timeout=self._timeouts.lease_s)
        try:
            with self._loop_link.use() as connection:
                for table in ("leases", "members"):
                    connection.execute(
                        f"DELETE FROM broker.{table} WHERE grp = %s AND incarnation = %s",
                        (self.group, self.incarnation),
                    )
        except TransientError:
            pass  # the leases expire
        self._loop_link.drop()
        self._thread_link.drop()

    def _run(self) -> None:
        turn = 0
        while not self._stop.wait(self._timeouts.renew_s):
            try:
                self._renew()
                turn += 1
                if turn % RETENTION_EVERY == 0:
                    self._enforce_retention()
            except TransientError:
                continue  # the loop gets and reports the same error; a lost lease is fenced in `advance`
            except Exception as error:  # noqa: BLE001  # update_assignment raises it in the loop's thread
                self._thread_error = error
                return

    def _enforce_retention(self) -> None:
        try:
            with self._thread_link.use() as connection:
                deleted = retention.enforce(connection)
        except TransientError as error:
            log.warning("retention_failed", what="log", cause=str(error))
            return
        if deleted:
            log.info("retention_removed", what="log", batches=deleted)

    def _join(self) -> None:
        with self._thread_link.use() as connection:
            connection.execute(
                "INSERT INTO broker.members VALUES (%s, %s, %s, now() + make_interval(secs => %s))"
                " ON CONFLICT (grp, member) DO UPDATE SET alive_until = excluded.alive_until,"
                " incarnation = excluded.incarnation",
                (self.group, self.member, self.incarnation, self._timeouts.lease_s),
            )
            # Leases of a previous process with this name: other members may now get these partitions.
            connection.execute("DELETE FROM broker.leases WHERE grp = %s AND owner = %s", (self.group, self.member))

    def _require_membership(self, connection: DbConnection) -> None:
        """Raises HeadraceError if another process has taken the slot. The older process must exit, because the two
        would keep fencing each other."""
        row = connection.execute(
            "SELECT incarnation FROM broker.members WHERE grp = %s AND member = %s", (self.group, self.member)
        ).fetchone()
        if row != (self.incarnation,):
            raise HeadraceError(
                f"group {self.group!r}: another process has taken slot {self.member!r}; give each replica its own slot"
            )

    def _renew(self) -> None:
        held_before = self.held.keys()  # partitions acquired during these statements must not count as lost
        committed = {tp: (lease.epoch, lease.committed) for tp, lease in self.held.items()}
        with self._thread_link.use() as connection:
            self._require_membership(connection)
            require_not_earlier(self._stored_positions(connection), committed)
            connection.execute(
                "UPDATE broker.members SET alive_until = now() + make_interval(secs => %s)"
                " WHERE grp = %s AND incarnation = %s",
                (self._timeouts.lease_s, self.group, self.incarnation),
            )
            renewed = connection.execute(
                "UPDATE broker.leases l SET lease_until = now() + make_interval(secs => %s) FROM broker.topics t"
                " WHERE t.id = l.topic_id AND grp = %s AND incarnation = %s RETURNING t.name, l.p",
                (self._timeouts.lease_s, self.group, self.incarnation),
            ).fetchall()
            alive = connection.execute(
                "SELECT member, alive_until FROM broker.members WHERE grp = %s AND alive_until > now()", (self.group,)
            ).fetchall()
            leases = connection.execute(
                "SELECT t.name, l.p, l.lease_until FROM broker.leases l JOIN broker.topics t ON t.id = l.topic_id"
                " WHERE l.grp = %s",
                (self.group,),
            ).fetchall()
            tps = [
                TopicPartition(name, p)
                for name in self._names
                for p in range(self._topics.get(connection, name).partitions)
            ]
        renewed_tps = frozenset(TopicPartition(name, p) for name, p in renewed)
        now_s, lease_s = time.monotonic(), self._timeouts.lease_s
        self._seen_members.observe(dict(alive), now_s)
        self._seen_leases.observe({TopicPartition(name, p): until for name, p, until in leases}, now_s)
        silent_members = self._seen_members.longer_than(lease_s, now_s)
        with self._state:
            self._target = share_of(self.member, [row[0] for row in alive if row[0] not in silent_members], tps)
            self._lost_leases = frozenset(held_before - renewed_tps)
            self._stale_leases = self._seen_leases.longer_than(lease_s, now_s)

    def _stored_positions(self, connection: DbConnection) -> dict[TopicPartition, tuple[int, int]]:
        """Epoch and position of each partition that the group has read."""
        rows = connection.execute(
            "SELECT t.name, pos.p, pos.epoch, pos.next_off FROM broker.positions pos"
            " JOIN broker.topics t ON t.id = pos.topic_id WHERE pos.grp = %s",
            (self.group,),
        ).fetchall()
        return {TopicPartition(name, p): (epoch, offset) for name, p, epoch, offset in rows}

    def _release(self, connection: DbConnection, tps: Iterable[TopicPartition]) -> None:
        for tp in tps:
            connection.execute(
                "DELETE FROM broker.leases WHERE grp = %s AND topic_id = %s AND p = %s AND incarnation = %s",
                (self.group, self._topics.get(connection, tp.topic).id, tp.partition, self.incarnation),
            )

    def _acquire(self, connection: DbConnection, tp: TopicPartition, stale_until: datetime | None) -> Lease | None:
        """Acquire a free partition: its lease, then a higher epoch, which fences the previous owner. `stale_until`: a
        lease that ends at this time is over.

        The update of the epoch waits for a commit of the previous owner that is in progress, so the position that is
        read is final. None if another member holds the lease.
        """
        place = (self.group, self._topics.get(connection, tp.topic).id, tp.partition)
        with connection.transaction():
            got = connection.execute(
                "INSERT INTO broker.leases VALUES (%s, %s, %s, %s, %s, now() + make_interval(secs => %s))"
                " ON CONFLICT (grp, topic_id, p) DO UPDATE SET owner = excluded.owner,"
                " incarnation = excluded.incarnation, lease_until = excluded.lease_until"
                " WHERE leases.lease_until < now() OR leases.lease_until = %s OR leases.owner = excluded.owner"
                " RETURNING 1",
                (*place, self.member, self.incarnation, self._timeouts.lease_s, stale_until),
            ).fetchone()
            if not got:
                return None
            begin = connection.execute(
                "SELECT begin_off FROM broker.partitions WHERE topic_id = %s AND p = %s", place[1:]
            ).fetchone()
            position = connection.execute(
                "INSERT INTO broker.positions (grp, topic_id, p, next_off, epoch) VALUES (%s, %s, %s, %s, 1)"
                " ON CONFLICT (grp, topic_id, p) DO UPDATE SET epoch = positions.epoch + 1 RETURNING epoch, next_off",
                (*place, begin[0] if begin else 0),
            ).fetchone()
        return Lease(*position) if position else None


def require_not_earlier(
    stored: Mapping[TopicPartition, tuple[int, int]], committed: Mapping[TopicPartition, tuple[int, int]]
) -> None:
    """Raises WentBack if the database holds an earlier epoch or position than was committed. `committed` must have been
    taken before `stored` was read: both only grow."""
    for tp, (epoch, offset) in committed.items():
        stored_epoch, stored_offset = stored.get(tp, (0, 0))
        if stored_epoch < epoch or (stored_epoch == epoch and stored_offset < offset):
            raise WentBack(
                f"the database is at an earlier state than before: the position in {tp.topic}/{tp.partition} is"
                f" {stored_offset} (epoch {stored_epoch}) there, but {offset} (epoch {epoch}) was committed. This"
                " process ends; a new one starts from what the database holds"
            )


def positions_of(held: Mapping[TopicPartition, Lease]) -> dict[TopicPartition, int]:
    return {tp: lease.committed for tp, lease in held.items()}
