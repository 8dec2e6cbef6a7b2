"""Which marker is missing."""

from __future__ import annotations

from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.contract import TopicPartition
from shared.broker.hanging import (
    CLOCK_SKEW_MS,
    Marker,
    OpenTransaction,
    RecordedState,
    State,
    Undecided,
    missing_marker,
)

TP, OTHER = TopicPartition("clean-events", 3), TopicPartition("fetcher-cursors", 0)
PRODUCER = 7


class Transaction(NamedTuple):
    """`restarted`: its producer was created anew, which raises the epoch. `lost`: its marker did not reach TP."""

    commits: bool
    writes_to_tp: bool
    restarted: bool
    lost: bool


TRANSACTIONS = st.lists(st.builds(Transaction, *[st.booleans()] * 4), min_size=1, max_size=8)


class History:
    """What a coordinator records of these transactions, one each second, and what stays open in TP."""

    def __init__(self, transactions: list[Transaction]) -> None:
        self.states: list[RecordedState] = []
        self.open: list[Transaction] = []
        self.begun_ms = self.epoch = self.open_epoch = 0
        for number, each in enumerate(transactions):
            self.epoch += each.restarted
            self._run(each, 1000 * number)

    def _run(self, transaction: Transaction, at_ms: int) -> None:
        partitions = frozenset({TP} if transaction.writes_to_tp else {OTHER})
        word = "Commit" if transaction.commits else "Abort"
        self.record("Ongoing", partitions, at_ms)
        if transaction.writes_to_tp:
            self.begun_ms = self.begun_ms if self.open else at_ms + 5
            self.open.append(transaction)
            self.open_epoch = self.epoch
        self.record(f"Prepare{word}", partitions, at_ms + 10)
        if transaction.writes_to_tp and not transaction.lost:
            self.open.clear()
        self.record(f"Complete{word}", frozenset(), at_ms + 20)

    def record(self, state: str, partitions: frozenset[TopicPartition], at_ms: int) -> None:
        self.states.append(RecordedState(PRODUCER, self.epoch, state, partitions, at_ms))  # type: ignore[arg-type]

    def transaction(self) -> OpenTransaction:
        return OpenTransaction(TP, PRODUCER, self.open_epoch, 4, 100, 1, self.begun_ms)


@given(TRANSACTIONS)
def test_the_marker_has_the_outcome_of_what_is_open(transactions: list[Transaction]) -> None:
    """Whatever the producer did before and after, also if it was created anew and its last transaction ended
    otherwise."""
    history = History(transactions)
    if not history.open:
        return
    outcomes = {each.commits for each in history.open}

    decision = missing_marker(history.transaction(), history.begun_ms, history.states)

    if len(outcomes) > 1:
        assert isinstance(decision, Undecided)
        assert not decision.is_active
    else:
        assert isinstance(decision, Marker)
        assert {decision.commits} == outcomes
        assert history.open_epoch == decision.epoch
        assert decision[:2] + decision[3:4] == (TP, PRODUCER, 4)


@given(TRANSACTIONS, st.sampled_from(["Ongoing", "PrepareCommit", "PrepareAbort", "PrepareEpochFence"]), st.booleans())
def test_nothing_is_written_while_the_producer_has_a_transaction(
    transactions: list[Transaction], state: State, writes_to_tp: bool
) -> None:
    history = History(transactions)
    history.record(state, frozenset({TP if writes_to_tp else OTHER}), 1_000_000)

    decision = missing_marker(history.transaction(), history.begun_ms, history.states)

    assert isinstance(decision, Undecided)
    assert decision.is_active


@given(TRANSACTIONS, st.integers(1, 40))
def test_a_wrong_outcome_is_never_derived_from_a_compacted_log(transactions: list[Transaction], gone: int) -> None:
    history = History(transactions)
    if not history.open:
        return

    decision = missing_marker(history.transaction(), history.begun_ms, history.states[gone:])

    assert isinstance(decision, Undecided) or decision.commits == history.open[-1].commits


@pytest.mark.parametrize(
    ("producer", "epoch", "begun_ms"),
    [(PRODUCER + 1, 0, 0), (PRODUCER, 1, 0), (PRODUCER, 0, 1000 + CLOCK_SKEW_MS)],
    ids=["another producer", "an earlier epoch", "an earlier transaction"],
)
def test_a_state_of_something_else_decides_nothing(producer: int, epoch: int, begun_ms: int) -> None:
    states = [
        RecordedState(PRODUCER, 0, "PrepareCommit", frozenset({TP}), 10),
        RecordedState(PRODUCER, 0, "CompleteCommit", frozenset(), 20),
    ]

    decision = missing_marker(OpenTransaction(TP, producer, epoch, -1, 100, 1, begun_ms), begun_ms, states)

    assert decision == Undecided("Kafka has no record of its outcome any more")


def test_clocks_may_differ() -> None:
    states = [
        RecordedState(PRODUCER, 0, "PrepareAbort", frozenset({TP}), 10),
        RecordedState(PRODUCER, 0, "CompleteAbort", frozenset(), 20),
    ]

    decision = missing_marker(OpenTransaction(TP, PRODUCER, 0, -1, 100, 1, 500), 500, states)

    assert decision == Marker(TP, PRODUCER, 0, 0, commits=False)
