"""The control thread of a replica, on a real database: what it reads, what it says, and when."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from shared.broker.contract import TopicPartition
from shared.ops.orders import PartitionStatus
from shared.ops.tables import operations as operations_table
from shared.ops.tables import orders as orders_table
from shared.ops.tables.steering import steer
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.control.thread import ControlThread
from tests.waiting import DEADLINE_S, terminate_backends, wait_until

Database = psycopg.Connection[Any]
TP = TopicPartition("t", 0)
# Its session, among those of the server.
CONTROL = "datname = current_database() AND application_name = 'headrace s control'"


@pytest.fixture
def incarnation(database: Database) -> UUID:
    """Of a replica that has written its row."""
    found = uuid4()
    enrol(database, found)
    return found


def enrol(database: Database, incarnation: UUID) -> None:
    database.execute(
        "INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at, incarnation)"
        " VALUES ('s', 'a', 1, '', 'running', true, now(), now(), %s)",
        (incarnation,),
    )


@contextmanager
def controlled(url: str, incarnation: UUID) -> Iterator[ControlMailbox]:
    steering, stop = ControlMailbox(), threading.Event()
    control = ControlThread(url, "s", "a", incarnation, steering, lambda _: {"t": [TP]})
    thread = threading.Thread(target=control.run, args=(stop,))
    thread.start()
    try:
        yield steering
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def pause(database: Database) -> str:
    with database.transaction():
        return steer(database, "s", ["t"], "paused", who="me", request_id="r").id


def state(database: Database, operation_id: str) -> str:
    found = operations_table.get(database, operation_id)
    assert found is not None
    return found.state


def test_orders_are_read_obeyed_and_reported_and_their_operation_ends(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    with controlled(database_url, incarnation) as steering:
        wait_until(lambda: steering.orders() is not None)
        operation = pause(database)
        wait_until(lambda: (found := steering.orders()) and found.paused("t"))
        orders = steering.orders()
        assert orders is not None
        assert state(database, operation) in {"waiting", "running"}

        steering.set_status(orders.seq, {TP: PartitionStatus("paused", 3)})

        wait_until(lambda: state(database, operation) == "succeeded")
        assert [(each.state, each.position) for each in orders_table.live_replicas(database, "s").observed] == [
            ("paused", 3)
        ]


def test_orders_are_not_read_before_the_replica_has_its_row(database_url: str, database: Database) -> None:
    incarnation = uuid4()
    with controlled(database_url, incarnation) as steering:
        wait_until(
            lambda: database.execute(f"SELECT FROM pg_stat_activity WHERE {CONTROL} AND state = 'idle'").rowcount
        )
        assert steering.orders() is None

        enrol(database, incarnation)

        wait_until(lambda: steering.orders() is not None)


def test_the_report_of_a_former_process_is_deleted_and_a_clean_end_leaves_none(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    orders_table.report_status(database, "s", "a", incarnation, 9, {TopicPartition("t", 5): PartitionStatus("paused")})

    with controlled(database_url, incarnation) as steering:
        wait_until(lambda: steering.orders() is not None)
        steering.set_status(1, {TP: PartitionStatus("running")})
        wait_until(lambda: [each.tp for each in orders_table.live_replicas(database, "s").observed] == [TP])

    assert orders_table.live_replicas(database, "s").observed == []


def test_the_status_is_reported_again_after_the_row_was_removed(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    with controlled(database_url, incarnation) as steering:
        steering.set_status(0, {TP: PartitionStatus("running")})
        wait_until(lambda: orders_table.live_replicas(database, "s").obeyed == {"a": 0})
        database.execute("DELETE FROM ops.replicas")
        wait_until(
            lambda: (
                database.execute(
                    f"SELECT FROM pg_stat_activity WHERE {CONTROL} AND query_start > now() - interval '1 s'"
                ).rowcount
            )
        )
        enrol(database, incarnation)

        wait_until(lambda: orders_table.live_replicas(database, "s").obeyed == {"a": 0})


def test_a_broken_connection_is_replaced_and_orders_are_read_again(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    with controlled(database_url, incarnation) as steering:
        wait_until(lambda: steering.orders() is not None)
        assert terminate_backends(database, CONTROL)
        pause(database)

        wait_until(lambda: (found := steering.orders()) and found.paused("t"))


def test_a_replica_replaced_by_another_process_reads_no_more_orders(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    with controlled(database_url, incarnation) as steering:
        wait_until(lambda: steering.orders() is not None)
        database.execute("UPDATE ops.replicas SET incarnation = gen_random_uuid(), obeyed_seq = NULL")
        pause(database)
        steering.set_status(99, {TP: PartitionStatus("running")})

        wait_until(
            lambda: (
                database.execute(
                    f"SELECT FROM pg_stat_activity WHERE {CONTROL}"
                    " AND query_start > (SELECT max(ordered_at) FROM ops.orders) + interval '0.2 s'"
                ).rowcount
            )
        )
        assert orders_table.live_replicas(database, "s").obeyed == {"a": None}
        orders = steering.orders()
        assert orders is not None
        assert not orders.paused("t")
