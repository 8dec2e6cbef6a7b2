"""The rule for effective orders. tests/shared/runtime/control/test_mailbox.py shows that the rule is safe."""

from __future__ import annotations

from shared.broker.contract import TopicPartition
from shared.ops.orders import ObservedPartition, Order, Orders, PartitionState, new_resume_orders, pending_reason

TPS = [TopicPartition("t", p) for p in range(2)]
PAUSE = Order("t", "paused", 5)


def observed(state: PartitionState, replica: str = "a", tps: list[TopicPartition] = TPS) -> list[ObservedPartition]:
    return [ObservedPartition(replica, tp, state, 5) for tp in tps]


def test_a_topic_without_an_order_runs() -> None:
    assert not Orders().paused("t")
    assert Orders().seq == 0


def test_the_number_of_orders_is_that_of_the_newest() -> None:
    assert Orders({"t": PAUSE, "u": Order("u", "running", 3)}).seq == 5


def test_an_order_is_effective_when_every_owner_obeys() -> None:
    assert pending_reason(PAUSE, TPS, observed("paused"), {"a": 5}) is None
    assert pending_reason(PAUSE._replace(desired="running"), TPS, observed("running"), {"a": 9}) is None


def test_no_order_is_effective_without_a_replica() -> None:
    assert pending_reason(PAUSE, TPS, observed("paused"), {}) == "no replica of the service is running"


def test_a_replica_without_partitions_must_obey_too() -> None:
    assert pending_reason(PAUSE, TPS, observed("paused"), {"a": 5, "b": 4, "c": None}) == "not obeyed yet by b, c"


def test_a_partition_in_the_opposite_state_is_named() -> None:
    assert pending_reason(PAUSE, TPS, observed("running"), {"a": 5}) == "t/0 is running in a"


def test_a_partition_without_an_owner_is_waited_for() -> None:
    assert pending_reason(PAUSE, TPS, observed("paused", tps=TPS[:1]), {"a": 5}) == "no replica owns t/1 yet"


def test_the_report_of_a_replica_that_is_gone_is_ignored() -> None:
    assert pending_reason(PAUSE, TPS, observed("paused", "gone"), {"a": 5}) == "no replica owns t/0, t/1 yet"


def test_a_resume_is_effective_even_if_a_partition_has_tripped_again() -> None:
    assert pending_reason(PAUSE._replace(desired="running"), TPS, observed("tripped"), {"a": 5}) is None


def test_only_a_new_resume_order_releases_tripped_partitions() -> None:
    before = Orders({"t": Order("t", "running", 3), "u": PAUSE._replace(topic="u", seq=4)})
    resumed = Order("t", "running", 6, tolerate=9)

    assert new_resume_orders(before, Orders({**before.by_topic, "t": resumed})) == [resumed]
    assert new_resume_orders(before, before) == []
    assert new_resume_orders(None, Orders({"t": resumed})) == [resumed]
    assert new_resume_orders(None, Orders({"t": resumed._replace(tolerate=0)})) == []
