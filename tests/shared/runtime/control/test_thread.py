"""The control thread of a replica on a real database: it reads orders and reports the status of the loop."""

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
# The session of the control thread.
CONTROL_SESSION = "datname = current_database() AND application_name = 'headrace s control'"


@pytest.fixture
def incarnation(database: Database) -> UUID:
    """The incarnation of a replica that has its row."""
    incarnation = uuid4()
    insert_replica(database, incarnation)
    return incarnation


def insert_replica(database: Database, incarnation: UUID) -> None:
    database.execute(
        "INSERT INTO ops.replicas (service, replica, pid, admin_url, state, ready, started_at, seen_at, incarnation)"
        " VALUES ('s', 'a', 1, '', 'running', true, now(), now(), %s)",
        (incarnation,),
    )


@contextmanager
def run_control_thread(url: str, incarnation: UUID) -> Iterator[ControlMailbox]:
    mailbox, stop = ControlMailbox(), threading.Event()
    control = ControlThread(url, "s", "a", incarnation, mailbox, lambda _: {"t": [TP]})
    thread = threading.Thread(target=control.run, args=(stop,))
    thread.start()
    try:
        yield mailbox
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def pause(database: Database) -> str:
    with database.transaction():
        return steer(database, "s", ["t"], "paused", who="me", request_id="r").id


def state(database: Database, operation_id: str) -> str:
    operation = operations_table.get(database, operation_id)
    assert operation is not None
    return operation.state


def test_orders_are_read_obeyed_and_reported_and_their_operation_ends(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    with run_control_thread(database_url, incarnation) as mailbox:
        wait_until(lambda: mailbox.orders() is not None)
        operation = pause(database)
        wait_until(lambda: (orders := mailbox.orders()) and orders.paused("t"))
        orders = mailbox.orders()
        assert orders is not None
        assert state(database, operation) in {"waiting", "running"}

        mailbox.set_status(orders.seq, {TP: PartitionStatus("paused", 3)})

        wait_until(lambda: state(database, operation) == "succeeded")
        assert [(each.state, each.position) for each in orders_table.live_replicas(database, "s").observed] == [
            ("paused", 3)
        ]


def test_orders_are_not_read_before_the_replica_has_its_row(database_url: str, database: Database) -> None:
    incarnation = uuid4()
    with run_control_thread(database_url, incarnation) as mailbox:
        wait_until(
            lambda: (
                database.execute(f"SELECT FROM pg_stat_activity WHERE {CONTROL_SESSION} AND state = 'idle'").rowcount
            )
        )
        assert mailbox.orders() is None

        insert_replica(database, incarnation)

        wait_until(lambda: mailbox.orders() is not None)


def test_the_report_of_a_former_process_is_deleted_and_a_clean_end_leaves_none(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    orders_table.report_status(database, "s", "a", incarnation, 9, {TopicPartition("t", 5): PartitionStatus("paused")})

    with run_control_thread(database_url, incarnation) as mailbox:
        wait_until(lambda: mailbox.orders() is not None)
        mailbox.set_status(1, {TP: PartitionStatus("running")})
        wait_until(lambda: [each.tp for each in orders_table.live_replicas(database, "s").observed] == [TP])

    assert orders_table.live_replicas(database, "s").observed == []


def test_the_status_is_reported_again_after_the_row_was_removed(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    with run_control_thread(database_url, incarnation) as mailbox:
        mailbox.set_status(0, {TP: PartitionStatus("running")})
        wait_until(lambda: orders_table.live_replicas(database, "s").obeyed == {"a": 0})
        database.execute("DELETE FROM ops.replicas")
        wait_until(
            lambda: (
                database.execute(
                    f"SELECT FROM pg_stat_activity WHERE {CONTROL_SESSION} AND query_start > now() - interval '1 s'"
                ).rowcount
            )
        )
        insert_replica(database, incarnation)

        wait_until(lambda: orders_table.live_replicas(database, "s").obeyed == {"a": 0})


def test_a_broken_connection_is_replaced_and_orders_are_read_again(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    with run_control_thread(database_url, incarnation) as mailbox:
        wait_until(lambda: mailbox.orders() is not None)
        assert terminate_backends(database, CONTROL_SESSION)
        pause(database)

        wait_until(lambda: (orders := mailbox.orders()) and orders.paused("t"))


def test_a_replica_replaced_by_another_process_reads_no_more_orders(
    database_url: str, database: Database, incarnation: UUID
) -> None:
    with run_control_thread(database_url, incarnation) as mailbox:
        wait_until(lambda: mailbox.orders() is not None)
        database.execute("UPDATE ops.replicas SET incarnation = gen_random_uuid(), obeyed_seq = NULL")
        pause(database)
        mailbox.set_status(99, {TP: PartitionStatus("running")})

        wait_until(
            lambda: (
                database.execute(
                    f"SELECT FROM pg_stat_activity WHERE {CONTROL_SESSION}"
                    " AND query_start > (SELECT max(ordered_at) FROM ops.orders) + interval '0.2 s'"
                ).rowcount
            )
        )
        assert orders_table.live_replicas(database, "s").obeyed == {"a": None}
        orders = mailbox.orders()
        assert orders is not None
        assert not orders.paused("t")
