"""Keeps, in PostgreSQL, lower bounds of the positions that are stored in Kafka, and the losses of their groups.

Kafka forgets a group's offsets when it was stopped for too long, and a new Kafka has none. Only another place can tell
that from a group that never read the partition.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import NamedTuple
from uuid import UUID

import structlog

from shared.broker.contract import Loss, TopicPartition
from shared.broker.postgres.losses import settle
from shared.database.connection import limited_connection
from shared.errors import TransientError

# Short, because the loop waits for it; a missing checkpoint is written the next time.
ANSWER_S = 3.0

log = structlog.get_logger(__name__)


class Checkpoint(NamedTuple):
    offset: int
    kafka_id: UUID


class Checkpoints:
    """The checkpoints and losses of one group. For one thread."""

    def __init__(self, conninfo: str, group: str) -> None:
        self._group = group
        self._link = limited_connection(conninfo, f"{group} checkpoints", ANSWER_S)

    def read(self, tps: Collection[TopicPartition]) -> dict[TopicPartition, Checkpoint]:
        """Raises TransientError if the database is unavailable."""
        if not tps:
            return {}
        with self._link.use() as connection:
            rows = connection.execute(
                "SELECT topic, p, next_off, kafka_id FROM broker.checkpoints WHERE grp = %s", (self._group,)
            ).fetchall()
        return {tp: Checkpoint(offset, kafka_id) for *place, offset, kafka_id in rows if (tp := _tp(place)) in tps}

    def write(self, committed: Mapping[TopicPartition, Checkpoint]) -> bool:
        """Returns whether the database was available."""
        rows = [(self._group, *tp, *checkpoint) for tp, checkpoint in sorted(committed.items())]
        if not rows:
            return True
        try:
            with self._link.use() as connection:
                connection.execute(
                    "INSERT INTO broker.checkpoints (grp, topic, p, next_off, kafka_id)"
                    " SELECT * FROM unnest(%s::text[], %s::text[], %s::int[], %s::bigint[], %s::uuid[])"
                    " ON CONFLICT (grp, topic, p) DO UPDATE SET next_off = excluded.next_off,"
                    " kafka_id = excluded.kafka_id, at = excluded.at",
                    [list(column) for column in zip(*rows, strict=True)],
                )
        except TransientError as error:
            log.warning("checkpoint_not_written", group=self._group, cause=str(error))
            return False
        return True

    def settle(
        self, losses: Mapping[TopicPartition, Loss], sound: Collection[TopicPartition]
    ) -> tuple[dict[TopicPartition, Loss], dict[TopicPartition, Loss]]:
        """As losses.settle. Raises TransientError if there is a loss and the database is unavailable."""
        if not losses and not sound:
            return {}, {}
        with self._link.use() as connection, connection.transaction():
            return settle(connection, self._group, losses, sound)

    def close(self) -> None:
        self._link.drop()


def _tp(place: list[object]) -> TopicPartition:
    topic, partition = place
    return TopicPartition(str(topic), int(str(partition)))
