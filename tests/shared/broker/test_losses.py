"""Which positions can be continued."""

from __future__ import annotations

from uuid import UUID

import pytest

from shared.broker.contract import TopicPartition
from shared.broker.losses import KnownPosition, PartitionLog, find_loss

TP = TopicPartition("clean-events", 3)
OLD, NEW = UUID(int=1), UUID(int=2)


@pytest.mark.parametrize(
    ("position", "log"),
    [
        (KnownPosition(10, OLD, 5), PartitionLog(OLD, 0, 20, epoch_end=10)),
        (KnownPosition(10, OLD, 5), PartitionLog(OLD, 10, 10, epoch_end=12)),
        (KnownPosition(10), PartitionLog(OLD, 0, 10)),
    ],
)
def test_a_position_in_the_same_log_is_continued(position: KnownPosition, log: PartitionLog) -> None:
    assert find_loss("loader", TP, position, log) is None


@pytest.mark.parametrize(
    ("position", "log", "kind", "continue_at", "records"),
    [
        (KnownPosition(10, OLD), PartitionLog(OLD, 15, 20), "removed", 15, 5),
        (KnownPosition(10, OLD), PartitionLog(NEW, 2, 20), "recreated", 2, 1),
        (KnownPosition(10, OLD), PartitionLog(OLD, 0, 9), "truncated", 0, 1),
        (KnownPosition(10, OLD, 5), PartitionLog(OLD, 0, 90, epoch_end=7), "truncated", 7, 1),
        (KnownPosition(10, OLD, 5), PartitionLog(OLD, 3, 90, epoch_end=-1), "truncated", 3, 1),
        (KnownPosition(10, OLD, None, is_forgotten=True), PartitionLog(OLD, 0, 20), "forgotten", 10, 0),
        (KnownPosition(10, OLD, None, is_forgotten=True), PartitionLog(NEW, 0, 20), "recreated", 0, 1),
    ],
)
def test_a_loss_says_where_to_continue_and_how(
    position: KnownPosition, log: PartitionLog, kind: str, continue_at: int, records: int
) -> None:
    loss = find_loss("loader", TP, position, log)

    assert loss is not None
    assert (loss.kind, loss.position, loss.continue_at, loss.records) == (kind, 10, continue_at, records)
    assert "`headrace resume --accept-loss loader clean-events 3`" in loss.cause
    assert f"continues at offset {continue_at}" in loss.cause
