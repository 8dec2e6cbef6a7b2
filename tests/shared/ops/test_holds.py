"""Which holds are in force under which orders."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from shared.broker.contract import TopicPartition
from shared.ops.holds import Hold, HoldKind, holds_in_force
from shared.ops.orders import DesiredState, Order, Orders

TP = TopicPartition("t", 0)
AT = datetime(2031, 5, 4, tzinfo=UTC)


def hold_of(kind: HoldKind, seq: int = 5, at: datetime = AT) -> Hold:
    return Hold(TP, kind, {"message": kind}, seq, at)


@pytest.mark.parametrize(
    ("kind", "desired", "seq", "is_held"),
    [
        ("breaker", "running", 6, False),
        ("damaged", "running", 6, False),
        ("lost", "running", 6, True),
        ("breaker", "running", 5, True),  # the loop obeyed this order when it held the partition
        ("breaker", "running", 4, True),
        ("breaker", "paused", 6, True),
    ],
)
def test_only_a_newer_resume_order_ends_a_hold(kind: HoldKind, desired: DesiredState, seq: int, is_held: bool) -> None:
    orders = Orders({"t": Order("t", desired, seq)})

    assert (TP in holds_in_force([hold_of(kind)], orders)) is is_held


def test_an_order_of_another_topic_ends_no_hold() -> None:
    assert TP in holds_in_force([hold_of("breaker")], Orders({"u": Order("u", "running", 9)}))


def test_the_oldest_of_several_holds_is_shown() -> None:
    holds = [hold_of("lost", at=AT + timedelta(seconds=1)), hold_of("damaged")]

    assert holds_in_force(holds, Orders())[TP].kind == "damaged"
