"""When orders are obeyed everywhere. (Whether that rule is safe: tests/shared/runtime/test_steering.py.)"""

from __future__ import annotations

from shared.broker.contract import TopicPartition
from shared.ops.orders import ObservedPartition, Order, Orders, PartitionState, new_resume_orders, pending_reason

TPS = [TopicPartition("t", p) for p in range(2)]
PAUSE = Order("t", "paused", 5)


def claims(state: PartitionState, replica: str = "a", tps: list[TopicPartition] = TPS) -> list[ObservedPartition]:
    return [ObservedPartition(replica, tp, state, 5) for tp in tps]


def test_a_topic_without_an_order_runs() -> None:
    assert not Orders().paused("t")
    assert Orders().seq == 0


def test_orders_are_as_new_as_the_newest_of_them() -> None:
    assert Orders({"t": PAUSE, "u": Order("u", "running", 3)}).seq == 5


def test_an_order_is_effective_when_every_owner_does_what_it_says() -> None:
    assert pending_reason(PAUSE, TPS, claims("paused"), {"a": 5}) is None
    assert pending_reason(PAUSE._replace(desired="running"), TPS, claims("running"), {"a": 9}) is None


def test_nothing_is_effective_where_nobody_is() -> None:
    assert pending_reason(PAUSE, TPS, claims("paused"), {}) == "no replica of the service is running"


def test_a_replica_that_owns_nothing_must_obey_too() -> None:
    assert pending_reason(PAUSE, TPS, claims("paused"), {"a": 5, "b": 4, "c": None}) == "not obeyed yet by b, c"


def test_a_partition_that_does_the_opposite_is_named() -> None:
    assert pending_reason(PAUSE, TPS, claims("running"), {"a": 5}) == "t/0 is running in a"


def test_a_partition_that_nobody_owns_is_waited_for() -> None:
    assert pending_reason(PAUSE, TPS, claims("paused", tps=TPS[:1]), {"a": 5}) == "no replica owns t/1 yet"


def test_what_a_replica_claimed_that_is_gone_counts_for_nothing() -> None:
    assert pending_reason(PAUSE, TPS, claims("paused", "gone"), {"a": 5}) == "no replica owns t/0, t/1 yet"


def test_a_resume_holds_also_where_a_partition_has_tripped_again() -> None:
    assert pending_reason(PAUSE._replace(desired="running"), TPS, claims("tripped"), {"a": 5}) is None


def test_a_resume_that_is_new_releases_what_tripped_and_one_from_before_does_not() -> None:
    before = Orders({"t": Order("t", "running", 3), "u": PAUSE._replace(topic="u", seq=4)})
    resumed = Order("t", "running", 6, tolerate=9)

    assert new_resume_orders(before, Orders({**before.by_topic, "t": resumed})) == [resumed]
    assert new_resume_orders(before, before) == []
    assert new_resume_orders(None, Orders({"t": resumed})) == [resumed]
    assert new_resume_orders(None, Orders({"t": resumed._replace(tolerate=0)})) == []
