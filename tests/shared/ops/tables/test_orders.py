"""Orders and the reports of replicas in a real database."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4

import psycopg

from shared.broker.contract import TopicPartition
from shared.ops.operations import Operation
from shared.ops.orders import DesiredState, Order, PartitionStatus
from shared.ops.tables import operations as operations_table
from shared.ops.tables import orders as orders_table
from shared.ops.tables.steering import KnownPartitions, finish_effective, steer

Database = psycopg.Connection[Any]
TP = TopicPartition("t", 0)
ONE = {"t": [TP]}


def replica(database: Database, name: str = "a", state: str = "running", age_s: float = 0) -> UUID:
    incarnation = uuid4()
    database.execute(
        "INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at, incarnation)"
        " VALUES ('s', %s, 1, '', %s, true, now(), now() - make_interval(secs => %s), %s)",
        (name, state, age_s, incarnation),
    )
    return incarnation


def give_order(database: Database, desired: DesiredState, *topics: str) -> Operation:
    with database.transaction():
        return steer(database, "s", topics or ["t"], desired, who="me", request_id="r")


def progress_of(database: Database, operation: Operation) -> tuple[str, str | None, str | None]:
    """State, what it waits for, error."""
    current = operations_table.get(database, operation.id)
    assert current is not None
    return current.state, current.waiting_for, current.error


def test_orders_are_numbered_in_sequence(database: Database) -> None:
    first = orders_table.give_order(database, "s", "t", "paused", "me")[1].order
    second = orders_table.give_order(database, "s", "u", "paused", "me", "why", 4)[1].order

    assert second.seq > first.seq
    assert orders_table.read_orders(database, "s").by_topic == {"t": first, "u": second._replace(tolerate=0)}
    assert second == Order("u", "paused", second.seq, 4)


def test_failures_are_tolerated_until_the_order_is_effective(database: Database) -> None:
    with database.transaction():
        operation = steer(database, "s", ["t"], "running", who="me", request_id="r", tolerate=7)
    assert orders_table.read_orders(database, "s").by_topic["t"].tolerate == 7

    operations_table.finish(database, operation.id, "succeeded")

    assert orders_table.read_orders(database, "s").by_topic["t"].tolerate == 0


def test_pausing_a_paused_topic_changes_nothing_and_a_resume_is_always_a_new_order(database: Database) -> None:
    _, paused = orders_table.give_order(database, "s", "t", "paused", "me")
    before, again = orders_table.give_order(database, "s", "t", "paused", "another")
    _, resumed = orders_table.give_order(database, "s", "t", "running", "me")
    _, once_more = orders_table.give_order(database, "s", "t", "running", "me")

    assert before == again == paused
    assert paused.order.seq < resumed.order.seq < once_more.order.seq


def test_the_report_of_a_replica_replaces_its_earlier_one(database: Database) -> None:
    incarnation = replica(database)
    for seq, statuses in (
        (1, {TP: PartitionStatus("running", 5), TP._replace(partition=1): PartitionStatus("running")}),
        (2, {TP: PartitionStatus("tripped", 6, "why")}),
        (3, {}),
    ):
        assert orders_table.report_status(database, "s", "a", incarnation, seq, statuses)

        live = orders_table.live_replicas(database, "s")
        assert live.obeyed == {"a": seq}
        assert {each.tp: PartitionStatus(each.state, each.position, each.cause) for each in live.observed} == statuses


def test_a_former_process_cannot_report_for_its_replica(database: Database) -> None:
    replica(database)
    former = uuid4()

    assert not orders_table.report_status(database, "s", "a", former, 7, {TP: PartitionStatus("paused")})
    assert not orders_table.forget(database, "s", "a", former)
    assert not orders_table.heartbeat(database, "s", "a", former)
    assert orders_table.live_replicas(database, "s") == ({"a": None}, [])


def test_a_new_process_deletes_the_report_of_its_predecessor(database: Database) -> None:
    incarnation = replica(database)
    orders_table.report_status(database, "s", "a", incarnation, 7, {TP: PartitionStatus("paused")})

    assert orders_table.forget(database, "s", "a", incarnation)
    assert orders_table.live_replicas(database, "s").observed == []


def test_stopped_and_silent_replicas_are_not_waited_for(database: Database) -> None:
    replica(database, "stopped", state="stopped")
    replica(database, "silent", age_s=orders_table.FRESH_S + 1)
    replica(database, "slow", age_s=orders_table.FRESH_S - 5)

    assert orders_table.live_replicas(database, "s").obeyed == {"slow": None}


def test_a_pause_succeeds_once_it_is_obeyed_and_reports_what_it_waits_for(database: Database) -> None:
    incarnation, operation = replica(database), give_order(database, "paused")
    assert finish_effective(database, "s", ONE) == []
    assert progress_of(database, operation) == ("running", "not obeyed yet by a", None)

    orders_table.report_status(
        database, "s", "a", incarnation, operation.target["orders"]["t"], {TP: PartitionStatus("paused")}
    )

    assert finish_effective(database, "s", ONE) == [operation.id]
    assert progress_of(database, operation) == ("succeeded", None, None)
    assert finish_effective(database, "s", ONE) == []


def test_an_operation_on_several_topics_waits_for_all_of_them(database: Database) -> None:
    incarnation, operation = replica(database), give_order(database, "paused", "t", "u")
    seq = max(operation.target["orders"].values())
    orders_table.report_status(database, "s", "a", incarnation, seq, {TP: PartitionStatus("paused")})

    finish_effective(database, "s", {**ONE, "u": [TopicPartition("u", 0)]})

    assert progress_of(database, operation) == ("running", "no replica owns u/0 yet", None)


def test_an_order_for_a_topic_that_does_not_exist_is_not_effective(database: Database) -> None:
    incarnation, operation = replica(database), give_order(database, "paused")
    orders_table.report_status(database, "s", "a", incarnation, operation.target["orders"]["t"], {})

    finish_effective(database, "s", {})

    assert progress_of(database, operation) == ("running", "topic t does not exist yet", None)


def test_an_order_cancels_earlier_orders_that_are_not_effective_yet(database: Database) -> None:
    pause, other = give_order(database, "paused", "t", "u"), give_order(database, "paused", "v")

    resume = give_order(database, "running", "u")

    assert progress_of(database, pause) == ("cancelled", None, "superseded by another order")
    assert [progress_of(database, each)[0] for each in (other, resume)] == ["waiting", "waiting"]


def test_a_second_pause_is_an_operation_that_succeeds_with_the_first(database: Database) -> None:
    incarnation, first, second = replica(database), give_order(database, "paused"), give_order(database, "paused")
    assert first.target == second.target

    orders_table.report_status(
        database, "s", "a", incarnation, first.target["orders"]["t"], {TP: PartitionStatus("paused")}
    )

    assert finish_effective(database, "s", ONE) == [first.id, second.id]


def test_the_output_topic_of_a_poller_counts_as_one_partition(database: Database) -> None:
    database.execute("INSERT INTO broker.topics (name, partitions, compacted) VALUES ('raw-events', 6, false)")

    assert KnownPartitions("fetcher", ["raw-events"])(database) == {"raw-events": [TopicPartition("raw-events", 0)]}
    assert len(KnownPartitions("cleaner", ["raw-events"])(database)["raw-events"]) == 6
    assert KnownPartitions("cleaner", ["raw-events"], "kafka:")(database) == {}


def test_paused_topics_are_listed_for_all_services(database: Database) -> None:
    give_order(database, "paused", "t", "u")
    give_order(database, "running", "u")

    assert orders_table.paused_topics(database) == [("s", "t")]
