"""Decides whether a position on Kafka can be continued: whether its log is the same, and still holds what comes next.

A position is an offset of one log. It means nothing in a topic that was deleted and made anew, in a log that lost its
end, or before the first record that is left. Reading from elsewhere would skip or repeat records in silence.
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from shared.broker.contract import Loss, LossKind, TopicPartition


class KnownPosition(NamedTuple):
    """A stored position. `kafka_id`: the topic that it was made in; `leader_epoch`: that of the last record before it;
    None if they are not known. `is_forgotten`: Kafka has lost the group's offset, and `offset` is a lower bound of
    it."""

    offset: int
    kafka_id: UUID | None = None
    leader_epoch: int | None = None
    is_forgotten: bool = False


class PartitionLog(NamedTuple):
    """A partition's log as it is now. `epoch_end`: the end offset of the position's leader epoch in this log, -1 if
    the log does not know this epoch, None if it was not asked."""

    kafka_id: UUID
    begin: int
    end: int
    epoch_end: int | None = None


def find_loss(group: str, tp: TopicPartition, position: KnownPosition, log: PartitionLog) -> Loss | None:
    """What is lost of the partition; None if the position can be continued."""
    if position.kafka_id is not None and position.kafka_id != log.kafka_id:
        return _loss(group, tp, position, log, "recreated", log.begin)
    diverges_at = _diverges_at(position, log)
    if diverges_at is not None:
        return _loss(group, tp, position, log, "truncated", max(diverges_at, log.begin))
    if position.offset < log.begin:
        return _loss(group, tp, position, log, "removed", log.begin)
    if position.is_forgotten:
        return _loss(group, tp, position, log, "forgotten", position.offset)
    return None


def _diverges_at(position: KnownPosition, log: PartitionLog) -> int | None:
    """The offset from which the log differs from the one that the position was made in; None if it is the same."""
    if log.epoch_end is not None:
        return log.epoch_end if log.epoch_end < position.offset else None
    return -1 if position.offset > log.end else None  # it may have lost more, and have grown since


def _loss(
    group: str, tp: TopicPartition, position: KnownPosition, log: PartitionLog, kind: LossKind, continue_at: int
) -> Loss:
    texts: dict[LossKind, str] = {
        "removed": f"retention removed the offsets from {position.offset} to before {log.begin} before the {group} read"
        " them",
        "truncated": f"Kafka lost the end of the log: the {group} had read up to {position.offset}, the log now ends at"
        f" {log.end} and differs from {continue_at} on",
        "recreated": f"the topic was deleted and recreated, or Kafka is a new one: the {group} was at offset"
        f" {position.offset} of the topic before, and what it had not read of it is gone",
        "forgotten": f"Kafka lost the offsets of the {group} (they expire, see offsets.retention.minutes): it had read"
        f" up to {position.offset} at least, and may read some records after it again",
    }
    # Of a log that is gone nobody knows what was unread: one record at least, so that it is seen.
    records = log.begin - position.offset if kind == "removed" else 0 if kind == "forgotten" else 1
    cause = (
        f"{tp.topic}/{tp.partition} is held back because {texts[kind]}. Nothing of it is read until `headrace resume"
        f" --accept-loss {group} {tp.topic} {tp.partition}`; the {group} then continues at offset {continue_at}"
    )
    return Loss(kind, position.offset, log.kafka_id, continue_at, records, cause)
