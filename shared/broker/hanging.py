"""Decides how a transaction ended whose marker never reached a partition.

A coordinator of Kafka that finds a partition without a leader, as in the moment of a restart, records the transaction
as complete without writing its marker there, and does not write it later. The partition's last stable offset then never
moves, and the offsets of a group are never stable. Only the marker with the recorded outcome helps: an abort after a
commit would read a batch twice, a commit after an abort would skip it.

The newest state of the producer is not enough: it may be that of a later transaction without this partition. The states
that begin a completion name the partitions, so the outcome is taken from them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from shared.broker.contract import TopicPartition

State = Literal[
    "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence"
]
# The coordinator itself ends these: an ongoing transaction at its time-out at the latest.
_ACTIVE: frozenset[State] = frozenset({"Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"})
_OUTCOMES: frozenset[State] = frozenset({"PrepareCommit", "PrepareAbort"})
# How much later than the end of its transaction a record may be timestamped, because the clocks of producer and
# coordinator differ.
CLOCK_SKEW_MS = 60_000


class RecordedState(NamedTuple):
    """A state of a transactional id, as its coordinator has recorded it. `recorded_ms` is a Unix time."""

    producer_id: int
    epoch: int
    state: State
    partitions: frozenset[TopicPartition]
    recorded_ms: int


class OpenTransaction(NamedTuple):
    """A transaction that is open in a partition, as its leader describes it. The last three fields change with each
    batch that the producer appends."""

    tp: TopicPartition
    producer_id: int
    epoch: int
    coordinator_epoch: int
    start_offset: int
    last_sequence: int
    last_ms: int


class Marker(NamedTuple):
    """The missing marker."""

    tp: TopicPartition
    producer_id: int
    epoch: int
    coordinator_epoch: int
    commits: bool


class Undecided(NamedTuple):
    """No marker may be written. `is_active`: the coordinator has not completed the transaction yet, and will;
    otherwise a person must decide."""

    reason: str
    is_active: bool = False


def missing_marker(transaction: OpenTransaction, begun_ms: int, states: Sequence[RecordedState]) -> Marker | Undecided:
    """`begun_ms`: the timestamp of the transaction's first record in the partition. `states`: all that are left of the
    transactional id that has the producer id now, the oldest first."""
    if states and states[-1].state in _ACTIVE:
        return Undecided(f"its producer has a transaction in state {states[-1].state}", is_active=True)
    ends = [
        each
        for each in states
        if each.producer_id == transaction.producer_id and each.state in _OUTCOMES and transaction.tp in each.partitions
    ]
    # The newest one belongs to the open transaction: a marker that was written would have closed it. Those before may
    # belong to it too, if their markers are also missing.
    if not ends or ends[-1].recorded_ms < begun_ms - CLOCK_SKEW_MS or ends[-1].epoch < transaction.epoch:
        return Undecided("Kafka has no record of its outcome any more")
    outcomes = {ends[-1].state, *(each.state for each in ends[:-1] if each.recorded_ms >= begun_ms)}
    if len(outcomes) > 1:
        return Undecided("transactions with different outcomes are open there")
    return Marker(
        transaction.tp, transaction.producer_id, ends[-1].epoch, max(transaction.coordinator_epoch, 0),
        commits=outcomes == {"PrepareCommit"},
    )  # fmt: skip
